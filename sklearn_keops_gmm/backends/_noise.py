"""Reductions where noise lies beside the components, for any backend."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from sklearn_keops_gmm._model import (
    Components,
    Frame,
    Moments,
    Structure,
    UniformNoise,
)
from sklearn_keops_gmm.backends._above import rows_above, select_above
from sklearn_keops_gmm.backends._beside import Shared, is_in_one_pass
from sklearn_keops_gmm.backends._incomplete import has_missing
from sklearn_keops_gmm.backends._protocol import Backend, Reductions, ReductionsFactory

# Responsibilities held at once.
_PAIRS = 2**22


@dataclass(frozen=True)
class NoiseBackend:
    """A backend for points of which some may be noise.

    Attributes
    ----------
    backend : Backend
        For the components.
    noise : UniformNoise
    """

    backend: Backend
    noise: UniformNoise

    @property
    def structures(self) -> Collection[Structure]:
        """The structures of covariances that it can compute with."""
        return self.backend.structures

    def __call__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> NoiseReductions:
        inner = self.backend(points, sample_weight, frame)
        return NoiseReductions(inner, self.noise, points)


@dataclass(frozen=True, eq=False)
class NoiseReductions:
    """Reductions over points of which some may be noise.

    It has the weight that the components tell, and is the last of them where they are
    columns; the label of what it explains best is -1. Moments have its mass.

    Attributes
    ----------
    reductions : Reductions
        Without it.
    noise : UniformNoise
    points : Tensor of shape (N, D)
    """

    reductions: Reductions
    noise: UniformNoise
    points: Tensor

    @property
    def n_samples(self) -> int:
        """The number of rows N."""
        return self.reductions.n_samples

    @property
    def in_memory(self) -> bool:
        """Whether rows are in memory."""
        return self.reductions.in_memory

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), or None for ones."""
        return self.reductions.sample_weight

    def of_rows(self, rows: Tensor) -> NoiseReductions:
        """Return the reductions over some rows, in the frame of all."""
        points = self.points[rows.to(self.points.device)]
        return replace(self, reductions=self.reductions.of_rows(rows), points=points)

    def reweighted(self, weights: Tensor) -> NoiseReductions:
        """Return the reductions over the same rows with other weights, (N,)."""
        return replace(self, reductions=self.reductions.reweighted(weights))

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same frame."""
        return partial(_bind, self.reductions.factory(structure), self.noise)

    def log_density(self, components: Components) -> Tensor:
        """Return the log-density of components and noise, (N,)."""
        own = self._own(components)
        if components.noise_weight == 0.0:
            return own
        return torch.logaddexp(own.double(), self._rest(components)).to(own.dtype)

    def rows_above(
        self, components: Components, floors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the rows whose log-density is above floors, (N,), and it."""
        if components.noise_weight == 0.0 and self._unseen is None:
            return rows_above(self.reductions, components, floors)
        return select_above(self.log_density(components).double(), floors)

    def moments(self, components: Components) -> Moments:
        """Return the moments, and the mass of the noise."""
        if components.noise_weight == 0.0:
            return self.reductions.moments(components)
        if is_in_one_pass(self.reductions):
            log_density = self.noise.log_density + math.log(components.noise_weight)
            return self.reductions.moments_beside(components, log_density)
        rest = self._rest(components)
        shared = Shared.of(self.reductions, self._own(components), rest)
        noise = shared.weighted((rest - shared.both).exp())
        return replace(
            shared.moments(components),
            noise=float(noise.sum()),
            noise_log_density=float(noise @ rest),
        )

    def moments_beside(self, components: Components, rest: float | Tensor) -> Moments:
        """Return the moments of components beside something else, without noise."""
        if is_in_one_pass(self.reductions):
            return self.reductions.moments_beside(components, rest)
        own = self._own(components)
        rest = torch.as_tensor(rest, dtype=torch.float64, device=own.device)
        return Shared.of(self.reductions, own, rest).moments(components)

    def labels(self, components: Components) -> Tensor:
        """Return the most probable components, -1 for noise, (N,)."""
        labels = self.reductions.labels(components)
        if components.noise_weight == 0.0:
            return labels
        ahead = self._rest(components) - self._own(components).double()
        labels[ahead > 0.0] = -1
        # The best of M components has a M-th of what they have together, or more.
        n_components = len(components.offsets)
        open_ = (ahead <= 0.0) & (ahead > -math.log(n_components) - 1e-3)
        for rows in open_.nonzero()[:, 0].split(max(1, _PAIRS // n_components)):
            shares = self.reductions.of_rows(rows).responsibilities(components)
            best = shares.double().amax(1).log()
            labels[rows[ahead[rows] > best]] = -1
        return labels

    def responsibilities(self, components: Components) -> Tensor:
        """Return the posterior probabilities, noise last, (N, M + 1)."""
        shares = self.reductions.responsibilities(components)
        if components.noise_weight == 0.0:
            return torch.column_stack((shares, torch.zeros_like(shares[:, 0])))
        own = self._own(components).double()
        rest = self._rest(components)
        both = torch.logaddexp(own, rest)
        shares = shares * (own - both).exp()[:, None].to(shares.dtype)
        return torch.column_stack((shares, (rest - both).exp().to(shares.dtype)))

    def _own(self, components: Components) -> Tensor:
        """Return the log-density of the components, with their weights, (N,)."""
        own = self.reductions.log_density(components)
        if self._unseen is not None:  # where it is 0, whatever the weights are
            own[self._unseen] = math.log1p(-components.noise_weight)
        return own

    @cached_property
    def _unseen(self) -> Tensor | None:
        """Which rows have nothing that is observed, (N,) bool, if one has."""
        if not has_missing(self.points):
            return None
        unseen = self.points.isnan().all(1)
        return unseen if bool(unseen.any()) else None

    @cached_property
    def _log_densities(self) -> Tensor:
        return self.noise.log_densities(self.points)

    def _rest(self, components: Components) -> Tensor:
        """Return the log-density of the noise, with its weight, (N,)."""
        weight = torch.tensor(components.noise_weight, dtype=torch.float64)
        return self._log_densities + weight.log().to(self._log_densities.device)


def beside_noise(backend: Backend, noise: UniformNoise | None) -> Backend:
    """Return a backend that knows of noise: the same one if there is none."""
    return backend if noise is None else NoiseBackend(backend, noise)


def _bind(
    factory: ReductionsFactory,
    noise: UniformNoise,
    points: Tensor,
    sample_weight: Tensor | None,
) -> NoiseReductions:
    return NoiseReductions(factory(points, sample_weight), noise, points)
