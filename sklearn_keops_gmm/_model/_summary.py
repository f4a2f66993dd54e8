"""What a fit has found, as a table that can be read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np

# So many components and features are printed; `to_frame` has all.
_MOST_ROWS, _MOST_FEATURES = 30, 6
# Of longer names of features the beginning.
_LONGEST_NAME = 40


class Alternative(NamedTuple):
    """A mixture that a choice was made against.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    difference : float
        By how much its criterion is above that of the mixture chosen.
    """

    n_components: int
    covariance_type: str
    difference: float


@dataclass(frozen=True)
class Comparison:
    """Which criterion a mixture was chosen by, and against which others.

    Attributes
    ----------
    criterion : str
    value : float
        The lower the better.
    alternatives : tuple of Alternative
        The best others.
    """

    criterion: str
    value: float
    alternatives: tuple[Alternative, ...]

    @classmethod
    def among(
        cls,
        criterion: str,
        results: Mapping[str, np.ndarray],
        n_components: int,
        covariance_type: str,
    ) -> Comparison | None:
        """Return what is told of one of the mixtures that `results_` compares.

        None if it is not among them.
        """
        columns = ("n_components", "covariance_type", "criterion")
        rows = list(zip(*(results[name].tolist() for name in columns), strict=True))
        chosen = (n_components, covariance_type)
        values = [row[2] for row in rows if row[:2] == chosen]
        if not values:
            return None
        others = sorted((row[2], *row[:2]) for row in rows if row[:2] != chosen)
        return cls(
            criterion,
            values[0],
            tuple(Alternative(k, name, at - values[0]) for at, k, name in others[:3]),
        )


@dataclass(frozen=True, eq=False)
class SampleSummary:
    """What samples say of a mixture.

    Attributes
    ----------
    size : float
        How many they are: the sum of weights that are integers, and of others their
        effective number, in whose unit all else is.
    counts : ndarray of shape (n_components,) or (n_components + 1,)
        Of the samples of which each component is the most probable; noise, if there is
        some, is the last.
    log_likelihood : float
        The sum over the samples.
    entropy : float
        That of the responsibilities, summed over the samples.
    """

    size: float
    counts: np.ndarray
    log_likelihood: float
    entropy: float


@dataclass(frozen=True, eq=False, repr=False)
class MixtureSummary:
    """What `summary` returns: a fitted mixture, to be printed or made a data frame.

    Printed it shows, for each component, the weight, and the mean and the standard
    deviation of each feature, of at most thirty components and six features.

    Attributes
    ----------
    estimator : str
        The name of the class.
    covariance_type : str
        That was fitted.
    n_parameters : int
        The number of free parameters.
    feature_names : tuple of str
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    spreads : ndarray of shape (n_components, n_features)
        Standard deviations of the features in each component.
    warnings : tuple of str
        What to look at before the result is used.
    choice : Comparison or None
        The criterion and the three best alternatives, where one was chosen.
    clusters : ndarray of shape (n_components,) or None
        The cluster of each component, where they were merged.
    samples : SampleSummary or None
        Counts, log-likelihood and entropy of the samples that were given.
    noise_weight : float or None
        Of noise, where a part of the samples may be that.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import KeOpsGaussianMixture
    >>> X = np.array([[1.0], [1.2], [0.8], [5.0], [5.5], [4.5]])
    >>> KeOpsGaussianMixture(2, random_state=0).fit(X).summary(X)
    KeOpsGaussianMixture: 2 components, full covariances, 5 parameters
    6 samples: log-likelihood -4.55, AIC 19.10, BIC 18.06, ICL 18.06
    component  weight  samples       feature 0
            0   0.500        3  5.000 +- 0.408
            1   0.500        3  1.000 +- 0.163
    """

    estimator: str
    covariance_type: str
    n_parameters: int
    feature_names: tuple[str, ...]
    weights: np.ndarray
    means: np.ndarray
    spreads: np.ndarray
    warnings: tuple[str, ...] = ()
    choice: Comparison | None = None
    clusters: np.ndarray | None = None
    samples: SampleSummary | None = None
    noise_weight: float | None = None

    @property
    def n_components(self) -> int:
        """The number of components."""
        return len(self.weights)

    @property
    def counts(self) -> np.ndarray:
        """Samples of which each component is the most probable, (n_components,)."""
        return self._given.counts[: self.n_components]

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood, summed over the samples."""
        return self._given.log_likelihood

    @property
    def aic(self) -> float:
        """The Akaike information criterion of the samples; the lower the better."""
        return 2.0 * (self.n_parameters - self._given.log_likelihood)

    @property
    def bic(self) -> float:
        """The Bayesian information criterion of the samples; the lower the better."""
        price = self.n_parameters * float(np.log(self._given.size))
        return price - 2.0 * self._given.log_likelihood

    @property
    def icl(self) -> float:
        """The integrated completed likelihood, BIC plus twice the entropy."""
        return self.bic + 2.0 * self._given.entropy

    @property
    def _given(self) -> SampleSummary:
        if self.samples is None:
            raise AttributeError(
                "This summary was made without samples: use summary(X), which counts "
                "them and finds their likelihood."
            )
        return self.samples

    def to_frame(self) -> Any:
        """Return a row for each component as a data frame of pandas.

        Returns
        -------
        frame : pandas.DataFrame
            With the columns 'weight', 'cluster' and 'samples' where they are known,
            and, for each feature, 'mean' and 'std', a level below.

        Raises
        ------
        ImportError
            If pandas is missing.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> X = [[1.0], [1.2], [0.8], [5.0], [5.5], [4.5]]
        >>> mixture = KeOpsGaussianMixture(2, random_state=0).fit(X)
        >>> mixture.summary().to_frame()["mean"].round(1)
                   feature 0
        component
        0                5.0
        1                1.0
        """
        import pandas as pd

        columns: dict[tuple[str, str], np.ndarray] = {("weight", ""): self.weights}
        if self.clusters is not None:
            columns["cluster", ""] = self.clusters
        if self.samples is not None:
            columns["samples", ""] = self.counts
        for kind, values in (("mean", self.means), ("std", self.spreads)):
            for name, column in zip(self.feature_names, values.T, strict=True):
                columns[kind, name] = column
        index = pd.RangeIndex(self.n_components, name="component")
        return pd.DataFrame(columns, index=index)

    # -- what is printed -------------------------------------------------------------

    def __repr__(self) -> str:
        table = [self._header(), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
            for row in table
        ]
        return "\n".join([*self._head(), *lines, *self._tail()])

    def _repr_html_(self) -> str:
        def cells(kind: str, row: Sequence[str]) -> str:
            inner = "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in row)
            return f"<tr>{inner}</tr>"

        head = "".join(f"<p>{escape(line)}</p>" for line in self._head())
        body = "".join(cells("td", row) for row in self._rows())
        tail = "".join(f"<p>{escape(line)}</p>" for line in self._tail())
        table = f"<thead>{cells('th', self._header())}</thead><tbody>{body}</tbody>"
        return f'<div>{head}<table border="1">{table}</table>{tail}</div>'

    def _head(self) -> Iterator[str]:
        """Yield what is said of the mixture as a whole."""
        kind = self.covariance_type.replace("_", " ")
        components = _counted(self.n_components, "component")
        if self.clusters is not None:
            clusters = _counted(len(set(self.clusters.tolist())), "cluster")
            components = f"{clusters} of {components}"
        yield (
            f"{self.estimator}: {components}, {kind} covariances, "
            f"{self.n_parameters} parameters"
        )
        if self.choice is not None:
            yield _of_choice(self.choice)
        if self.samples is not None:
            yield (
                f"{self.samples.size:,.10g} samples: log-likelihood "
                f"{self.log_likelihood:.2f}, AIC {self.aic:.2f}, BIC {self.bic:.2f}, "
                f"ICL {self.icl:.2f}"
            )

    def _header(self) -> list[str]:
        known = [name for name, _ in self._numbers()]
        shown = map(_heading, self.feature_names[:_MOST_FEATURES])
        return ["component", *known, *shown]

    def _numbers(self) -> Iterator[tuple[str, list[str]]]:
        """Yield columns that are not about features."""
        yield "weight", [f"{weight:.3f}" for weight in self.weights]
        if self.clusters is not None:
            yield "cluster", [f"{label}" for label in self.clusters]
        if self.samples is not None:
            yield "samples", [f"{count:.6g}" for count in self.counts]

    def _rows(self) -> Iterator[list[str]]:
        numbers = [column for _, column in self._numbers()]
        for j in range(min(self.n_components, _MOST_ROWS)):
            both = zip(self.means[j], self.spreads[j], strict=True)
            cells = [_with_spread(mean, spread) for mean, spread in both]
            known = [column[j] for column in numbers]
            yield [str(j), *known, *cells[:_MOST_FEATURES]]

    def _tail(self) -> Iterator[str]:
        if self.noise_weight is not None:
            yield self._of_noise()
        left_out = (
            (self.n_components - _MOST_ROWS, "component"),
            (len(self.feature_names) - _MOST_FEATURES, "feature"),
        )
        more = [_counted(n, name) for n, name in left_out if n > 0]
        if more:
            yield f"... and {' and '.join(more)} more: to_frame() has all."
        yield from (f"Warning: {warning}" for warning in self.warnings)

    def _of_noise(self) -> str:
        weight = f"and uniform noise of weight {self.noise_weight:.3f}"
        if self.samples is None:
            return weight
        return f"{weight}, {self.samples.counts[-1]:.6g} samples"


def _with_spread(mean: float, spread: float) -> str:
    """Return a mean with as many digits as its spread, of which three are shown."""
    digits = 2 - math.floor(math.log10(spread)) if spread > 0 else 2
    if 0 <= digits <= 5 and abs(mean) < 1e6:
        return f"{mean:.{digits}f} +- {spread:.{digits}f}"
    return f"{mean:.6g} +- {spread:.3g}"


def _heading(name: str) -> str:
    """Return the name of a feature as it is printed: short, and on one line."""
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def _counted(n: int, name: str) -> str:
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def _of_choice(choice: Comparison) -> str:
    """Return a line about what a mixture was chosen against."""
    line = f"Chosen by {choice.criterion!r}, {choice.value:.6g}"
    others = [
        f"{other.n_components} {other.covariance_type} ({other.difference:+.4g})"
        for other in choice.alternatives
    ]
    # Another rule had a say where others are lower: as one standard error, or so many
    # clusters that the best mixture has too few components.
    lower = any(other.difference < 0 for other in choice.alternatives)
    what = "others" if lower else "next best"
    return f"{line}; {what}: {', '.join(others)}" if others else line
