"""
===================================
What one feature says about another
===================================

A mixture of the joint distribution of x and y says, for each x, which y are likely. Its
mean is a regression; where a curve turns back on itself no single y is right, and the
whole conditional distribution tells more.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_keops_gmm import KeOpsGaussianMixture, MixtureDisplay

# %%
# The data
# --------
# A point of the curve is easily found from y, but not from x.
rng = np.random.default_rng(0)
y = rng.uniform(size=5000)
x = y + 0.3 * np.sin(2 * np.pi * y) + 0.03 * rng.standard_normal(len(y))
X = np.column_stack((x, y))

# %%
# The fit
# -------
# Of both at once; the prior keeps as many components as the curve asks for.
model = KeOpsGaussianMixture(20, sparsity=2, max_iter=500, random_state=0).fit(X)
print(f"{model.n_components_} components")

# %%
# From x to y
# -----------
# ``conditional_mean`` takes many rows at once, ``condition`` gives the mixture of y for
# one value of x.
grid = np.linspace(0, 1, 200)
means = model.conditional_mean([0], grid[:, None])

value = 0.5
given = model.condition([0], [value])
print(f"y where x = {value}:")
for weight, mean, covariance in zip(
    given.weights_, given.means_[:, 0], given.covariances_[:, 0, 0], strict=True
):
    if weight > 0.01:
        print(f"    weight {weight:.2f}   {mean:.3f} ± {np.sqrt(covariance):.3f}")

# %%
# The pictures
# ------------
# On the right the distribution of y at the dashed line, and what is sampled from it.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
MixtureDisplay.from_estimator(model, X, ax=axes[0])
axes[0].plot(grid, means[:, 0], color="black", linewidth=2, label="mean of y given x")
axes[0].axvline(value, color="black", linestyle="dashed", linewidth=1)
axes[0].set(xlabel="x", ylabel="y")
axes[0].legend(loc="upper left")
samples, _ = given.sample(5000, random_state=0)
MixtureDisplay.from_estimator(given, samples, ax=axes[1])
axes[1].set(xlabel="y", title=f"x = {value}")

plt.show()
