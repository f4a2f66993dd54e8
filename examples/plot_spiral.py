"""
====================================
A spiral, and a prior that counts it
====================================

Ten thousand points along a spiral, and a mixture that may use up to thirty Gaussians
to describe them. The sparsity prior makes each component pay for its weight, so the
fit decides how many of the thirty stay.

The same cost is minimised twice from the same start: by penalised EM, and by the 501
steps of Adam that the KeOps tutorial takes.

Run as a script, the pictures go to the folder ``pictures``, or to the one named on
the command line.
"""

import sys
import warnings
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_keops_gmm import CostDisplay, KeOpsGaussianMixture, MixtureDisplay

# %%
# The data
# --------
N, M = 10_000, 30
rng = np.random.default_rng(0)
t = np.linspace(0, 2 * np.pi, N, endpoint=False)
X = np.column_stack((0.5 + 0.4 * (t / 7) * np.cos(t), 0.5 + 0.3 * np.sin(t)))
X += 0.02 * rng.standard_normal(X.shape)

# %%
# Two fits from one start
# -----------------------
# The start is the tutorial's: equal weights, means anywhere in the unit square, and
# small round components.
start = {
    "n_components": M,
    "sparsity": 20,
    "weights_init": np.full(M, 1 / M),
    "means_init": rng.random((M, 2)),
    "precisions_init": np.tile(15**2 * np.eye(2), (M, 1, 1)),
}
models = {
    "Penalised EM": KeOpsGaussianMixture(**start, solver="em", tol=1e-6, max_iter=500),
    "Adam": KeOpsGaussianMixture(
        **start, solver="adam", learning_rate=0.1, max_iter=501, tol=0, reg_covar=0
    ),
}
warnings.simplefilter("ignore", ConvergenceWarning)  # 501 steps, converged or not
for name, model in models.items():
    begin = perf_counter()
    model.fit(X)
    print(
        f"{name}: {model.n_components_} of {M} components, cost {model.cost_:.4f}, "
        f"mean log-likelihood {model.score(X):.4f}, {model.n_iter_} iterations, "
        f"{perf_counter() - begin:.1f} s"
    )
    for weight, mean in zip(model.weights_, model.means_, strict=True):
        print(f"    weight {weight:.3f}   mean ({mean[0]:.3f}, {mean[1]:.3f})")


# %%
# What was found
# --------------
# The density is the heat map, its logarithm the contours. An ellipse holds the points
# within two standard deviations of a component, and a dot has its weight as area.
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.9), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    MixtureDisplay.from_estimator(model, X, ax=ax, legend=False)
    ax.set(aspect="equal", xlabel="x", ylabel="y")
    ax.set_title(f"{name}: {model.n_components_} of {M}, cost {model.cost_:.3f}")
axes[1].set_ylabel("")
density_figure = fig

# %%
# The cost along the fits
# -----------------------
# Steps of Adam as long as these keep jumping: how the last ones end depends on
# rounding, and so on the machine.
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, model in models.items():
    CostDisplay.from_estimator(model, name=name, ax=ax)
ax.grid(alpha=0.3)

# %%
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
density_figure.savefig(folder / "spiral.png", dpi=95)
fig.savefig(folder / "spiral_cost.png", dpi=95)
print(f"saved {folder / 'spiral.png'} and {folder / 'spiral_cost.png'}")
