"""
====================
How many components?
====================

The sparsity decides how many components live. A path shows all that it can decide, and
a criterion chooses.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_keops_gmm import (
    KeOpsGaussianMixtureCV,
    MixtureDisplay,
    SparsityPathDisplay,
    sparsity_path,
)

# %%
# The data
# --------
# Eight clusters of unlike shapes and weights.
rng = np.random.default_rng(4)
n_clusters, n_samples = 8, 4000
angles = 2 * np.pi * np.arange(n_clusters) / n_clusters
centres = 8 * np.stack((np.cos(angles), np.sin(angles)), axis=1)
shapes = 0.8 * rng.normal(size=(n_clusters, 2, 2))
labels = rng.choice(n_clusters, size=n_samples, p=rng.dirichlet(np.full(8, 5.0)))
noise = rng.normal(size=(n_samples, 2))
X = centres[labels] + np.einsum("nij,nj->ni", shapes[labels], noise)

# %%
# The path
# --------
# From thirty components down to one, each mixture the start of the next. A plateau is a
# number of components that a wide range of sparsities asks for.
path = sparsity_path(X, 30, random_state=0)
for low, high in path.sparsities[path.n_components == n_clusters]:
    print(f"{n_clusters} components cost least for sparsities {low:.2f} to {high:.2f}")

# %%
# The choice
# ----------
# The default criterion needs no second look at the data.
found = KeOpsGaussianMixtureCV(30, random_state=0).fit(X)
print(f"{found.n_components_} components found")

figure, axes = plt.subplots(ncols=2, figsize=(10, 4.2), layout="constrained")
SparsityPathDisplay.from_estimator(found, ax=axes[0])
MixtureDisplay.from_estimator(found.mixture_, X, ax=axes[1])

plt.show()
