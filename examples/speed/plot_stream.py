"""
========================
A stream, batch by batch
========================

The pixels of a photograph arrive in batches and are not kept. ``partial_fit`` makes a
step of online EM with each, and the mixture comes close to that of a fit to all of them
at once.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sklearn_keops_gmm import KeOpsGaussianMixture

# %%
# The stream
# ----------
# Pixels in no order; a tenth of them is held out to judge by.
rng = np.random.default_rng(0)
pixels = load_sample_image("flower.jpg").reshape(-1, 3).astype(np.float32) / 255
pixels = rng.permutation(pixels)
held_out, stream = np.split(pixels, [len(pixels) // 10])
batches = np.array_split(stream, 50)
print(f"{len(batches)} batches of about {len(batches[0]):,} pixels")

# %%
# The fits
# --------
settings = {"n_components": 12, "reg_covar": 1e-5, "random_state": 0}
online = KeOpsGaussianMixture(**settings)
scores = [online.partial_fit(batch).score(held_out) for batch in batches]
at_once = KeOpsGaussianMixture(**settings, max_iter=500).fit(stream).score(held_out)
first = KeOpsGaussianMixture(**settings, max_iter=500).fit(batches[0]).score(held_out)
print(f"mean log-density of held-out pixels: {scores[-1]:.3f} after one pass,")
print(f"    {first:.3f} by a fit to the first batch, {at_once:.3f} by one to all")

# %%
# The picture
# -----------
seen = np.cumsum([len(batch) for batch in batches])
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.plot(seen, scores, color="#0072b2", marker="o", markersize=3, label="partial_fit")
ax.axhline(at_once, color="black", linestyle="dashed", label="fit to all at once")
ax.axhline(first, color="0.5", linestyle="dotted", label="fit to the first batch")
ax.set(xlabel="pixels seen", ylabel="mean log-density of held-out pixels")
ax.xaxis.set_major_formatter("{x:,.0f}")
ax.legend()

plt.show()
