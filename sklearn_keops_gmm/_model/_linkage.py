"""How alike clusters of components are: what decides which are merged first.

A linkage is made of a mixture and of means over its samples. It knows by which rule
its tree is cut unless a user says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._merge_tree import (
    CutRule,
    more_alike_than,
    widest_gap,
)
from sklearn_keops_gmm._model._ridge_lines import saddles

# Of probabilities of groups of components, (n, G), and weights of samples, (n, 1) or
# None: a sum over the samples.
TileFunction = Callable[[Tensor, Tensor | None], Tensor]

# Sums of entropies are for all pairs of components.
_MOST_FOR_ENTROPIES = 100


class SampleMeans(Protocol):
    """Weighted means over all samples, each of which asks for all of them once."""

    def __call__(self, function: TileFunction, groups: np.ndarray) -> np.ndarray:
        """Return the mean of a function of probabilities.

        Parameters
        ----------
        function : callable
            Returns the sum over some samples; it can be pickled.
        groups : ndarray of shape (M, G)
            Of ones and zeros: which components are in each group.
        """

    @property
    def confusions(self) -> np.ndarray:
        """The mean products of probabilities of components, (M, M), found once."""


class ComponentLinkage(Protocol):
    """How alike clusters are, and where to cut the tree that follows from it."""

    rule: ClassVar[CutRule]

    def __init__(self, model: GaussianMixtureModel, means: SampleMeans) -> None: ...

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Return how alike each two of K clusters of components are, (K, K)."""


def indicators(labels: np.ndarray) -> np.ndarray:
    """Return which components are in each cluster, (M, K) of ones and zeros."""
    return np.eye(int(labels.max()) + 1)[labels]


class ConfusionLinkage:
    """``C_ab / (min(p_a, p_b) sqrt(max(p_a, p_b)))``.

    C_ab is how often two draws from the posterior of a sample are the clusters a and b,
    and p_a how often one is a. The root lets a large cluster take in small ones before
    it merges with others as large. Clusters' C is a sum of components' C, so that one
    pass over the samples is enough for the whole tree.
    """

    rule: ClassVar[CutRule] = staticmethod(widest_gap)

    def __init__(self, model: GaussianMixtureModel, means: SampleMeans) -> None:
        self._confusions = means.confusions

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        members = indicators(labels)
        confusions = members.T @ self._confusions @ members
        p = confusions.sum(axis=0)
        scale = np.minimum.outer(p, p) * np.sqrt(np.maximum.outer(p, p))
        return _ratio(confusions, scale)


class MisclassificationLinkage:
    """The directly estimated misclassification probability of Hennig (2010).

    How often a sample that comes from one of two clusters is labelled as the other, or
    the other way, whichever is more. Labels change with each merger: so each takes a
    pass over the samples.
    """

    rule: ClassVar[CutRule] = more_alike_than(0.025)

    def __init__(self, model: GaussianMixtureModel, means: SampleMeans) -> None:
        self._means = means

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        labelled = self._means(_labelled, indicators(labels))  # from a, labelled as b
        rates = _ratio(labelled, labelled.sum(axis=1, keepdims=True))
        return np.maximum(rates, rates.T)


class EntropyLinkage:
    """The entropy of labels that a merger removes, as in Baudry et al. (2010).

    Per sample, in bits. The entropies of all pairs of components are found in one pass
    over the samples; each merger takes another.
    """

    rule: ClassVar[CutRule] = more_alike_than(0.05)

    def __init__(self, model: GaussianMixtureModel, means: SampleMeans) -> None:
        if model.n_components > _MOST_FOR_ENTROPIES:
            raise ValueError(
                "linkage='entropy' needs the entropies of all pairs of components, and "
                f"takes at most {_MOST_FOR_ENTROPIES} of them; the mixture has "
                f"{model.n_components}. Use linkage='confusion', or fewer n_components."
            )
        self._means = means
        self._known: dict[bytes, float] = {}

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        members = indicators(labels)
        n = members.shape[1]
        first, second = np.triu_indices(n, 1)
        groups = np.hstack((members, members[:, first] + members[:, second]))
        entropies = self._entropies(groups)
        single, both = entropies[:n], entropies[n:]
        gains = np.zeros((n, n))
        gains[first, second] = gains[second, first] = (
            single[first] + single[second] - both
        )
        return np.maximum(gains, 0.0) / np.log(2)

    def _entropies(self, groups: np.ndarray) -> np.ndarray:
        """Return those of groups; of those that are new the samples are asked."""
        keys = [column.astype(bool).tobytes() for column in groups.T]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            found = self._means(_entropies, groups[:, new])
            self._known.update(zip((keys[i] for i in new), found.tolist(), strict=True))
        return np.array([self._known[key] for key in keys])


class SaddleLinkage:
    """How deep the density falls between two clusters (Ray and Lindsay, 2005).

    The density at the saddle between them over that at the lower of their peaks, 1 if
    they share a mode. Saddles are sought along the ridge lines of all pairs of
    components (as in Hennig, 2010, there for two components alone), and no sample is
    asked.
    """

    rule: ClassVar[CutRule] = more_alike_than(0.5)

    def __init__(self, model: GaussianMixtureModel, means: SampleMeans) -> None:
        self._saddles, self._peaks = saddles(model)  # logarithms of densities

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        n = int(labels.max()) + 1
        peaks = np.full(n, -np.inf)
        np.maximum.at(peaks, labels, self._peaks)
        highest = np.full((n, n), -np.inf)
        np.maximum.at(highest, (labels[:, None], labels[None, :]), self._saddles)
        return np.exp(np.minimum(highest - np.minimum.outer(peaks, peaks), 0.0))


LINKAGES: dict[str, type[ComponentLinkage]] = {
    "confusion": ConfusionLinkage,
    "misclassification": MisclassificationLinkage,
    "entropy": EntropyLinkage,
    "saddle": SaddleLinkage,
}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return a ratio, 1 where there is nothing at all."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)


# -- sums over some samples -----------------------------------------------------------


def products(probabilities: Tensor, weights: Tensor | None) -> Tensor:
    """Return how often two draws are two groups, (G, G)."""
    return _weighted(probabilities, weights).T @ probabilities


def _labelled(probabilities: Tensor, weights: Tensor | None) -> Tensor:
    """Return how often samples of one group are labelled as another, (G, G)."""
    n_groups = probabilities.shape[1]
    labels = torch.nn.functional.one_hot(probabilities.argmax(dim=1), n_groups)
    return _weighted(probabilities, weights).T @ labels.to(probabilities.dtype)


def label_shares(probabilities: Tensor, weights: Tensor | None) -> Tensor:
    """Return how often each group is the most probable one, (G,)."""
    n_groups = probabilities.shape[1]
    labels = torch.nn.functional.one_hot(probabilities.argmax(dim=1), n_groups)
    return _weighted(labels.to(probabilities.dtype), weights).sum(dim=0)


def _entropies(probabilities: Tensor, weights: Tensor | None) -> Tensor:
    """Return the terms of the entropy, (G,)."""
    return _weighted(torch.special.entr(probabilities), weights).sum(dim=0)


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights
