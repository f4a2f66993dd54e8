"""Covariances that are pulled to a common shape, as some more samples of it would."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Pull, Targets

# Components with so many times the samples that determine a covariance are known well.
_KNOWN = 9.0
# A component narrower than this part of the widest counts as that narrow.
_NARROWEST = 1e-12


class Pooling(ABC):
    """How a covariance structure is pulled to targets.

    With masses r_j in samples, the scatter of each component and pseudo-samples k, ::

        Sigma_j = (r_j S_j + k W_j) / (r_j + k),    W_j = t_j R

    The shape R is the mean of ``S_j / t(S_j)`` by mass, as if all components had an
    equal say in what a covariance looks like; the scale t_j is the component's own
    size ``t(S_j)``, shrunk to a typical one by the few samples that it may be known
    from. The size is the mean variance of features, each in units of its own variance
    within components: so the units of features do not matter.
    """

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free numbers in the covariances."""

    @abstractmethod
    def factors(self, covariances: Tensor) -> Tensor:
        """Return factors of precisions; raise ValueError where one is singular."""

    @abstractmethod
    def variances(self, covariances: Tensor) -> Tensor:
        """Return the variances of features: (M, D), or (M, 1) if all have the same."""

    @abstractmethod
    def relative_traces(
        self, factors: Tensor, covariances: Tensor, n_features: int
    ) -> Tensor:
        """Return ``tr(A_j A_j^T V_j)``, (M,), for covariances V_j, differentiable."""

    @abstractmethod
    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        """Return ``log |det A|``, of shape (M,) or (), differentiable."""

    @abstractmethod
    def _volumes(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the log-determinants of covariances."""

    def pseudo_samples(self, n_features: int) -> float:
        """Return how many samples determine a covariance, D numbers each.

        Zero where all samples determine one, which needs no pull.
        """
        return self.n_parameters(1, n_features) / n_features

    def targets(self, covariances: Tensor, mass: Tensor, n_features: int) -> Targets:
        """Return the targets that the components' own scatter makes.

        Parameters
        ----------
        covariances : Tensor
            Of shape (M, ...): scatter over mass.
        mass : Tensor of shape (M,)
            In samples.
        n_features : int
        """
        shares = mass / mass.sum()
        variances = self.variances(covariances)
        units = (shares[:, None] * variances).sum(0)
        # A feature that varies in no component tells no sizes.
        units = torch.where(units > 0, units, torch.inf)
        logs = _log_sizes(variances, units)
        shape = times(shares * (-logs).exp(), covariances).sum(0)
        # Sizes that few samples determine say little of what is typical.
        say = mass * mass / (mass + 2.0 * self.pseudo_samples(n_features))
        typical = (say * logs).sum() / say.sum()
        scales = self.scales(covariances, mass, typical, units, n_features)
        return Targets(shape, scales, typical, units)

    def scales(
        self,
        covariances: Tensor,
        mass: Tensor,
        typical: Tensor,
        units: Tensor,
        n_features: int,
    ) -> Tensor:
        """Return the sizes of targets, (M,): shrunk to the `typical`, a logarithm."""
        shrinkage = 4.0 * self.pseudo_samples(n_features)
        logs = _log_sizes(self.variances(covariances), units)
        return ((mass * logs + shrinkage * typical) / (mass + shrinkage)).exp()

    def disparity(
        self, covariances: Tensor, mass: Tensor, targets: Targets, n_features: int
    ) -> float:
        """Return how many times narrower than targets components are, across.

        It is ``tr(inv(S_j) W_j) / D``, of the median component by mass: about one where
        they have one shape, and large where they are thin and point elsewhere. Of those
        with few samples it would say little: it counts as one.

        Parameters
        ----------
        covariances : Tensor
            Of shape (M, ...): scatter over mass.
        mass : Tensor of shape (M,)
            In samples.
        targets : Targets
            That these make.
        n_features : int
        """
        found = torch.ones_like(mass)
        known = mass > _KNOWN * self.pseudo_samples(n_features)
        own = targets.select(known)
        try:
            factors = self.factors(covariances[known])
        except ValueError:
            return 1.0  # Some have no width, as targets may have none.
        traces = self.relative_traces(factors, own.covariances, n_features)
        found[known] = traces / n_features
        order = found.argsort()
        middle = torch.searchsorted(mass[order].cumsum(0), 0.5 * mass.sum())
        return float(found[order[int(middle)]])

    def pull(self, mass: Tensor, pseudo_samples: float, targets: Targets) -> Pull:
        """Return what the M-step makes of the scatter of components."""
        total = mass + pseudo_samples
        added = pseudo_samples / total * targets.scales
        return Pull(mass / total, added, targets)

    def divergence(self, factors: Tensor, targets: Targets, n_features: int) -> Tensor:
        """Return ``sum_j KL(N(0, W_j) || N(0, Sigma_j))``, differentiable."""
        traces = self.relative_traces(factors, targets.covariances, n_features)
        volumes = targets.log_determinants(
            partial(self._volumes, n_features=n_features)
        )
        log_ratios = -2.0 * self.log_det(factors, n_features) - volumes
        return 0.5 * (traces - n_features + log_ratios).sum()


class SharedPooling(Pooling):
    """The same for a covariance that all components share: it is pooled already."""

    def pseudo_samples(self, n_features: int) -> float:
        return 0.0


def pulled(covariances: Tensor, pull: Pull) -> Tensor:
    """Return what the M-step makes of scatter over mass, (M, ...)."""
    return times(pull.kept, covariances) + pull.targets.of_scales(pull.added)


def times(numbers: Tensor, covariances: Tensor) -> Tensor:
    """Multiply covariances (M, ...) by numbers (M,)."""
    return numbers.reshape(-1, *[1] * (covariances.ndim - 1)) * covariances


def _log_sizes(variances: Tensor, units: Tensor) -> Tensor:
    """Return the logarithms of mean variances, (M,), of features in their units."""
    sizes = (variances / units).mean(1)
    tiny = torch.finfo(sizes.dtype).tiny
    return sizes.clamp_min((_NARROWEST * sizes.max()).clamp_min(tiny)).log()
