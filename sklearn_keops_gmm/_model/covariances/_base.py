"""What is asked of a covariance structure, and what all of them share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model._parameters import Components, Moments, Structure
from sklearn_keops_gmm._model.covariances._merging import Mergers, SharedMergers
from sklearn_keops_gmm._model.covariances._pooling import Pooling, SharedPooling
from sklearn_keops_gmm._model.covariances._tangent import (
    SharedTangentSpace,
    TangentSpace,
)

ILL_DEFINED = (
    "Fitting the mixture model failed because some components have "
    "ill-defined empirical covariance (for instance caused by singleton "
    "or collapsed samples). Try to decrease the number of components, "
    "increase reg_covar, or scale the input data."
)

# scikit-learn adds this to every mass, as if so much lay at the origin: an empty
# component then divides by it.
MASS_FLOOR = 10 * torch.finfo(torch.float64).eps
# But it does not lie there where the means are so many of their widths away.
_FAR = 2.0**20
# Widths in this ratio, or nearer to each other, are equal but for rounding.
EQUAL = 1.0 - 1e-9


def above_mass_floor(moments: Moments, mean_weight: float) -> Moments:
    """Return moments beside which the mass floor is nothing, whatever samples weigh.

    Parameters
    ----------
    moments : Moments
    mean_weight : float
        Of the samples. Where it is below 1, they are counted as if it was 1.
    """
    return moments if mean_weight >= 1.0 else moments.scaled(1.0 / mean_weight)


class CovarianceStructure(Mergers, Pooling, TangentSpace):
    """What the estimator, the starts and the objective ask of a structure."""

    name: ClassVar[str]
    # The shape in which backends take the factors and return second moments.
    structure: ClassVar[Structure]
    # What its covariances are called where they are positive definite.
    definite: ClassVar[str] = "positive"
    # Whether all components have one.
    shared: ClassVar[bool] = False
    # What it can be fitted with, by the names that `init_params` takes, and `solver`
    # and `acceleration`; None is everything.
    starts: ClassVar[frozenset[str] | None] = None
    solvers: ClassVar[frozenset[str] | None] = None

    # -- shapes ---------------------------------------------------------------

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of the covariances, the precisions and their factors."""

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free numbers in the covariances."""

    def n_free_features(self, n_features: int, n_varying: int, n_dependent: int) -> int:
        """Count the features that have parameters of their own.

        Parameters
        ----------
        n_features, n_varying, n_dependent : int
            Of features, of those that are not constant, and of those among these that
            are linear functions of others.
        """
        return n_features

    def select(self, array: Tensor, alive: Tensor) -> Tensor:
        """Keep what `array` holds of the components in `alive`."""
        return array[alive]

    def expand(self, factors: Tensor, n_components: int) -> Tensor:
        """Return the factors in the shape that `structure` has, differentiable."""
        return factors

    # -- covariances, precisions and their factors -----------------------------

    @abstractmethod
    def are_definite(self, arrays: np.ndarray) -> np.ndarray:
        """Tell which covariances, or precisions, are positive definite.

        Those of each component, (M,), or some of those that all components share.
        """

    def check_precisions(self, precisions: np.ndarray) -> None:
        """Raise ValueError unless `precisions` are positive definite."""
        if not self.are_definite(precisions).all():
            raise ValueError(f"'{self.name} precision' should be {self.definite}")

    def check_covariances(self, covariances: np.ndarray) -> None:
        """Raise ValueError unless `covariances` are positive definite."""
        definite = self.are_definite(covariances)
        if not definite.all():
            faulty = np.flatnonzero(~definite).tolist()
            of = "they are" if self.shared else f"those of components {faulty} are"
            raise ValueError(
                f"The parameter 'covariances' of type {self.name!r} should be "
                f"{self.definite}, but {of} not."
            )

    @abstractmethod
    def factors(self, covariances: Tensor) -> Tensor:
        """Return triangular A with ``A @ A.T = inv(covariances)``.

        Raises
        ------
        ValueError
            If a covariance is not positive definite.
        """

    @abstractmethod
    def factors_of_precisions(self, precisions: Tensor) -> Tensor:
        """Return triangular A with ``A @ A.T = precisions``."""

    @abstractmethod
    def triangular(self, factors: Tensor) -> Tensor:
        """Return the triangular A with the same ``A @ A.T`` as square `factors`."""

    @abstractmethod
    def precisions(self, factors: Tensor) -> Tensor:
        """Return ``A @ A.T``."""

    @abstractmethod
    def covariances(self, factors: Tensor) -> Tensor:
        """Return ``inv(A @ A.T)`` for triangular `factors`."""

    def of_one(self, covariances: Tensor, j: int) -> Tensor:
        """Return the covariance of component `j`."""
        return covariances[j]

    @abstractmethod
    def longest_axis(self, covariance: Tensor, spreads: Tensor) -> Tensor:
        """Return the axis, (D,), along which one covariance is widest.

        Its length is the standard deviation. What is widest is told in units of the
        spreads of the features, (D,).
        """

    @abstractmethod
    def matrices(self, covariances: Tensor, means: Tensor) -> Tensor:
        """Return one matrix per component, (M, D, D), for means (M, D)."""

    @abstractmethod
    def roots(self, factors: Tensor, means: Tensor) -> Tensor:
        """Return R_j, (M, D, D), with ``R @ R.T = inv(A @ A.T)`` for triangular A."""

    # -- terms of the cost -------------------------------------------------------

    @abstractmethod
    def log_det(self, factors: Tensor, n_features: int) -> Tensor:
        """Return ``log |det A|``, of shape (M,) or (), differentiable."""

    def upper(self, factors: Tensor) -> Tensor:
        """Return factors of the same precisions that are triangular, as they may be."""
        return factors

    def log_det_of_upper(self, factors: Tensor, n_features: int) -> Tensor:
        """Return the same of factors that are known to be triangular."""
        return self.log_det(factors, n_features)

    @abstractmethod
    def precision_traces(
        self, factors: Tensor, n_features: int, profile: Tensor | None = None
    ) -> Tensor:
        """Return ``tr(A @ A.T @ diag(profile))``, (M,) or (), differentiable.

        The profile, (D,), is 1 where it is None.
        """

    @abstractmethod
    def quadratic_gradient(
        self, factors: Tensor, moments: Moments
    ) -> tuple[Tensor, Tensor]:
        """Differentiate ``-0.5 sum_ij v_i g_ij ||A_j^T (x_i - means_j)||^2``.

        With respect to means and to factors as `expand` returns them.

        The responsibilities g_ij are held constant: by Fisher's identity this is
        the gradient of the log-likelihood, apart from the offsets.

        Returns
        -------
        means_gradient : Tensor of shape (M, D)
        factors_gradient : Tensor, of the shape of `factors`
        """

    def components(
        self,
        log_weights: Tensor,
        means: Tensor,
        factors: Tensor,
        *,
        noise_weight: float = 0.0,
        triangular: bool = False,
    ) -> Components:
        """Return what a backend needs to know, differentiable.

        Parameters
        ----------
        log_weights : Tensor of shape (M,)
        means : Tensor of shape (M, D)
        factors : Tensor
        noise_weight : float, default=0.0
        triangular : bool, default=False
            Whether the factors are known to be.
        """
        n_features = means.shape[1]
        log_det = self.log_det_of_upper if triangular else self.log_det
        offsets = (
            log_weights
            + log_det(factors, n_features)
            - 0.5 * n_features * math.log(2 * math.pi)
        )
        factors = self.expand(factors, len(means))
        return Components(
            self.structure, offsets, means, factors, noise_weight, triangular
        )

    # -- M-step ------------------------------------------------------------------

    def pool(self, second: Tensor) -> Tensor:
        """Sum second moments (M, ...) over the components, where backends do."""
        return second

    def scatter(self, points: Tensor, labels: Tensor, n_groups: int) -> Tensor:
        """Return the second moments of groups of points, as `pool` returns them.

        Parameters
        ----------
        points : Tensor of shape (n, D)
            About what the moments are about.
        labels : Tensor of shape (n,), int64
            Of the groups, in `range(n_groups)`.
        n_groups : int
        """
        outer = self.outer(points)
        sums = outer.new_zeros(n_groups, *outer.shape[1:])
        return self.pool(sums.index_add_(0, labels, outer))

    @abstractmethod
    def _normalize(
        self, second: Tensor, mass: Tensor, ridge: Tensor | float, n_features: int
    ) -> Tensor:
        """Divide second moments by masses and regularise."""

    def mass_floor_second(self, means: Tensor, mass: Tensor) -> Tensor | float:
        """Return the second moments, about `means`, of the mass floor at the origin.

        They keep the variance of a component that has one sample above zero. Where
        there are more samples they are less than scikit-learn's rounding error. Where
        means are so far from the origin that they would be wider than the mixture,
        where scikit-learn's own squares have no digits left, they are about the means'
        middle.
        """
        low, high = torch.aminmax(means, dim=0)
        middle = 0.5 * (low + high)
        width = high - middle
        far = (middle.abs() > _FAR * width) & (width > 0)
        if bool(far.any()):
            means = means - torch.where(far, middle, 0.0)
        outer = self.outer(means * (mass < 2.0)[:, None])
        return MASS_FLOOR * self.pool(outer)

    def m_step(
        self,
        moments: Moments,
        means: Tensor,
        ridge: Tensor | float,
        rounding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the means (M, D) and the covariances that the moments define.

        Parameters
        ----------
        moments : Moments
            About `means`.
        means : Tensor of shape (M, D)
        ridge : float or Tensor of shape (D,)
            Added to the diagonal of each covariance.
        rounding : Tensor of shape (M, D), default=None
            By how much coordinates near the means are rounded. If given, variances
            that this explains are zero, and the mass floor adds nothing to second
            moments: a component of one sample has no width.
        """
        mass, own = moments.mass + MASS_FLOOR, moments.mass[:, None]
        new_means = (own * means + moments.first) / mass[:, None]
        shift = new_means - means  # (M, D)
        correction = 0.5 * own * shift - moments.first
        second = moments.second + self._cross(shift, correction)
        n_features = means.shape[1]
        if rounding is not None:
            noise = self.pool(self.outer(mass.sqrt()[:, None] * rounding))
            of_both = (
                self._normalize(part, mass, ridge, n_features)
                for part in (second, noise)
            )
            return new_means, self._resolved(*of_both)
        if isinstance(ridge, float) and ridge == 0.0:
            second = self._beyond_rounding(second, mass, new_means)
        floor = self.mass_floor_second(new_means, moments.mass)
        second = second + floor if isinstance(floor, Tensor) else second
        return new_means, self._normalize(second, mass, ridge, n_features)

    def one_sample_second(
        self,
        points: Tensor,
        means: Tensor,
        mass: Tensor,
        of_all: Callable[[], Tensor],
    ) -> Tensor:
        """Return second moments for a start at one sample per component.

        They are about `means`. Here each sample is its own mean; scikit-learn's
        structures repeat its arithmetic.

        Parameters
        ----------
        points : Tensor of shape (M, D)
        means : Tensor of shape (M, D)
            The points over the masses.
        mass : Tensor of shape (M,)
            The mass floor and one.
        of_all : callable
            Returns the second moments about the origin of all samples, (D, D).
        """
        return self.pool(self.outer(points - means))

    def _beyond_rounding(self, second: Tensor, mass: Tensor, means: Tensor) -> Tensor:
        """Return second moments, with zero for what the rounding of means explains."""
        # Of equal samples the variance is that or zero, as chance will have it.
        roundings = torch.finfo(means.dtype).eps * means.abs()
        least = self.pool(self.outer(mass.sqrt()[:, None] * roundings))
        return torch.where(second.abs() < least, 0.0, second)

    @abstractmethod
    def _resolved(self, covariances: Tensor, noise: Tensor) -> Tensor:
        """Return covariances, with zero for what is no larger than noise."""

    def select_second(self, second: Tensor, alive: Tensor) -> Tensor:
        """Keep the second moments of the components in `alive`."""
        return second[alive]

    def select_moments(self, moments: Moments, alive: Tensor) -> Moments:
        """Keep the moments of the components in `alive`."""
        return replace(
            moments,
            mass=moments.mass[alive],
            first=moments.first[alive],
            second=self.select_second(moments.second, alive),
        )

    # -- fewer features ------------------------------------------------------------

    @abstractmethod
    def marginal(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        """Return the factors of the distribution of `features` alone.

        What they are the factors of has the same structure, here and below.
        """

    @abstractmethod
    def conditional(self, factors: Tensor, features: Sequence[int]) -> Tensor:
        """Return the factors of the distribution of `features` given all others."""

    @abstractmethod
    def slopes(
        self, factors: Tensor, features: Sequence[int], others: Sequence[int]
    ) -> Tensor:
        """Return B_j, (M or 1, F, O): others x move the mean of features by B_j x.

        There is one where it is the same for all components.
        """

    # -- sampling ----------------------------------------------------------------

    def draw(
        self,
        random_state: RandomState,
        means: np.ndarray,
        covariances: np.ndarray,
        counts: np.ndarray,
    ) -> np.ndarray:
        """Draw ``counts[j]`` points of each component, grouped: (sum(counts), D)."""
        # One call draws the numbers that a call for each component would.
        points: np.ndarray = random_state.standard_normal(
            (counts.sum(), means.shape[1])
        )
        groups = np.split(points, np.cumsum(counts)[:-1])  # views
        own = self._of_each(covariances, len(means))
        for group, mean, root in zip(groups, means, self._roots(own), strict=True):
            self._colour(group, root)
            group += mean
        return points

    def _of_each(self, covariances: np.ndarray, n_components: int) -> np.ndarray:
        """Return one covariance per component."""
        return covariances

    @abstractmethod
    def _roots(self, covariances: np.ndarray) -> np.ndarray:
        """Return a root of the covariance of each component, along the first axis."""

    @abstractmethod
    def _colour(self, normal: np.ndarray, root: np.ndarray) -> None:
        """Give standard normal points, (n, D), the covariance that has this root."""


class SharedCovariance(
    SharedMergers, SharedPooling, SharedTangentSpace, CovarianceStructure
):
    """What structures have in common whose covariance all components share."""

    shared = True

    def select(self, array: Tensor, alive: Tensor) -> Tensor:
        return array

    def of_one(self, covariances: Tensor, j: int) -> Tensor:
        return covariances

    def _of_each(self, covariances: np.ndarray, n_components: int) -> np.ndarray:
        shape = (1,) if self.structure == "spherical" else (1, *covariances.shape)
        return np.repeat(covariances.reshape(shape), n_components, axis=0)
