"""
========================================
A photograph in the colours of a mixture
========================================

The 273,280 pixels of a photograph are points in the cube of colours. A mixture is
fitted to them, and each pixel is painted with the mean of its component.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sklearn_keops_gmm import KeOpsGaussianMixture

# %%
# The data
# --------
# One row per pixel, red, green and blue between 0 and 1.
image = load_sample_image("china.jpg") / 255
X = image.reshape(-1, 3)

# %%
# The fit
# -------
begin = perf_counter()
model = KeOpsGaussianMixture(n_components=16, random_state=0)
labels = model.fit_predict(X)
seconds = perf_counter() - begin
print(
    f"{len(X):,} pixels, {model.n_components_} components, mean log-likelihood "
    f"{model.score(X):.3f}, {model.n_iter_} iterations, {seconds:.1f} s"
)
for j in np.argsort(-model.weights_):
    red, green, blue = np.rint(255 * model.means_[j]).astype(int)
    print(f"    weight {model.weights_[j]:.3f}   mean #{red:02x}{green:02x}{blue:02x}")

# %%
# The pictures
# ------------
quantized = model.means_[labels].reshape(image.shape)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for ax, picture, title in (
    (axes[0], image, "the photograph"),
    (axes[1], quantized, f"in {model.n_components_} colours"),
):
    ax.imshow(np.clip(picture, 0, 1))
    ax.set(title=title, xticks=[], yticks=[])

plt.show()
