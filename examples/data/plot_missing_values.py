"""
==================
Values are missing
==================

A third of the numbers is missing. What a regression or the nearest neighbours fill in
is a mean, and makes samples that are unlike any that were seen. A mixture is fitted to
what is there, and draws what is missing from its distribution given the rest.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

# %%
# The data
# --------
# Points along an arc. Of each point at most one coordinate is missing.
rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, 2000)
X = np.stack((np.cos(angle), np.sin(angle)), axis=1)
X += 0.05 * rng.normal(size=X.shape)
gone = rng.random(len(X)) < 2 / 3
missing = np.zeros(X.shape, dtype=bool)
missing[gone, rng.integers(0, 2, size=gone.sum())] = True
gaps = np.where(missing, np.nan, X)
print(f"{missing.mean():.0%} of the numbers are missing")

# %%
# The fit
# -------
# To incomplete samples, as they are.
found = KeOpsGaussianMixtureCV(20, random_state=0).fit(gaps)
print(f"{found.n_components_} components")

# %%
# Filling in
# ----------
# How far filled samples are from the arc, as a root mean square; the noise is 0.05.
(drawn,) = found.impute(gaps, n_draws=1, random_state=0)
filled = {
    "a regression": IterativeImputer(random_state=0).fit_transform(gaps),
    "nearest neighbours": KNNImputer().fit_transform(gaps),
    "a draw from the mixture": drawn,
}
for name, samples in filled.items():
    distance = np.hypot(*samples[gone].T) - 1
    print(f"{name}: {np.sqrt(np.mean(distance**2)):.2f} from the arc")

# %%
# The picture
# -----------
figure, axes = plt.subplots(
    1, 3, figsize=(10, 3.1), layout="constrained", sharex=True, sharey=True
)
for ax, (name, samples) in zip(axes, filled.items(), strict=True):
    ax.scatter(*samples[~gone].T, s=5, color="0.6", linewidths=0, label="complete")
    ax.scatter(*samples[gone].T, s=5, color="#d55e00", linewidths=0, label="filled in")
    ax.set(title=name, xlabel="first feature", aspect="equal")
axes[0].set_ylabel("second feature")
axes[0].legend(loc="lower center", markerscale=2)

plt.show()
