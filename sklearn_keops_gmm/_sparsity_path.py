"""The sparsity path: mixtures of all sizes, and the sparsities that ask for them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from sklearn_keops_gmm._data import (
    Data,
    as_source,
    attributes_of,
    keep_settings,
    to_numpy,
)
from sklearn_keops_gmm._fit import Member, Path, n_distinct_rows
from sklearn_keops_gmm._mixture import KeOpsGaussianMixture
from sklearn_keops_gmm._model import SparsityPrior, lower_envelope
from sklearn_keops_gmm.backends import single_thread

# What a path is never given otherwise.
_FIXED: dict[str, Any] = {"sparsity": 0.0, "solver": "em", "n_init": 1, "moves": "auto"}
_FIXED |= {"warm_start": False, "verbose": 0, "acceleration": None, "batch_size": None}
_FIXED |= {"prior": None, "frozen": None, "truncation": None}
# What a path takes instead of the defaults of a mixture.
PATH_DEFAULTS: dict[str, Any] = {
    "tol": "auto",
    "reg_covar": "auto",
    "covariance_pooling": "auto",
    "max_iter": 300,
}


@dataclass(frozen=True, repr=False)
class SparsityPath:
    """What `sparsity_path` returns: K mixtures, that with most components first.

    They are mixtures of maximum likelihood: the sparsity decides how many components
    there are and does not pull at their weights.

    Attributes
    ----------
    n_components : ndarray of shape (K,)
        How many components each mixture has, falling by one; where many need not be
        told apart, as for a choice, by more.
    sparsities : ndarray of shape (K, 2)
        From which to which sparsity each costs less than all others on the path;
        nan where there is none.
    costs : ndarray of shape (K,)
        Penalised cost at the lower end of that interval; nan where there is none. With
        what rounding takes off the likelihood, where values were rounded, and the term
        of `covariance_pooling`, which intervals count too: without it, 0, they are
        those of minus `scores` and the sparsity's term alone.
    scores : ndarray of shape (K,)
        Mean log-likelihood per sample.
    mixtures : tuple of KeOpsGaussianMixture
        Fitted, with ``sparsity`` at the lower end of the interval.

    References
    ----------
    That the cheapest mixture changes at knots, the ratios of the likelihood that is
    lost to the ``sum_j sqrt(W_j)`` that is freed, is as in least-angle regression
    (Efron, Hastie, Johnstone and Tibshirani, Annals of Statistics 32, 2004).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import sparsity_path
    >>> X = np.random.default_rng(0).normal([[-4.0]] * 200 + [[4.0]] * 200)
    >>> path = sparsity_path(X, 3, random_state=0)
    >>> [path.at(sparsity).n_components_ for sparsity in (1.0, 100.0)]
    [2, 1]
    """

    n_components: np.ndarray
    sparsities: np.ndarray
    costs: np.ndarray
    scores: np.ndarray
    mixtures: tuple[KeOpsGaussianMixture, ...]

    def __len__(self) -> int:
        return len(self.mixtures)

    def __repr__(self) -> str:
        most, least = self.n_components[[0, -1]].tolist()
        return f"SparsityPath({len(self)} mixtures, from {most} to {least} components)"

    def at(self, sparsity: float) -> KeOpsGaussianMixture:
        """Return the mixture that costs least at a sparsity.

        Parameters
        ----------
        sparsity : float
            Not negative.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            Fitted.

        Raises
        ------
        ValueError
            If `sparsity` is negative or not a finite number.
        """
        number = isinstance(sparsity, (int, float, np.integer, np.floating))
        if not number or not 0 <= sparsity < np.inf:
            raise ValueError(
                f"'sparsity' must be a finite number >= 0; got {sparsity!r}."
            )
        with np.errstate(invalid="ignore"):
            low, high = self.sparsities.T
            (found,) = np.nonzero((low <= sparsity) & (sparsity < high))
        return self.mixtures[found[0]]


@single_thread()
def sparsity_path(
    X: ArrayLike,
    n_components: int = 30,
    *,
    sample_weight: ArrayLike | None = None,
    **parameters: Any,
) -> SparsityPath:
    """Fit mixtures of all sizes, from `n_components` components down to one.

    Each is the start of the next, which merges the two components whose merger
    loses least likelihood.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        As in :meth:`KeOpsGaussianMixture.fit`.
    n_components : int, default=30
        The number of components M to start from; also that in the prior's s / M.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights >= 0 of the samples.
    **parameters
        Of :class:`KeOpsGaussianMixture`, with other defaults: ``reg_covar='auto'``,
        ``covariance_pooling='auto'``, ``max_iter=300`` from one mixture to the next,
        each of which converges when by extrapolation less than `tol` is to be gained:
        ``tol='auto'`` is one nat over all samples. The start is that of one fit. Not
        `sparsity` or `prior`, and no `solver` but 'em'.

    Returns
    -------
    path : SparsityPath

    Raises
    ------
    ValueError
        If a parameter or `X` is unusable, or is given that a path does not take.

    References
    ----------
    The candidates for a merger are ranked by the bound of A. R. Runnalls,
    "Kullback-Leibler approach to Gaussian mixture reduction", IEEE Transactions on
    Aerospace and Electronic Systems 43 (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import sparsity_path
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(c, 1, (200, 2)) for c in (-8, 0, 8)])
    >>> path = sparsity_path(X, 5, random_state=0)
    >>> path
    SparsityPath(5 mixtures, from 5 to 1 components)
    >>> path.at(1.0).n_components_
    3
    """
    mixture, tol = path_estimator(n_components, parameters)
    data = as_source(X, sample_weight).read(mixture, min_samples=1)
    # There are never more components than distinct rows.
    mixture.n_components = n_distinct_rows(data.points, n_components)
    path = Path(mixture, data, tol)
    return as_path(path, data, path.converged())


def path_estimator(
    n_components: int, parameters: dict[str, Any]
) -> tuple[Any, float | str]:
    """Return the estimator whose parameters a path takes, checked, and its `tol`."""
    for name, value in _FIXED.items():
        if parameters.get(name, value) != value:
            raise ValueError(
                f"A sparsity path takes no {name!r} but {value!r}, got "
                f"{parameters[name]!r}."
            )
    given = {**PATH_DEFAULTS, **parameters}
    tol = given.pop("tol")
    if tol != "auto":
        given["tol"] = tol
    mixture = KeOpsGaussianMixture(n_components, **given)
    mixture._validate_params()
    return mixture, tol


def as_path(path: Path, data: Data, members: list[Member]) -> SparsityPath:
    """Return the members with the sparsities at which each costs least."""
    scores = np.array([member.log_likelihood for member in members])
    slopes = np.array([member.unit_penalty for member in members])
    values = np.array([member.state.cost for member in members])
    sparsities = lower_envelope(values, slopes)
    # Those that cost least nowhere are given without sparsity.
    lowest = np.nan_to_num(sparsities[:, 0]).tolist()
    return SparsityPath(
        n_components=np.array([member.n_components for member in members]),
        sparsities=sparsities,
        costs=sparsities[:, 0] * slopes + values,
        scores=scores,
        mixtures=tuple(
            _fitted(path, data, member, sparsity)
            for member, sparsity in zip(members, lowest, strict=True)
        ),
    )


def _fitted(
    path: Path, data: Data, member: Member, sparsity: float
) -> KeOpsGaussianMixture:
    """Return an estimator with the attributes of a member."""
    # A copy, as a clone takes longer than the fit of a small mixture.
    fitted: KeOpsGaussianMixture = copy(path.mixture)
    fitted.sparsity = sparsity
    fitted.__dict__.update(path.task.attributes(data, member.parameters))
    fitted.converged_, fitted.n_iter_ = True, 0
    fitted.costs_, fitted.lower_bounds_ = [], []
    fitted.cost_ = sparsity * member.unit_penalty + member.state.cost
    fitted.lower_bound_ = member.log_likelihood
    keep_settings(fitted)
    return fitted


def without_sparsity(mixture: KeOpsGaussianMixture) -> KeOpsGaussianMixture:
    """Return a mixture of a path as one that was fitted with its own components.

    It is a mixture of maximum likelihood. On the path the number of components is that
    of the largest, and the sparsity the least at which this one is the best.
    """
    alone: KeOpsGaussianMixture = copy(mixture)
    alone.n_components, alone.sparsity = alone.n_components_, 0.0
    keep_settings(alone)
    weights = torch.as_tensor(np.asarray(to_numpy(mixture.weights_), dtype=np.float64))
    prior = SparsityPrior(mixture.sparsity, mixture.n_components)
    weights = weights / (1.0 - getattr(mixture, "noise_weight_", 0.0))
    alone.cost_ -= mixture.sparsity * float(prior.unit_value(weights))
    return alone


def attributes_with(path: Path, data: Data, member: Member) -> dict[str, Any]:
    """Return the attributes of a choice that has found a mixture."""
    model = path.task.model(member.parameters)
    (mixture,) = as_path(path, data, [member]).mixtures
    found = attributes_of(model, data.kind, data.points.dtype)
    return found | {"mixture_": without_sparsity(mixture)}
