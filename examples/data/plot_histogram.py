"""
==========================
A mixture from a histogram
==========================

Ten million samples have been counted in bins, and only the counts were kept. The
middles of the bins, weighted by their counts, take the place of the samples: a fit
takes the time of some hundred samples, however many were counted.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

# %%
# The counts
# ----------
rng = np.random.default_rng(0)
samples = np.concatenate(
    (
        rng.normal(0.0, 1.0, 6_000_000),
        rng.normal(5.0, 0.6, 1_000_000),
        rng.normal(7.0, 2.0, 3_000_000),
    )
)
counts, edges = np.histogram(samples, bins=300)
middles = (edges[:-1] + edges[1:])[:, None] / 2
del samples

# %%
# The fit
# -------
# Weights that are integers count equal rows, in the criterion too.
begin = perf_counter()
found = KeOpsGaussianMixtureCV(10, random_state=0).fit(middles, sample_weight=counts)
print(f"{found.n_components_} components in {perf_counter() - begin:.1f} s")
errors = found.standard_errors(middles, sample_weight=counts)
for j in np.argsort(found.means_[:, 0]):
    print(
        f"    weight {found.weights_[j]:.4f} ± {errors.weights[j]:.4f}"
        f"   mean {found.means_[j, 0]:.4f} ± {errors.means[j, 0]:.4f}"
        f"   standard deviation {np.sqrt(found.covariances_[j, 0, 0]):.4f}"
    )

# %%
# The picture
# -----------
grid = np.linspace(edges[0], edges[-1], 500)
curves = found.weights_ * norm.pdf(
    grid[:, None], found.means_[:, 0], np.sqrt(found.covariances_[:, 0, 0])
)
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
density = counts / counts.sum() / np.diff(edges)
ax.stairs(density, edges, fill=True, color="0.8", label="counts")
ax.plot(grid, curves, color="#d55e00", linewidth=1)
ax.plot([], [], color="#d55e00", linewidth=1, label="components")
ax.plot(grid, curves.sum(axis=1), color="black", label="their sum")
ax.set(xlabel="value", ylabel="density", ylim=(0, None))
ax.legend()

plt.show()
