"""A fit as the tasks that scikit-learn's callbacks follow.

The fit is a task whose subtasks are its starts, and their subtasks are iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_keops_gmm._model import LazyParameters, MixtureParameters


class _NoContext:
    """A task that nobody follows."""

    def subcontext(self, **_: Any) -> _NoContext:
        return self

    def call_on_fit_task_begin(self, **_: Any) -> _NoContext:
        return self

    def call_on_fit_task_end(self, **_: Any) -> bool:
        return False


class _NoCallbacks:
    """Replaces scikit-learn's mixin in versions without callbacks."""


CallbackSupport: Any
try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9
    CallbackSupport = _NoCallbacks
else:
    CallbackSupport = CallbackSupportMixin


class Tasks:
    """The root of the tasks of one fit.

    Parameters
    ----------
    estimator : estimator
    n_subtasks : int
        Of the root.
    """

    def __init__(self, estimator: Any, n_subtasks: int) -> None:
        self._estimator = estimator
        # Tasks cost some microseconds each, which short iterations would feel.
        self._root: Any = _NoContext()
        self._followed = hasattr(estimator, "_skl_callbacks")
        if self._followed:
            self._root = estimator._init_callback_context(max_subtasks=n_subtasks)

    def begin(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None,
        n_samples: int,
    ) -> None:
        """Begin the fit to data that are known to be sound.

        Parameters
        ----------
        X, y, sample_weight
            As the user gave them.
        n_samples : int
            In `X`.
        """
        if not self._followed:
            self._data: dict[str, Any] = {}
            return
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        # ScoringMonitor scores only what has a y, though a mixture does not look at it.
        target = np.broadcast_to(0.0, n_samples) if y is None else y
        self._data = {
            "estimator": self._estimator,
            "X": X,
            "y": target,
            "metadata": metadata,
        }
        self._root.call_on_fit_task_begin(**self._data)

    def end(self) -> None:
        """End the fit, whose attributes are set."""
        self._root.call_on_fit_task_end(**self._data, reconstruction_attributes={})


class PathTasks(Tasks):
    """The tasks of a choice: paths and their mixtures, and folds where there are some.

    Parameters
    ----------
    estimator : KeOpsGaussianMixtureCV
    n_types : int
        How many covariance types are compared.
    n_folds : int
        For each of them; 0 for none.
    """

    def __init__(self, estimator: Any, n_types: int, n_folds: int) -> None:
        super().__init__(estimator, n_types * (2 if n_folds else 1))
        self._n_folds = n_folds
        self._group: Any = None

    def begin_path(self) -> None:
        """Begin the paths of a type, of which more may follow: no length is known."""
        self._group = self._root.subcontext(task_name="path", max_subtasks=None)
        self._group.call_on_fit_task_begin(**self._data)

    def begin_folds(self) -> None:
        """Begin the folds of a covariance type."""
        self._group = self._root.subcontext(
            task_name="folds", max_subtasks=self._n_folds
        )
        self._group.call_on_fit_task_begin(**self._data)

    def mixture(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Report a mixture of the path; return whether a callback asks to stop."""
        task = self._group.subcontext(task_name="mixture")
        task.call_on_fit_task_begin(**self._data)
        found = task.call_on_fit_task_end(
            **self._data, reconstruction_attributes=attributes
        )
        return bool(found)

    def fold(self) -> None:
        """Report that a fold is done."""
        task = self._group.subcontext(task_name="fold")
        task.call_on_fit_task_begin(**self._data)
        task.call_on_fit_task_end(**self._data)

    def end_group(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """End a path or the folds; return whether a callback asks for no other."""
        return bool(
            self._group.call_on_fit_task_end(
                **self._data, reconstruction_attributes=attributes
            )
        )


class FitTasks(Tasks):
    """The tasks of one fit: its root, one start at a time, one iteration at a time.

    Parameters
    ----------
    estimator : KeOpsGaussianMixture
    n_starts : int
    max_iter : int or None
        Of each start, None if it has no limit.
    """

    def __init__(self, estimator: Any, n_starts: int, max_iter: int | None) -> None:
        super().__init__(estimator, n_starts)
        self._max_iter = max_iter
        self.stopped = False  # whether a callback has ended a start
        self._start: Any = None
        self._iteration: Any = None
        self._n_iter = 0

    def describe(
        self, attributes: Callable[[MixtureParameters], dict[str, Any]]
    ) -> None:
        """Take what returns the attributes by which a mixture is described."""
        self._attributes = attributes

    def begin_start(self, start: MixtureParameters) -> None:
        """Begin to iterate from a start."""
        self._start = self._root.subcontext(
            task_name="start", max_subtasks=self._max_iter
        )
        self._start.call_on_fit_task_begin(**self._data, **self._of(lambda: start))
        self._iteration, self._n_iter = None, 0
        self._begin_iteration(lambda: start)

    def iterate(self, parameters: LazyParameters, done: bool) -> bool:
        """End an iteration; begin the next unless `done` or a callback asks to stop.

        Returns
        -------
        stop : bool
            Whether one asks to stop.
        """
        if not self._followed:
            return False
        stop = self._iteration.call_on_fit_task_end(
            **self._data, **self._of(parameters)
        )
        self._iteration = None
        self.stopped |= bool(stop)
        if not (done or stop):
            self._begin_iteration(parameters)
        return bool(stop)

    def end_start(self, result: MixtureParameters) -> bool:
        """End a start; return whether a callback asks for no other."""
        if self._iteration is not None:
            # Begun before the solver knew that it was done.
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
        return bool(
            self._start.call_on_fit_task_end(**self._data, **self._of(lambda: result))
        )

    def _begin_iteration(self, parameters: LazyParameters) -> None:
        if self._n_iter == self._max_iter:
            return
        self._n_iter += 1
        self._iteration = self._start.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(**self._data, **self._of(parameters))

    def _of(self, parameters: LazyParameters) -> dict[str, Any]:
        """Return how to make the fitted attributes of a mixture, if a callback asks."""
        attributes = self._attributes
        return {"reconstruction_attributes": lambda: attributes(parameters())}
