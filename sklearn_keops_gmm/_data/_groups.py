"""The probabilities of groups of components, some samples at a time.

The matrix of pairs is never held: neither that of samples and components, nor, unless
it is asked for, that of samples and groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._query import Bound, tiles
from sklearn_keops_gmm._model import (
    Components,
    GaussianMixtureModel,
    TileFunction,
    products,
)
from sklearn_keops_gmm.backends import (
    ReductionsFactory,
    choose_backend,
    get_backend,
)


class GroupMeans:
    """Weighted means over all samples of functions of probabilities.

    Noise has none of them, and what is noise does not count.

    Parameters
    ----------
    data : Data
    model : GaussianMixtureModel
    backend : str
        As a user has asked for it.
    """

    def __init__(self, data: Data, model: GaussianMixtureModel, backend: str) -> None:
        self._data = data
        name = choose_backend(backend, data.points.device, model.components.structure)
        reductions = data.bind(get_backend(name), data.frame(), model.noise)
        self._components = model.components
        # Of what is no noise.
        self._weight = data.total_weight * (1.0 - model.parameters.noise_weight)
        self._factory = reductions.factory(model.components.structure)

    def __call__(self, function: TileFunction, groups: np.ndarray | None) -> np.ndarray:
        """Return the mean of a function of probabilities.

        Those of groups, (M, G), or of components if that is None.
        """
        members = None
        if groups is not None:
            members = torch.from_numpy(np.ascontiguousarray(groups, dtype=np.float64))
        asked = partial(
            _sum_of_tiles, self._factory, self._components, members, function
        )
        mean: np.ndarray = self._data.total(asked).numpy() / self._weight
        return mean

    @cached_property
    def confusions(self) -> np.ndarray:
        """The mean products of probabilities of components, (M, M)."""
        return self(products, None)

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-likelihoods of all samples that count, and their weights."""
        asked = partial(_scores_and_weights, self._factory, self._components)
        parts = self._data.total(asked)
        scores, weights = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(weights)


@dataclass(frozen=True)
class Groups:
    """What a mixture whose components are grouped answers about samples.

    Attributes
    ----------
    members : Tensor of shape (M, G), float64
        Of ones and zeros: which components are in each group.
    least : float
        Samples of less log-likelihood are in no group, -1.
    noise : bool
        Whether there is noise, which is in no group either, and is the last column.
    """

    members: Tensor
    least: float = -np.inf
    noise: bool = False

    def probabilities(self, bound: Bound) -> Tensor:
        """Return the probabilities of the groups, (N, G), and that of noise."""
        n_columns = self.members.shape[1] + self.noise
        found = bound.points.new_empty(len(bound.points), n_columns)
        for rows, probabilities in self._tiles(bound):
            found[rows] = probabilities
        return found

    def labels(self, bound: Bound) -> Tensor:
        """Return the most probable group, (N,): that of most probability."""
        found = bound.points.new_empty(len(bound.points), dtype=torch.int64)
        for rows, probabilities in self._tiles(bound):
            found[rows] = probabilities.argmax(dim=1)
        if self.noise:
            found[found == self.members.shape[1]] = -1
        if self.least > -np.inf:
            unlikely = bound.reductions.log_density(bound.components) < self.least
            found[unlikely] = -1
        return found

    def _tiles(self, bound: Bound) -> Iterator[tuple[slice, Tensor]]:
        members = self.members.to(bound.points)
        if self.noise:
            members = torch.block_diag(members, members.new_ones(1, 1))
        for rows in tiles(len(bound.points), len(members)):
            some = bound.of_rows(rows)
            yield rows, some.reductions.responsibilities(some.components) @ members


def _scores_and_weights(
    factory: ReductionsFactory,
    components: Components,
    points: Tensor,
    weights: Tensor | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return those of some samples; sums of lists are lists of all."""
    scores = factory(points, None).log_density(components.to(points.device))
    if weights is None:
        weights = torch.ones_like(scores)
    return [(scores.cpu().numpy(), weights.cpu().numpy())]


def _sum_of_tiles(
    factory: ReductionsFactory,
    components: Components,
    groups: Tensor | None,
    function: TileFunction,
    points: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """Return the sum of a function over some samples, on the CPU."""
    components = components.to(points.device)
    n_columns = len(components.offsets)
    if groups is not None:
        groups = groups.to(points.device)
        n_columns += groups.shape[1]
    total: Tensor | None = None
    for rows in tiles(len(points), n_columns):
        found = factory(points[rows], None).responsibilities(components).double()
        found = found[:, : len(components.offsets)]
        some = None if weights is None else weights[rows, None].double()
        part = function(found if groups is None else found @ groups, some)
        total = part if total is None else total + part
    assert total is not None
    return total.cpu()
