"""A fitted mixture as a value: parameters, and the structure of its covariances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._model._frame import frame_of_mixture
from sklearn_keops_gmm._model._mixture_edits import without_components
from sklearn_keops_gmm._model._noise import UniformNoise
from sklearn_keops_gmm._model._parameters import Components, Frame, MixtureParameters
from sklearn_keops_gmm._model._regression import Regression, marginal
from sklearn_keops_gmm._model.covariances import CovarianceStructure


def components_of(
    covariance: CovarianceStructure,
    parameters: MixtureParameters,
    rounded: Tensor | None = None,
) -> Components:
    """Return what backends need to know of some parameters.

    Parameters
    ----------
    covariance : CovarianceStructure
    parameters : MixtureParameters
    rounded : Tensor of shape (D,), default=None
        The variances of what rounds to a value. Log-densities are then means over that.
    """
    means, factors = parameters.means, parameters.precisions_cholesky
    components = parameters.components or covariance.components(
        parameters.proportions.log(),
        means,
        factors,
        noise_weight=parameters.noise_weight,
        triangular=True,
    )
    if rounded is None:
        return components
    traces = covariance.precision_traces(factors, means.shape[1], rounded)
    return replace(components, offsets=components.offsets - 0.5 * traces)


@dataclass(frozen=True, eq=False)
class GaussianMixtureModel:
    """A Gaussian mixture that does not change.

    What is derived from it is made once, when it is first asked for, and is not
    pickled.

    Attributes
    ----------
    parameters : MixtureParameters
        M components of D features.
    covariance : CovarianceStructure
    noise : UniformNoise or None
        What lies beside the components.
    """

    parameters: MixtureParameters
    covariance: CovarianceStructure
    noise: UniformNoise | None = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.parameters, self.covariance, self.noise)

    @property
    def n_components(self) -> int:
        """The number of components, M."""
        return len(self.parameters.means)

    @property
    def n_features(self) -> int:
        """The number of features, D."""
        return self.parameters.means.shape[1]

    @property
    def n_parameters(self) -> int:
        """The number of free numbers; one weight follows from the others."""
        n_components, n_features = self.parameters.means.shape
        of_covariances = self.covariance.n_parameters(n_components, n_features)
        n_weights = n_components - 1 + (self.noise is not None)
        return of_covariances + n_components * n_features + n_weights

    @property
    def precisions(self) -> Tensor:
        """The inverses of the covariances, of the same shape."""
        return self.covariance.precisions(self.parameters.precisions_cholesky)

    @property
    def matrices(self) -> Tensor:
        """A covariance matrix for each component, (M, D, D)."""
        parameters = self.parameters
        return self.covariance.matrices(parameters.covariances, parameters.means)

    @property
    def total_covariance(self) -> Tensor:
        """The covariance matrix of what is no noise, (D, D)."""
        weights = self.parameters.weights
        about = self.parameters.means - weights @ self.parameters.means
        within = (weights[:, None, None] * self.matrices).sum(0)
        return within + (weights[:, None] * about).T @ about

    @cached_property
    def components(self) -> Components:
        """What backends need to know."""
        return components_of(self.covariance, self.parameters)

    @cached_property
    def frame(self) -> Frame:
        """The frame in which samples are compared with it, whatever they are."""
        parameters = self.parameters
        return frame_of_mixture(
            parameters.weights, parameters.means, parameters.covariances
        )

    def to(self, device: torch.device) -> GaussianMixtureModel:
        """Return the same mixture on another device."""
        if self.parameters.means.device == device:
            return self
        return replace(self, parameters=self.parameters.to(device))

    # -- other mixtures ------------------------------------------------------------

    def select(self, chosen: Tensor) -> GaussianMixtureModel:
        """Return the mixture of some components, (M,) bool, whose weights sum to 1."""
        kept = without_components(self.covariance, self.parameters, ~chosen)
        return replace(self, parameters=kept)

    def marginal(self, features: Sequence[int]) -> GaussianMixtureModel:
        """Return the mixture of some features alone, in their order."""
        kept = marginal(self.parameters, self.covariance, features)
        noise = None if self.noise is None else self.noise.marginal(features)
        return replace(self, parameters=kept, noise=noise)

    def regression(self, given: Sequence[int]) -> Regression:
        """Return how all other features depend on some."""
        targets = [i for i in range(self.n_features) if i not in set(given)]
        return Regression.of(self.parameters, self.covariance, given, targets)

    def condition(
        self, given: Sequence[int], values: Tensor, responsibilities: Tensor
    ) -> GaussianMixtureModel:
        """Return the mixture of all other features, given the values of some.

        Parameters
        ----------
        given : sequence of F int
        values : Tensor of shape (F,)
        responsibilities : Tensor of shape (M,) or (M + 1,)
            Those of ``marginal(given)`` for the values, that of noise last. Components
            that have none are left out.
        """
        own = responsibilities[: self.n_components]
        kept = self.regression(given).at(values, own, self.covariance)
        if self.noise is None:
            return replace(self, parameters=kept)
        targets = [i for i in range(self.n_features) if i not in set(given)]
        kept = replace(kept, noise_weight=float(responsibilities[-1]))
        return replace(
            self, parameters=kept, noise=self.noise.condition(given, targets)
        )

    def without_noise(self) -> GaussianMixtureModel:
        """Return the mixture of what is no noise."""
        if self.noise is None:
            return self
        parameters = replace(self.parameters, noise_weight=0.0)
        return replace(self, parameters=parameters, noise=None)

    # -- samples -------------------------------------------------------------------

    def sample(
        self, n_samples: int, random_state: RandomState, dtype: Any = np.float64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw samples, grouped by component.

        Parameters
        ----------
        n_samples : int
        random_state : RandomState
        dtype : dtype, default=float64
            Of the arithmetic. In float64 it is scikit-learn's.

        Returns
        -------
        points : ndarray of shape (n_samples, D)
        components : ndarray of shape (n_samples,), int64
            -1, at the end, for noise.
        """
        weights, means, covariances = (
            array.cpu().numpy()
            for array in (
                self.parameters.all_weights,
                self.parameters.means,
                self.parameters.covariances,
            )
        )
        if dtype != np.float64:
            weights = weights / weights.sum()  # as rounded they need not sum to 1
        counts = random_state.multinomial(n_samples, weights)
        n_components = self.n_components
        labels = np.repeat(np.arange(len(counts)), counts)
        points = self.covariance.draw(
            random_state,
            means.astype(dtype),
            covariances.astype(dtype),
            counts[:n_components],
        )
        n_noise = int(counts[n_components:].sum())
        if self.noise is not None and n_noise > 0:
            drawn = self._drawn_noise(self.noise, n_noise, random_state)
            points = np.concatenate((points, drawn.astype(points.dtype)))
            labels[-n_noise:] = -1
        return points, labels

    def _drawn_noise(
        self, noise: UniformNoise, n_samples: int, random_state: RandomState
    ) -> np.ndarray:
        """Return samples of noise, (n_samples, D)."""
        points = noise.draw(n_samples, random_state)
        if noise.n_dependent == 0:
            return points
        mean = (self.parameters.weights @ self.parameters.means).cpu().numpy()
        covariance = self.total_covariance.cpu().numpy()
        return noise.follow(points, mean, covariance, random_state)
