"""
====================
A prior of one's own
====================

A prior is any term of the cost that torch can differentiate: a function of the weights,
the means and the triangular factors of the precisions. Two examples:

- Means that lie near a line, whichever line that is, for clouds of few points, whose
  own means are far from where they should be.
- The sparsity prior, which the package has built in, written in one line. It gives the
  fit that ``sparsity`` gives.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Ellipse

from sklearn_keops_gmm import KeOpsGaussianMixture


# %%
# The data
# --------
# Seven clouds of eight points, their centres on a line; and many more points of the
# same clouds, to judge by.
def draw_clouds(rng, size):
    """Draw `size` points around each centre, farther up and down than sideways."""
    noise = rng.normal(scale=(0.35, 1.0), size=(7 * size, 2))
    return np.repeat(centres, size, axis=0) + noise


centres = np.column_stack((np.linspace(-6, 6, 7), np.linspace(-2, 2, 7)))
rng = np.random.default_rng(1)
X, X_new = draw_clouds(rng, 8), draw_clouds(rng, 2000)


# %%
# A prior that pulls means to a line
# ----------------------------------
# The smallest eigenvalue of the scatter of the means is the spread that is left across
# the line nearest to them. The fit finds that line together with the mixture.
def near_a_line(weights, means, precisions_cholesky):
    """Return 10 times the weighted mean square distance of the means from a line."""
    offsets = means - weights @ means  # (M, D)
    scatter = (weights[:, None] * offsets).T @ offsets  # (D, D)
    return 10 * torch.linalg.eigvalsh(scatter)[0]


settings = {
    "n_components": 7,
    "covariance_type": "tied_diag",
    "solver": "lbfgs",
    "max_iter": 500,
    "tol": 1e-6,
    "random_state": 0,
}
models = {
    "no prior": KeOpsGaussianMixture(**settings).fit(X),
    "means near a line": KeOpsGaussianMixture(**settings, prior=near_a_line).fit(X),
}
across = np.array([4.0, -12.0]) / np.hypot(4.0, 12.0)
for name, model in models.items():
    distance = np.sqrt(np.mean((model.means_ @ across) ** 2))
    print(
        f"{name}: means {distance:.2f} from the true line (root mean square), mean "
        f"log-likelihood {model.score(X):.3f}, of new points {model.score(X_new):.3f}"
    )


# %%
# What the prior does
# -------------------
# An ellipse holds the points within two standard deviations of a component. The dashed
# line is the one that the clouds were drawn along.
def draw(ax, model):
    """Draw the data, the true line, and an ellipse and a dot for each component."""
    ax.scatter(*X.T, s=9, color="0.4", linewidths=0)
    ax.plot(*(1.4 * centres[[0, -1]]).T, "--", color="tab:blue", lw=1, zorder=1)
    width, height = 2 * 2 * np.sqrt(model.covariances_)
    for mean in model.means_:
        ax.add_patch(Ellipse(mean, width, height, fill=False, lw=1.2, ec="tab:red"))
    ax.scatter(*model.means_.T, s=30, color="tab:red", zorder=3)
    ax.set(xlim=(-8, 8), ylim=(-5, 5), aspect="equal", xlabel="first feature")


fig, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    draw(ax, model)
    ax.set_title(name)
axes[0].set_ylabel("second feature")

# %%
# The sparsity prior, written as a user's
# ---------------------------------------
# A component that dies takes its weight to the edge of the simplex, where the slope of
# a square root has no bound: it is held a little above.
sparsity, n_components = 6.0, 12


def sparse(weights, means, precisions_cholesky):
    """Return (s / M) times the sum of the roots of the weights."""
    return sparsity / n_components * weights.clamp_min(1e-300).sqrt().sum()


settings |= {"n_components": n_components, "reg_covar": 0.1}
warnings.simplefilter("ignore", UserWarning)  # some components rest on two points
built_in = KeOpsGaussianMixture(**settings, sparsity=sparsity).fit(X)
written = KeOpsGaussianMixture(**settings, prior=sparse).fit(X)
for name, model in {"sparsity=6": built_in, "prior=sparse": written}.items():
    print(
        f"{name}: {model.n_components_} of {n_components} components, "
        f"cost {model.cost_:.6f}, {model.n_iter_} iterations"
    )
np.testing.assert_allclose(written.means_, built_in.means_, atol=1e-4)

plt.show()
