"""Who follows a choice along paths: what prints it, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sklearn_keops_gmm._fit._callbacks import PathTasks
from sklearn_keops_gmm._fit._path import Member
from sklearn_keops_gmm._fit._verbose import PathReporter
from sklearn_keops_gmm._model import CRITERIA


class PathProgress:
    """Tells those who follow a choice how far it is.

    Parameters
    ----------
    tasks : PathTasks
    reporter : PathReporter
    criterion : str
    """

    def __init__(
        self, tasks: PathTasks, reporter: PathReporter, criterion: str
    ) -> None:
        self.tasks = tasks
        self.reporter = reporter
        self.stopped = False  # whether a callback wants no other path
        self._criterion = criterion

    def begin(
        self,
        covariance_type: str,
        n_components: int,
        describe: Callable[[Any], dict[str, Any]],
    ) -> None:
        """Begin a path.

        Parameters
        ----------
        covariance_type : str
        n_components : int
            Of its first mixture.
        describe : callable
            Returns the attributes of a choice that has found one of its mixtures.
        """
        self._describe = describe
        self.reporter.path(covariance_type, n_components)
        self.tasks.begin_path()

    def member(self, member: Member) -> bool:
        """Report a mixture of the path; return whether a callback ends that there."""
        evidence, value = member.evidence, ""
        if self._criterion in CRITERIA:
            found = CRITERIA[self._criterion](evidence)
            value = f"\t {self._criterion} {found:.5f}"
        score = evidence.log_likelihood / evidence.n_samples
        self.reporter.mixture(evidence.n_components, score, value)
        return self.tasks.mixture(partial(self._describe, member))

    def fold(self, i: int, n_folds: int) -> None:
        """Report that a fold is done."""
        self.reporter.fold(i, n_folds)
        self.tasks.fold()

    def end(self, member: Member) -> None:
        """End a path, or its folds, of which a mixture is the best so far."""
        self.stopped |= self.tasks.end_group(partial(self._describe, member))
