"""
===================================
How many species, how many growers?
===================================

Flowers of three species, and wines of three growers. Nobody tells the mixture that
there are three: it compares numbers of components and types of covariances by a
criterion.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import scale

from sklearn_keops_gmm import CriterionDisplay, KeOpsGaussianMixtureCV, PairsDisplay

# %%
# The choice
# ----------
# One fit each. ARI is the agreement of the components with species and growers, which
# the fits do not see: 0 by chance, 1 for the same groups.
iris, wine = load_iris(), load_wine()
data = {"iris": iris.data, "wine": scale(wine.data)}
labels = {"iris": iris.target, "wine": wine.target}
found = {}
for name, X in data.items():
    found[name] = KeOpsGaussianMixtureCV(covariance_type="auto", random_state=0).fit(X)
    agreement = adjusted_rand_score(labels[name], found[name].predict(X))
    print(
        f"{name}: {found[name].n_components_} components, "
        f"{found[name].covariance_type_} covariances, ARI {agreement:.2f}"
    )

# %%
# What was compared
# -----------------
# A curve for each type of covariance. Few parameters for a component, as in the types
# at the end of the legend, ask for more components.
figure, axes = plt.subplots(ncols=2, figsize=(10, 4.4), layout="constrained")
for ax, (name, model) in zip(axes, found.items(), strict=True):
    CriterionDisplay.from_estimator(model, ax=ax)
    ax.set_title(name)

# %%
# What was found
# --------------
# Of the flowers, petals tell more than sepals.
names = [name.removesuffix(" (cm)") for name in iris.feature_names]
display = PairsDisplay.from_estimator(found["iris"], iris.data, color_by="component")
for i, name in enumerate(names):
    display.axes_[-1, i].set_xlabel(f"{name}, cm")
    if i > 0:
        display.axes_[i, 0].set_ylabel(f"{name}, cm")

# %%
# In words, with how far the next best are from what was chosen:
print(found["iris"].summary(iris.data))

plt.show()
