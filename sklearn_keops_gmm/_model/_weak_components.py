"""Components that the data say too little about."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel


def on_few_samples(counts: Tensor, n_features: int) -> Tensor:
    """Tell, (M,) bool, which components have too few samples to tell a covariance."""
    return counts < n_features + 1


def weak_components(
    model: GaussianMixtureModel, ridge: Tensor, counts: Tensor
) -> list[int]:
    """Return the components that the data say too little about.

    They hold fewer than D + 1 samples, or what is added to variances is most of one
    of theirs, but not of that of the mixture: a constant feature says nothing of them.

    Parameters
    ----------
    model : GaussianMixtureModel
    ridge : Tensor of shape (D,)
        What was added to the variances.
    counts : Tensor of shape (M,)
        How many samples each component has, which is more than its weight says where
        a prior shrinks small ones; infinity where that is not known.
    """
    shares, means = model.parameters.proportions, model.parameters.means
    few = on_few_samples(counts, model.n_features)
    variances = torch.diagonal(model.matrices, dim1=-2, dim2=-1)
    least = 2.0 * ridge.to(variances)
    middle = shares @ means
    varies = shares @ (variances + (means - middle) ** 2) >= least
    weak = few | ((variances < least) & varies).any(1)
    return [int(j) for j in weak.nonzero()[:, 0]] if model.n_components > 1 else []


def say_weak(weak: list[int]) -> str:
    """Return a sentence about weak components."""
    rest, describe = "s {} rest", "they describe"
    if len(weak) == 1:
        rest, describe = " {} rests", "it describes"
    return (
        f"Component{rest.format(_listed(weak))} on fewer samples than features plus "
        f"one, or on values of a feature that are all but equal: {describe} single "
        "samples, or a repeated value, rather than a cluster."
    )


def _listed(numbers: list[int]) -> str:
    """Return numbers as words of a sentence, the first few of them."""
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
