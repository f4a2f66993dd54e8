"""What a picture is made of: a mixture, a sample, and what colours both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._data import (
    checked_samples,
    resolve_features,
    to_numpy,
)


@dataclass(frozen=True, eq=False)
class Colouring:
    """What gives components and samples their colours.

    Attributes
    ----------
    components : ndarray of shape (n_components,) or None
        The label of each component.
    samples : ndarray of shape (n_samples,) or None
        The label of each sample; -1 is in no group.
    names : tuple of str or None
        What the labels are called.
    values : ndarray of shape (n_samples,) or None
        Numbers instead of labels of the samples.
    """

    components: np.ndarray | None = None
    samples: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    values: np.ndarray | None = None

    def of_rows(self, rows: Any) -> dict[str, Any]:
        """Return it as parameters of a display of some samples."""
        return {
            "component_labels": self.components,
            "sample_labels": None if self.samples is None else self.samples[rows],
            "label_names": self.names,
            "sample_values": None if self.values is None else self.values[rows],
        }


@dataclass(frozen=True, eq=False)
class Subject:
    """A fitted mixture, and a sample with all its features, as numpy arrays.

    Attributes
    ----------
    mixture : estimator
    samples : ndarray of shape (n_samples, n_features)
    names : tuple of str
        What axes call the features.
    colouring : Colouring
    """

    mixture: Any
    samples: np.ndarray
    names: tuple[str, ...]
    colouring: Colouring

    def features(self, given: Any, most: int, accepted: str) -> list[int]:
        """Return the indices of the features to draw; None is the first few.

        Raises
        ------
        ValueError
            If they are unknown, or more than `most`.
        """
        n_features = len(self.names)
        known = getattr(self.mixture, "feature_names_in_", None)
        if given is None:
            given = list(range(min(most, n_features)))
        chosen = resolve_features(given, n_features, known)
        if len(chosen) > most:
            raise ValueError(
                f"'features' must be {accepted}; got {len(chosen)}: {given!r}."
            )
        return chosen


def subject_of(name: str, estimator: Any, X: ArrayLike, color_by: Any) -> Subject:
    """Return what a picture shows.

    Parameters
    ----------
    name : str
        Of the display, for messages.
    estimator : estimator
        Fitted, or a pipeline that ends in one.
    X : array-like
        As the user gives it.
    color_by : {'component', 'uncertainty'}, array-like or None

    Raises
    ------
    TypeError
        If `estimator` is not of this package.
    NotFittedError
        If it is not fitted.
    ValueError
        If `X` or `color_by` is unusable.
    """
    estimator, X, transformed = _last_step_and_its_samples(estimator, X)
    whole = _mixture_of(name, estimator)
    # Pictures are drawn from numpy arrays, whatever the arrays of the user.
    with sklearn.config_context(array_api_dispatch=False):
        samples = checked_samples(
            whole, to_numpy(X), reset=False, dtype=[np.float64, np.float32]
        )
        colouring = _colouring(estimator, whole, to_numpy(X), color_by)
    known = getattr(whole, "feature_names_in_", None)
    names = [f"feature {i}" for i in range(whole.means_.shape[1])]
    if known is not None:
        names = [str(one) for one in known]
    # Their unit is not that of the data any more.
    suffix = ", transformed" if transformed else ""
    return Subject(whole, samples, tuple(one + suffix for one in names), colouring)


def rows_to_draw(samples: np.ndarray, most: int | None, names: list[str]) -> Any:
    """Return at most so many rows of two-dimensional samples; all of others.

    Rows of which a value is missing have no place in the picture.
    """
    rows = np.flatnonzero(~np.isnan(samples).any(axis=1))
    if not len(rows):
        raise ValueError(
            f"X has no sample of which {' and '.join(names)} are observed: there is "
            "none to draw."
        )
    if samples.shape[1] != 2 or most is None or most >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, most, dtype=int)]


def _last_step_and_its_samples(estimator: Any, X: Any) -> tuple[Any, Any, bool]:
    """Return the mixture at the end of a pipeline, and what it is given of X."""
    if not hasattr(estimator, "steps"):
        return estimator, X, False
    check_is_fitted(estimator)
    transforms = len(estimator.steps) > 1
    return (
        estimator.steps[-1][1],
        estimator[:-1].transform(X) if transforms else X,
        transforms,
    )


def _mixture_of(name: str, estimator: Any) -> Any:
    """Return a fitted mixture: the estimator, or that of a clustering."""
    if not (hasattr(estimator, "marginal") or hasattr(estimator, "cut_tree")):
        raise TypeError(
            f"'estimator' of {name} must be a fitted KeOpsGaussianMixture, "
            "KeOpsGaussianMixtureCV or MixtureClustering, or a pipeline that ends in "
            f"one; got {type(estimator).__name__}. "
            "KeOpsGaussianMixture.from_sklearn converts scikit-learn's mixture."
        )
    check_is_fitted(estimator)
    return estimator if hasattr(estimator, "marginal") else estimator.mixture_


def _colouring(estimator: Any, whole: Any, X: Any, color_by: Any) -> Colouring:
    if color_by is None:
        return _of_clusters(estimator, X)
    if isinstance(color_by, str):
        if color_by not in _COLOURINGS:
            raise ValueError(
                "'color_by' must be 'component', 'uncertainty', or a label for each "
                f"sample; got {color_by!r}."
            )
        return _COLOURINGS[color_by](whole, X)
    labels = np.asarray(to_numpy(color_by))
    if labels.shape not in ((len(X),), (len(X), 1)):
        raise ValueError(
            "'color_by' must be 'component', 'uncertainty', or a label for each of the "
            f"{len(X)} samples; got an array of shape {labels.shape}."
        )
    found, numbers = np.unique(labels.ravel(), return_inverse=True)
    return Colouring(samples=numbers, names=tuple(map(str, found)))


def _of_clusters(estimator: Any, X: Any) -> Colouring:
    """Return the clusters of a clustering; no colours of others."""
    if not hasattr(estimator, "cut_tree"):
        return Colouring()
    both = estimator.component_labels_, estimator.predict(X)
    components, samples = (np.array(to_numpy(labels)) for labels in both)
    names = tuple(f"cluster {i}" for i in range(estimator.n_clusters_))
    return Colouring(components, samples, names)


def _of_components(whole: Any, X: Any) -> Colouring:
    labels = np.arange(len(whole.means_))
    names = tuple(f"component {j}" for j in labels)
    return Colouring(labels, np.asarray(to_numpy(whole.predict(X))), names)


def _of_uncertainty(whole: Any, X: Any) -> Colouring:
    """Return how probable it is that samples are not of their component."""
    shares = np.asarray(to_numpy(whole.predict_proba(X)))
    return Colouring(values=1.0 - shares.max(axis=1))


_COLOURINGS = {"component": _of_components, "uncertainty": _of_uncertainty}
