"""Reductions over samples of which it is known which component some are of.

Such a row has the density of its component alone, and belongs to no other. For the rows
of one component all others have the weight zero: any backend computes that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._protocol import (
    Backend,
    Reductions,
    ReductionsFactory,
)


@dataclass(frozen=True)
class LabelledBackend:
    """A backend for points of which it is known which component some are of.

    Attributes
    ----------
    backend : Backend
        That computes.
    labels : Tensor of shape (N,), int64
        The components of the points that it is going to be given, -1 where unknown.
    """

    backend: Backend
    labels: Tensor

    @property
    def structures(self) -> Collection[Structure]:
        """The structures of covariances that it can compute with."""
        return self.backend.structures

    def __call__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> LabelledReductions:
        whole = self.backend(points, sample_weight, frame)
        return LabelledReductions(whole, self.labels)


class LabelledReductions:
    """Reductions in which rows with a label belong to its component alone.

    Parameters
    ----------
    whole : Reductions
        Over all rows.
    labels : Tensor of shape (N,), int64
        -1 where unknown.
    """

    in_memory = True

    def __init__(self, whole: Reductions, labels: Tensor) -> None:
        self._whole = whole
        self._labels = labels

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return self._whole.n_samples

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self._whole.sample_weight

    @cached_property
    def _parts(self) -> list[tuple[int, Tensor, Reductions]]:
        """Labels that there are, their rows, and the reductions over those."""
        found = []
        for label in self._labels.unique().tolist():
            rows = (self._labels == label).nonzero()[:, 0]
            found.append((label, rows, self._whole.of_rows(rows)))
        return found

    def of_rows(self, rows: Tensor) -> LabelledReductions:
        """Return the reductions over some rows, in the frame of all."""
        labels = self._labels[rows.to(self._labels.device)]
        return LabelledReductions(self._whole.of_rows(rows), labels)

    def reweighted(self, weights: Tensor) -> LabelledReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        other = copy(self)
        other._whole = self._whole.reweighted(weights)
        other.__dict__["_parts"] = [
            (label, rows, part.reweighted(weights[rows]))
            for label, rows, part in self._parts
        ]
        return other

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds points without labels."""
        return self._whole.factory(structure)

    def log_density(self, components: Components) -> Tensor:
        """Return the log-density, (N,), with labels that of weight and component."""
        return self._joined(lambda part, own: part.log_density(own), components)

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``."""
        return reduce(
            add,
            [part.moments(_alone(components, j)) for j, _, part in self._parts],
        )

    def labels(self, components: Components) -> Tensor:
        """Return the labels, and the most probable components where unknown, (N,)."""
        return self._joined(lambda part, own: part.labels(own), components)

    def responsibilities(self, components: Components) -> Tensor:
        """Return probabilities, (N, M): 0 and 1 where there is a label."""
        return self._joined(lambda part, own: part.responsibilities(own), components)

    def _joined(
        self,
        ask: Callable[[Reductions, Components], Tensor],
        components: Components,
    ) -> Tensor:
        """Return answers of all parts, in the order of the rows."""
        answers = [
            (rows, ask(part, _alone(components, j))) for j, rows, part in self._parts
        ]
        _, first = answers[0]
        whole = first.new_empty((self.n_samples, *first.shape[1:]))
        for rows, answer in answers:
            whole[rows] = answer
        return whole


def _alone(components: Components, label: int) -> Components:
    """Return components of which all but one have weight zero; all of them for -1.

    Noise has none, either.
    """
    if label < 0:
        return components
    offsets = torch.full_like(components.offsets, -torch.inf)
    offsets[label] = components.offsets[label]
    return replace(components, offsets=offsets, noise_weight=0.0)
