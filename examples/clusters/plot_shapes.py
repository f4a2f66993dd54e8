"""
=====================
Clusters of any shape
=====================

Four data sets, each a trap for somebody: half moons, rings, stretched clouds, and
clouds of unlike width. k-means and scikit-learn's mixture are told how many clusters
there are, :class:`~sklearn_keops_gmm.MixtureClustering` is not.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import MixtureClustering

# %%
# The data
# --------
n = 1500
clouds, which = make_blobs(n, random_state=170)
sets = {
    "moons": make_moons(n, noise=0.07, random_state=0),
    "rings": make_circles(n, factor=0.4, noise=0.06, random_state=0),
    "stretched": (clouds @ np.array([[0.6, -0.64], [-0.41, 0.85]]), which),
    "unlike widths": make_blobs(n, cluster_std=[1.0, 2.5, 0.5], random_state=170),
}


# %%
# The clusters
# ------------
def methods(n_clusters):
    """Return the methods; two of them are told the number of clusters."""
    return {
        f"KMeans({n_clusters})": KMeans(n_clusters, random_state=0),
        f"GaussianMixture({n_clusters})": GaussianMixture(n_clusters, random_state=0),
        "MixtureClustering()": MixtureClustering(random_state=0),
    }


colours = np.array(["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000"])
figure, axes = plt.subplots(4, 3, figsize=(8, 9.5), layout="constrained")
for row, (name, (X, labels)) in zip(axes, sets.items(), strict=True):
    for ax, (title, method) in zip(row, methods(labels.max() + 1).items(), strict=True):
        found = method.fit_predict(X)
        ax.scatter(*X.T, s=3, color=colours[found % len(colours)], linewidths=0)
        agreement = round(adjusted_rand_score(labels, found), 2) + 0.0  # no -0
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"{title}: ARI {agreement:.2f}", fontsize=9)
    row[0].set_ylabel(name)

plt.show()
