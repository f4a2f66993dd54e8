"""
========================
A density of one feature
========================

A broad hump with five narrow claws, the density by which Marron and Wand (1992) try
those who estimate densities. A kernel has one width for all; a mixture has one for each
component.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import gaussian_kde, norm

from sklearn_keops_gmm import KeOpsGaussianMixtureCV, MixtureDisplay

# %%
# The data
# --------
weights = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
means = np.array([0.0, -1.0, -0.5, 0.0, 0.5, 1.0])
widths = np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1])
rng = np.random.default_rng(0)


def draw(n):
    """Draw from the density."""
    which = rng.choice(len(weights), size=n, p=weights)
    return rng.normal(means[which], widths[which])[:, None]


def truth(x):
    """Return the density itself."""
    return norm.pdf(x[:, None], means, widths) @ weights


X, X_new = draw(3000), draw(10_000)

# %%
# The fits
# --------
# With ``criterion="cv"`` the mixture is chosen that predicts best what it has not seen.
found = KeOpsGaussianMixtureCV(15, criterion="cv", random_state=0).fit(X)
kernels = gaussian_kde(X[:, 0])
print(f"{found.n_components_} components")
scores = {
    "the density itself": np.log(truth(X_new[:, 0])),
    "the mixture": found.score_samples(X_new),
    "kernels": np.log(kernels(X_new[:, 0])),
}
for name, score in scores.items():
    print(f"mean log-density of new samples, {name}: {score.mean():.3f}")

# %%
# The picture
# -----------
grid = np.linspace(-3, 3, 1000)
figure, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
display = MixtureDisplay.from_estimator(found, X, ax=ax)
handles, names = display.legend_entries()
handles += ax.plot(grid, truth(grid), color="black", linestyle="dotted")
handles += ax.plot(grid, kernels(grid), color="#009e73", linestyle="dashed")
ax.legend(handles, [*names, "truth", "kernels"])
ax.set(xlabel="x", xlim=(-3, 3))

plt.show()
