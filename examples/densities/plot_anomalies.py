"""
================================
What is unlike all that is known
================================

A mixture learns what the digits 0 to 8 look like. Nines, which it has never seen, are
where its density is low.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

# %%
# The data
# --------
# Images of 8 × 8 pixels. A third of the digits 0 to 8 is held out, beside the nines.
digits = load_digits()
X, nine = digits.data, digits.target == 9
usual, others = train_test_split(X[~nine], test_size=1 / 3, random_state=0)
X_new = np.concatenate((others, X[nine]))
is_nine = np.arange(len(X_new)) >= len(others)

# %%
# The threshold
# -------------
# It is set by the usual samples alone: one in fifty of them lies below.
mixture = make_pipeline(PCA(16, random_state=0), KeOpsGaussianMixtureCV(random_state=0))
mixture.fit(usual)
threshold = np.quantile(mixture.score_samples(usual), 0.02)
scores = mixture.score_samples(X_new)
print(f"{mixture[-1].n_components_} components")
print(f"below the threshold: {np.mean(scores[is_nine] < threshold):.0%} of the nines,")
print(f"                     {np.mean(scores[~is_nine] < threshold):.0%} of the others")

# %%
# New digits by their log-density. What is lower than the axis is in the first bin.
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
bins = np.linspace(-100, scores.max(), 50)
for of_class, name, colour in (
    (~is_nine, "0 to 8", "#0072b2"),
    (is_nine, "nines, never seen", "#d55e00"),
):
    ax.hist(scores[of_class].clip(bins[0]), bins, color=colour, alpha=0.6, label=name)
ax.axvline(threshold, color="black", linestyle="dashed", label="threshold")
ax.set(xlabel="log-density", ylabel="new digits")
ax.legend(loc="upper left")

# %%
# The most unusual of the others
# ------------------------------
# What is least likely of the digits that the mixture knows:
strange = np.argsort(scores[~is_nine])[:8]
figure, axes = plt.subplots(1, 8, figsize=(8, 1.2), layout="constrained")
for ax, i in zip(axes, strange, strict=True):
    ax.imshow(others[i].reshape(8, 8), cmap="gray_r")
    ax.set(xticks=[], yticks=[])

# %%
# Beside other detectors
# ----------------------
# The area under the ROC curve: how often a nine looks less usual than another digit.
# The usual ones are of many kinds, which a mixture holds apart.
print(f"mixture: {roc_auc_score(is_nine, -scores):.3f}")
for detector in (IsolationForest(random_state=0), LocalOutlierFactor(novelty=True)):
    fitted = make_pipeline(PCA(16, random_state=0), detector).fit(usual)
    area = roc_auc_score(is_nine, -fitted.score_samples(X_new))
    print(f"{type(detector).__name__}: {area:.3f}")

plt.show()
