"""How far estimated parameters may be from the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm
from torch import Tensor

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._information import ComponentCoordinates


class NoMaximumError(ValueError):
    """The information is not positive definite: there is no maximum."""


class Intervals(NamedTuple):
    """Intervals of parameters: the last axis has the lower and the upper end.

    Attributes
    ----------
    weights : ndarray of shape (n_components, 2)
    means : ndarray of shape (n_components, n_features, 2)
    variances : ndarray of shape (n_components, n_features, 2)
    correlations : ndarray of shape (n_components, n_features, n_features, 2)
    noise_weight : ndarray of shape (2,) or None
        With noise.
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    correlations: np.ndarray
    noise_weight: np.ndarray | None = None


def correlations(covariances: np.ndarray) -> np.ndarray:
    """Return correlations of covariance matrices, (..., D, D), zero on the diagonal."""
    spreads = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))
    found = covariances / (spreads[..., :, None] * spreads[..., None, :])
    return found * (1.0 - np.eye(covariances.shape[-1]))


@dataclass(frozen=True, eq=False)
class StandardErrors:
    """Standard errors of the parameters of a mixture.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray of shape (n_components, n_features, n_features)
        Of the entries of the covariance matrices, whatever the covariance type; zero
        for entries that this holds at zero.
    log_variances : ndarray of shape (n_components, n_features)
        Of the logarithms of variances, whose distribution is closer to a normal one.
    fisher_z : ndarray of shape (n_components, n_features, n_features)
        Of the inverse hyperbolic tangents of correlations.
    estimates : tuple of ndarrays
        What they are errors of: weights, means and covariance matrices.
    noise_weight : float or None
        Of the weight of noise, if there is some.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_variances: np.ndarray
    fisher_z: np.ndarray
    estimates: tuple[np.ndarray, np.ndarray, np.ndarray]
    noise_weight: float | None = None

    def intervals(self, level: float = 0.95) -> Intervals:
        """Return confidence intervals, which hold the true values so often.

        They are normal on the scale of log odds for weights, of logarithms for
        variances and of Fisher's z for correlations, so that none has impossible ends.

        Parameters
        ----------
        level : float, default=0.95

        Returns
        -------
        intervals : Intervals

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        ends = np.array([-1.0, 1.0]) * norm.ppf(0.5 + 0.5 * _checked(level))
        weights, means, covariances = self.estimates
        variances = np.diagonal(covariances, axis1=-2, axis2=-1)
        of_noise = None
        if self.noise_weight is not None:
            left, error = noise_weights_of(weights[None]), np.array([self.noise_weight])
            of_noise = _ends_of_weights(left, error, ends)[0]
        z = np.arctanh(correlations(covariances))[..., None]
        return Intervals(
            _ends_of_weights(weights, self.weights, ends),
            means[..., None] + ends * self.means[..., None],
            variances[..., None] * np.exp(ends * self.log_variances[..., None]),
            np.tanh(z + ends * self.fisher_z[..., None]),
            of_noise,
        )


