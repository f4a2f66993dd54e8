"""Samples and a fitted mixture, ready for what is asked of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._arrays import ArrayKind, to_numpy, to_tensor
from sklearn_keops_gmm._data._checks import samples_that_count
from sklearn_keops_gmm._data._dataset import Weighing
from sklearn_keops_gmm._data._fitted import FittedChecks, Placement
from sklearn_keops_gmm._data._input import checked_weights
from sklearn_keops_gmm._model import Components, Frame, GaussianMixtureModel, Regression
from sklearn_keops_gmm.backends import (
    Backend,
    Reductions,
    beside_noise,
    choose_backend,
    get_backend,
    suited_to,
)

# Responsibilities held at once: 32 MiB of them, but not too few rows for a tile. Where
# the answer is all that is to take memory it is one part of many.
_PAIRS, _PARTS, _MIN_ROWS = 2**22, 16, 256


@dataclass(frozen=True)
class Bound:
    """Data for a backend, components to ask it about, and the kind of the answer."""

    kind: ArrayKind
    points: Tensor
    backend: Backend
    frame: Frame
    components: Components

    @property
    def reductions(self) -> Reductions:
        """The sums over all pairs."""
        return self.backend(self.points, None, self.frame)

    def of_rows(self, rows: slice) -> Bound:
        """Return the same for some of the points."""
        return replace(self, points=self.points[rows])


@dataclass(frozen=True)
class SampleFunction:
    """What a fitted mixture answers about each sample; calling it asks an array.

    It is a value: later changes of the estimator change nothing.

    Attributes
    ----------
    model : GaussianMixtureModel
        On the CPU.
    checks : FittedChecks
        What samples have to be like.
    placement : Placement
    method : str
        Of the estimator that asks, for messages.
    answer : callable
        Makes a tensor, a row for each sample, of a `Bound`.
    dtype : dtype, default=None
        Of the answer; None for that of the samples.
    n_columns : int, default=None
        Of the answer; None if it has one dimension.
    """

    model: GaussianMixtureModel
    checks: FittedChecks
    placement: Placement
    method: str
    answer: Callable[[Bound], Tensor]
    dtype: Any = None
    n_columns: int | None = None

    def __call__(self, X: Any) -> Any:
        """Return the answer for an array, as an array of its kind."""
        bound = self.bind(X)
        return bound.kind.wrap(self.answer(bound))

    def bind(self, X: Any) -> Bound:
        """Check an array, and bind it to a backend, with the fitted components."""
        self.checks.check_namespace(X, self.method)
        kind = ArrayKind.of(X)
        array = self.checks.samples(X, kind.float_dtypes)
        device = self.placement.device_for(array)
        structure = self.model.covariance.structure
        points = to_tensor(array, device)
        name = choose_backend(self.placement.backend, device, structure)
        return Bound(
            kind,
            points,
            beside_noise(suited_to(points, get_backend(name)), self.model.noise),
            self.model.frame.to(device),
            self.model.components.to(device),
        )

    def without_noise(self) -> SampleFunction:
        """Return what the components answer about samples that are no noise."""
        return replace(self, model=self.model.without_noise())

    def means(self, X: Any, sample_weight: Any) -> tuple[np.ndarray, Weighing]:
        """Return weighted means of the answer's columns, and what weights amount to."""
        values = to_numpy(self(X))
        return _means(values, _numbers(sample_weight, values))


@dataclass(frozen=True)
class OfObserved:
    """The means of log-likelihoods of samples of which something is observed.

    Attributes
    ----------
    function : SampleFunction
        Of the answer `log_density_of_observed`.
    """

    function: SampleFunction

    def means(self, X: Any, sample_weight: Any) -> tuple[np.ndarray, Weighing]:
        """Return their weighted mean, (1,), and what their weights amount to."""
        found, observed = to_numpy(self.function(X)).T
        weights, counts = _numbers(sample_weight, found), observed > 0
        if weights is not None:
            counts &= weights > 0
        if not counts.any():
            return np.zeros(1), Weighing.of_ones(0)
        return _means(found[counts], None if weights is None else weights[counts])


def _numbers(sample_weight: Any, values: np.ndarray) -> np.ndarray | None:
    """Return weights for rows of values, float64, or None if there are none.

    Raises
    ------
    ValueError
        If they are unusable.
    """
    if sample_weight is None:
        return None
    weights = checked_weights(to_numpy(sample_weight), values).astype(np.float64)
    if not weights.any():  # scikit-learn < 1.9 lets zeros pass
        raise ValueError("sample_weight must be positive somewhere; all are zero.")
    if not np.isfinite(weights.sum()):
        raise ValueError(
            "sample_weight: expected weights with a finite sum, got some as large as "
            f"{weights.max():.3g}. Divide them by a number."
        )
    return weights


def _means(
    values: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, Weighing]:
    """Return weighted means of columns, and what the weights of the rows amount to."""
    columns = values.reshape(len(values), -1).T
    if weights is None:
        found = np.array([_mean(one) for one in columns])
        return found, Weighing.of_ones(len(values))
    # A row without weight has no say, however unlikely it is.
    counts = weights > 0
    means = [np.average(one[counts], weights=weights[counts]) for one in columns]
    return np.array(means), Weighing.of_numbers(weights)


def log_density(bound: Bound) -> Tensor:
    """Return the log-likelihoods, (N,)."""
    return bound.reductions.log_density(bound.components)


def log_density_of_observed(bound: Bound) -> Tensor:
    """Return the log-likelihoods, and 1 where something is observed or else 0: (N, 2).

    The log-likelihood of nothing is 0.
    """
    found = log_density(bound)
    counts = samples_that_count(bound.points, None)
    observed = torch.ones_like(found) if counts is None else counts.to(found)
    return torch.stack((found, observed), dim=1)


def labels(bound: Bound) -> Tensor:
    """Return the most probable components, (N,)."""
    return bound.reductions.labels(bound.components)


def responsibilities(bound: Bound) -> Tensor:
    """Return the posterior probabilities, (N, M)."""
    return bound.reductions.responsibilities(bound.components)


def conditional_means(regression: Regression, bound: Bound) -> Tensor:
    """Return the means of a regression's targets, (N, T), some rows at a time.

    The components are those of its given features.
    """
    regression = regression.to(bound.points.device)
    n_targets = regression.means.shape[1]
    means = bound.points.new_empty(len(bound.points), n_targets)
    for rows in tiles(len(means), _PARTS * len(regression.means)):
        some = bound.of_rows(rows)
        shares = some.reductions.responsibilities(some.components)
        means[rows] = regression.mean(some.points.double(), shares.double())
    return means


def responsibilities_for(point: Tensor, model: GaussianMixtureModel) -> Tensor:
    """Return those for one point, (M,), which needs no choice of backend.

    That of noise, if there is some, is one more.
    """
    backend = beside_noise(get_backend("torch"), model.noise)
    reductions = backend(point[None], None, model.frame)
    return reductions.responsibilities(model.components)[0]


def _mean(values: np.ndarray) -> float:
    """Return a mean, in double precision where the sum would be too large."""
    with np.errstate(over="ignore"):
        mean = np.mean(values)
    return float(mean if np.isfinite(mean) else np.mean(values, dtype=np.float64))


def tiles(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Return some rows after another, few enough to hold with all columns."""
    size = max(_MIN_ROWS, _PAIRS // n_columns)
    for start in range(0, n_rows, size):
        yield slice(start, start + size)
