"""Samples as a source, so that nobody else needs to know how they are held."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from sklearn_keops_gmm._data._array_source import ArraySource
from sklearn_keops_gmm._data._chunk_source import ChunkSource
from sklearn_keops_gmm._data._chunks import HasMeans
from sklearn_keops_gmm._data._dask_source import DaskSource
from sklearn_keops_gmm._data._dataset import Data, Weighing
from sklearn_keops_gmm._data._query import SampleFunction


class Source(Protocol):
    """Samples and their weights, as a user holds them.

    Parameters
    ----------
    X : samples
        What `takes` accepts.
    sample_weight : weights, default=None
        Held alike; None for ones.
    """

    def __init__(self, X: Any, sample_weight: Any = None) -> None: ...

    @property
    def parts(self) -> str | None:
        """What the samples are divided into, such as ``"pieces"``, for messages.

        None for samples that are held whole: rows can be taken by their indices.
        """

    @classmethod
    def takes(cls, X: Any) -> bool:
        """Tell whether samples are held as this source reads them."""

    def read(self, estimator: Any, min_samples: int, *, reset: bool = True) -> Data:
        """Check samples and weights for a fit, and read what it holds of them.

        Parameters
        ----------
        estimator : estimator
            With `n_components`, `backend`, `device`, `init_size` and `random_state`.
        min_samples : int
            At least so many samples must have a positive weight.
        reset : bool, default=True
            Whether these samples say what the features are, or those of a fit before.

        Raises
        ------
        ValueError
            If samples or weights are unusable, or too few have a positive weight.
        """

    def labelled(self, component_labels: Any) -> Source:
        """Return the same samples, of which it is known what components they are of.

        Parameters
        ----------
        component_labels : labels
            Integers, held as weights are; -1 where unknown. `read` checks them, and
            its data have them.
        """

    def length(self, data: Data) -> int:
        """Return the number of samples.

        Parameters
        ----------
        data : Data
            What `read` has returned. Where only that tells, samples without weight
            are not counted.
        """

    def map(self, function: SampleFunction) -> Any:
        """Return the answers of a function for all samples, at once or lazily.

        Raises
        ------
        ValueError
            If the samples are unusable.
        """

    def means(self, function: HasMeans) -> tuple[np.ndarray, Weighing]:
        """Return the weighted means of the answers, and what weights amount to.

        There is one for each column of the answer, or one if it has none.

        Raises
        ------
        ValueError
            If samples or weights are unusable.
        """


# The first that takes the samples reads them: a source of one's own is inserted in
# front. The last takes all.
SOURCES: list[type[Source]] = [DaskSource, ChunkSource, ArraySource]


def as_source(X: Any, sample_weight: Any = None) -> Source:
    """Return samples and their weights as a source."""
    source = next(source for source in SOURCES if source.takes(X))
    return source(X, sample_weight)