def _ends_of_weights(
    weights: np.ndarray, errors: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Return intervals of weights, (n, 2), that are symmetric in log odds."""
    spread = weights * (1.0 - weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(weights / (1.0 - weights))[:, None]
        logits = logits + ends * (errors / spread)[:, None]
        found = 1.0 / (1.0 + np.exp(-logits))
    # A single component has all the weight.
    return np.where(spread[:, None] > 0, found, weights[:, None])


def standard_errors_of(
    coordinates: ComponentCoordinates, information: Tensor
) -> StandardErrors:
    """Return the standard errors that follow from the information.

    Raises
    ------
    NoMaximumError
        If it is not positive definite: the mixture is at no maximum of the likelihood.
    ValueError
        If features have units in which it cannot be computed.
    """
    model = coordinates.model
    _check_squares(model.matrices.diagonal(dim1=1, dim2=2))
    scale = information.diagonal().clamp_min(0).sqrt()
    scaled = information / torch.outer(scale, scale)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if bool(failed) or not bool(torch.isfinite(factor).all()):
        raise NoMaximumError(
            "The observed information of these samples is not positive definite: the "
            "mixture is not at a maximum of their likelihood, or components rest on "
            "too few samples. Fit to these samples with a smaller tol and fewer "
            "components, or use bootstrap."
        )
    inverse = torch.cholesky_inverse(factor) / torch.outer(scale, scale)
    embedding = coordinates.embedding
    own = coordinates.n_own
    n_components, n = model.n_components, model.n_components * own
    every = embedding @ inverse @ embedding.mT
    covariance = every[:n, :n].reshape(n_components, own, n_components, own)
    blocks = covariance.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (M, q, q)
    d = model.n_features
    errors = blocks.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    of_entries = _of_entries(coordinates, blocks[:, 1 + d :, 1 + d :])
    parameters = model.parameters
    covariances, log_variances, fisher_z = (array.numpy() for array in of_entries)
    return StandardErrors(
        weights=errors[:, 0].numpy(),
        means=errors[:, 1 : 1 + d].numpy(),
        covariances=covariances,
        log_variances=log_variances,
        fisher_z=fisher_z,
        estimates=(
            parameters.proportions.numpy().copy(),
            parameters.means.numpy().copy(),
            model.matrices.numpy().copy(),
        ),
        noise_weight=None if model.noise is None else float(every[-1, -1].sqrt()),
    )


def _check_squares(variances: Tensor) -> None:
    """Raise ValueError if squares of variances, (M, D), overflow or vanish."""
    squares = variances**2
    beyond = (squares < torch.finfo(squares.dtype).tiny) | squares.isinf()
    features = beyond.any(0).nonzero()[:, 0].tolist()
    if features:
        raise ValueError(
            "Standard errors of covariances take squares of variances, which no number "
            f"holds for features {features} of X: they are too narrow or too wide. "
            "Scale these features, and fit again."
        )


def _of_entries(
    coordinates: ComponentCoordinates, blocks: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the errors of covariances, of log variances and of Fisher's z.

    Parameters
    ----------
    coordinates : ComponentCoordinates
    blocks : Tensor of shape (M, n_directions, n_directions)
        Covariances of the estimates along the directions.
    """
    matrices = coordinates.model.matrices
    directions = coordinates.directions.permute(1, 2, 0)  # (D, D, n_directions)
    variances = matrices.diagonal(dim1=1, dim2=2)
    spreads = variances.sqrt()
    roots = spreads[:, :, None] * spreads[:, None, :]
    rho = matrices / roots
    logs = directions.diagonal(dim1=0, dim2=1).mT / variances[..., None]  # (M, D, n)
    halves = 0.5 * (logs[:, :, None] + logs[:, None, :])
    slopes = directions / roots[..., None] - rho[..., None] * halves
    apart = ~torch.eye(len(rho[0]), dtype=torch.bool)
    slopes = slopes / torch.where(apart, 1.0 - rho**2, 1.0)[..., None]

    def errors(gradients: Tensor) -> Tensor:
        squares = torch.einsum("m...k,mkl,m...l->m...", gradients, blocks, gradients)
        return squares.clamp_min(0).sqrt()

    entries = errors(directions.expand(len(matrices), *directions.shape))
    return entries, errors(logs), errors(slopes) * apart


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """Parameters of a mixture that was fitted to resamples again and again.

    Attributes
    ----------
    weights : ndarray of shape (n_resamples, n_components)
    means : ndarray of shape (n_resamples, n_components, n_features)
    covariances : ndarray of shape (n_resamples, n_components, n_features, n_features)
        As matrices, whatever the covariance type.
    estimates : tuple of ndarrays
        Weights, means and covariance matrices of the mixture.
    n_failed : int
        How many resamples are left out, as a component has collapsed.
    noise_weights : ndarray of shape (n_resamples,) or None
        Of noise, if there is some.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    estimates: tuple[np.ndarray, np.ndarray, np.ndarray]
    n_failed: int
    noise_weights: np.ndarray | None = None

    def standard_errors(self) -> StandardErrors:
        """Return the standard deviations over the resamples.

        Returns
        -------
        errors : StandardErrors
        """
        z, logs = np.arctanh(correlations(self.covariances)), self._log_variances()
        noise = self.noise_weights
        return StandardErrors(
            weights=self.weights.std(axis=0, ddof=1),
            means=self.means.std(axis=0, ddof=1),
            covariances=self.covariances.std(axis=0, ddof=1),
            log_variances=logs.std(axis=0, ddof=1),
            fisher_z=z.std(axis=0, ddof=1),
            estimates=self.estimates,
            noise_weight=None if noise is None else float(noise.std(ddof=1)),
        )

    def intervals(self, level: float = 0.95) -> Intervals:
        """Return what lies between quantiles of the resamples.

        Parameters
        ----------
        level : float, default=0.95

        Returns
        -------
        intervals : Intervals

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        ends = 0.5 + 0.5 * _checked(level) * np.array([-1.0, 1.0])
        resampled = [
            self.weights,
            self.means,
            np.exp(self._log_variances()),
            correlations(self.covariances),
        ]
        if self.noise_weights is not None:
            resampled.append(self.noise_weights)
        found = (np.quantile(array, ends, axis=0) for array in resampled)
        return Intervals(*(np.moveaxis(array, 0, -1) for array in found))

    def _log_variances(self) -> np.ndarray:
        return np.log(np.diagonal(self.covariances, axis1=-2, axis2=-1))


def _checked(level: Any) -> float:
    number = isinstance(level, (int, float, np.integer, np.floating))
    if not number or not 0.0 < level < 1.0:
        raise ValueError(f"'level' must be a number between 0 and 1; got {level!r}.")
    return float(level)


def noise_weights_of(weights: np.ndarray) -> np.ndarray:
    """Return what weights of components, (n, M), leave to noise, (n,)."""
    left: np.ndarray = 1.0 - weights.sum(axis=1)
    return left.clip(0.0, 1.0)


def matched(
    reference: GaussianMixtureModel, model: GaussianMixtureModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and covariances with components in the reference's order.

    Each is matched with the one that it is nearest to, in the widths of that, so that
    the sum of squared distances is least.
    """
    shifts = model.parameters.means[None] - reference.parameters.means[:, None]
    precisions = torch.linalg.inv(reference.matrices)
    squares = torch.einsum("jka,jab,jkb->jk", shifts, precisions, shifts)
    _, order = linear_sum_assignment(squares.numpy())
    parameters = model.parameters
    return (
        parameters.proportions.numpy()[order],
        parameters.means.numpy()[order],
        model.matrices.numpy()[order],
    )
