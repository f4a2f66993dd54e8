"""
===========================
From components to clusters
===========================

Clusters need not be Gaussian. A mixture follows their shapes with several components
each, and merges those that belong together.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_keops_gmm import MergeDisplay, MixtureClustering, MixtureDisplay

# %%
# The data
# --------
# A banana, a ring around a disc, and a core with a halo.
rng = np.random.default_rng(0)


def around(angles, radius, centre):
    """Return points at some angles of a circle, with noise."""
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return centre + radius * circle + 0.12 * rng.normal(size=circle.shape)


banana = around(rng.uniform(0, np.pi, 700), 2.0, (-5.5, -1.0))
ring = around(rng.uniform(0, 2 * np.pi, 900), 2.2, (0.0, 0.0))
disc = 0.35 * rng.normal(size=(300, 2))
widths = np.repeat([0.2, 0.8], 300)[:, None]
halo = np.array([5.5, 0.0]) + widths * rng.normal(size=(600, 2))
X = np.concatenate((banana, ring, disc, halo))

# %%
# The clusters
# ------------
# The number of components is chosen by a criterion, and the number of clusters by where
# the components that are merged become least alike.
clustering = MixtureClustering(random_state=0).fit(X)
print(
    f"{clustering.mixture_.n_components_} components, {clustering.n_clusters_} clusters"
)
print("samples in each:", np.bincount(clustering.labels_))

# %%
# The tree
# --------
# Below the cut, components that one cluster consists of. The distance is minus the
# logarithm of how alike two clusters are.
figure, axes = plt.subplots(
    ncols=2, figsize=(12, 3.6), layout="constrained", width_ratios=(3, 2)
)
MixtureDisplay.from_estimator(clustering, X, ax=axes[0])
axes[0].set_aspect("equal")
MergeDisplay.from_estimator(clustering, ax=axes[1])

# %%
# Another cut needs no other fit.
print("three clusters would be of components", clustering.cut_tree(n_clusters=3))

# %%
# New samples have probabilities of clusters, and a density.
print(clustering.predict_proba([[-5.5, 1.0], [1.2, 0.0]]).round(3))

plt.show()
