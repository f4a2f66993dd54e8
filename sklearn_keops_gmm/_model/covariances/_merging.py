"""Components that become one, and what that loses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Moments
from sklearn_keops_gmm._model.covariances._pooling import times

# Numbers of merged covariances that are held at once.
_MERGED = 2**21


class Mergers(ABC):
    """How the components of a covariance structure merge."""

    @abstractmethod
    def outer(self, points: Tensor) -> Tensor:
        """Return what each point, (n, D), adds to second moments: (n, ...)."""

    @abstractmethod
    def _cross(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``a_j b_j^T + b_j a_j^T`` for (M, D) arrays, as a second moment."""

    def merge(
        self, moments: Moments, means: Tensor, labels: Tensor, n_groups: int
    ) -> tuple[Moments, Tensor]:
        """Add up the moments of the components that bear the same label.

        Parameters
        ----------
        moments : Moments
            About `means`.
        means : Tensor of shape (M, D)
        labels : Tensor of shape (M,), int64
            The group of each component, from 0 to `n_groups` - 1.
        n_groups : int

        Returns
        -------
        moments : Moments
            Of `n_groups` components, about their means.
        means : Tensor of shape (n_groups, D)
        """

        def add_up(terms: Tensor) -> Tensor:
            return terms.new_zeros(n_groups, *terms.shape[1:]).index_add_(
                0, labels, terms
            )

        mass = add_up(moments.mass)
        tiny = torch.finfo(mass.dtype).tiny
        shares = moments.mass / mass.clamp_min(tiny)[labels]
        merged_means = add_up(shares[:, None] * means)
        shift = means - merged_means[labels]  # (M, D)
        first = moments.first + moments.mass[:, None] * shift
        second = moments.second + self._cross(
            shift, moments.first + 0.5 * moments.mass[:, None] * shift
        )
        merged = replace(
            moments,
            mass=mass,
            first=add_up(first),
            second=self.merge_second(second, add_up),
        )
        return merged, merged_means

    def merge_second(
        self, second: Tensor, add_up: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Add up the second moments of groups of components."""
        return add_up(second)

    def merge_losses(
        self, fractions: Tensor, means: Tensor, covariances: Tensor, pairs: Tensor
    ) -> Tensor:
        """Bound the mean log-likelihood that is lost by merging two components.

        The bound of Runnalls, "Kullback-Leibler approach to Gaussian mixture
        reduction", IEEE Transactions on Aerospace and Electronic Systems 43 (2007):
        what is lost when each sample is known to belong to its component.

        Parameters
        ----------
        fractions : Tensor of shape (M,)
            Mass fractions of the components.
        means : Tensor of shape (M, D)
        covariances : Tensor
        pairs : Tensor of shape (P, 2), int64

        Returns
        -------
        losses : Tensor of shape (P,)
            In nats per sample, not negative.
        """
        n_features = means.shape[1]
        volumes = fractions * self._volumes(covariances, n_features)  # (M,)
        losses = []
        # The covariances of all pairs at once could be larger than the data.
        for i, j in _runs(pairs, n_features):
            mass = fractions[i] + fractions[j]
            merged = (
                times(fractions[i] / mass, covariances[i])
                + times(fractions[j] / mass, covariances[j])
                + self._between(fractions, means, i, j, mass)
            )
            volume = mass * self._volumes(merged, n_features)
            losses.append(0.5 * (volume - volumes[i] - volumes[j]))
        return torch.cat(losses).clamp_min(0.0)

    def _between(
        self, fractions: Tensor, means: Tensor, i: Tensor, j: Tensor, mass: Tensor
    ) -> Tensor:
        """Return the covariances (P, ...) of pairs of means, over a mass (P,)."""
        roots = (fractions[i] * fractions[j] / (fractions[i] + fractions[j])).sqrt()
        vectors = (roots / mass.sqrt())[:, None] * (means[i] - means[j])
        return self.spread(vectors)

    def spread(self, vectors: Tensor) -> Tensor:
        """Return the covariances (P, ...) that vectors (P, D) from a mean make."""
        return self.outer(vectors)

    @abstractmethod
    def _volumes(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the log-determinants of covariances, one per component or one."""


class SharedMergers(Mergers):
    """The same for a covariance that all components share."""

    def merge_losses(
        self, fractions: Tensor, means: Tensor, covariances: Tensor, pairs: Tensor
    ) -> Tensor:
        n_features = means.shape[1]
        volume = self._volumes(covariances, n_features)
        losses = []
        for i, j in _runs(pairs, n_features):
            # A merger widens the one covariance: the whole mass is spread.
            whole = torch.ones_like(fractions[i])
            merged = covariances + self._between(fractions, means, i, j, whole)
            losses.append(0.5 * (self._volumes(merged, n_features) - volume))
        return torch.cat(losses).clamp_min(0.0)


def _runs(pairs: Tensor, n_features: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield both sides of pairs, (P, 2), as many as may be held merged."""
    for chunk in pairs.split(max(1, _MERGED // n_features**2)):
        yield chunk[:, 0], chunk[:, 1]
