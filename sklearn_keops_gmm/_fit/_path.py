"""The path from many components to one: its mixtures, each the start of the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._evidence import EvidenceOfSamples
from sklearn_keops_gmm._fit._folds import Fold, rows_of
from sklearn_keops_gmm._fit._path_starts import drawn_start, in_order
from sklearn_keops_gmm._fit._rounded import over_what_rounds
from sklearn_keops_gmm._fit._run import build_problem
from sklearn_keops_gmm._model import (
    Evidence,
    MixtureParameters,
    SparsityPrior,
    State,
)
from sklearn_keops_gmm.backends import single_thread
from sklearn_keops_gmm.solvers import SolverSettings, homotopy, refine


@dataclass(frozen=True, eq=False)
class Member:
    """A mixture on the path, without its data.

    Attributes
    ----------
    state : State
        The parameters, and where they were found.
    unit_penalty : float
        ``sum_j sqrt(W_j) / M``, by which the cost grows with the sparsity.
    evidence : Evidence
    """

    state: State
    unit_penalty: float
    evidence: Evidence

    @property
    def parameters(self) -> MixtureParameters:
        """The mixture."""
        return self.state.parameters

    @property
    def n_components(self) -> int:
        """The number of components."""
        return self.evidence.n_components

    @property
    def log_likelihood(self) -> float:
        """The mean log-likelihood of the samples."""
        return self.evidence.log_likelihood / self.evidence.n_samples


# What follows the members of a path, and may end it.
Watch = Callable[[Member], bool]


def unwatched(member: Member) -> bool:
    """Let a path go on."""
    return False


class Path:
    """The members of a path, found one after another.

    Parameters
    ----------
    mixture : estimator
    data : Data
    tol : float or "auto"
        A member has converged when less is left to gain; "auto" is one nat over all
        samples, as what criteria compare are totals.
    watch : callable
        Receives each member as it is found; returns True to end the path there.

    Attributes
    ----------
    mixture : estimator
    task : FitProblem
        The samples, and what is minimised.
    sample_size : float
    evidence : EvidenceOfSamples
    tol : float
    ended : bool
        Whether `watch` has ended the path.
    """

    def __init__(
        self, mixture: Any, data: Data, tol: float | str, watch: Watch = unwatched
    ) -> None:
        self.mixture = mixture
        self.ended = False
        self._watch = watch
        task = build_problem(mixture, data)
        self.task = over_what_rounds(task, task.objective.ridge.rounded)
        if mixture.reg_covar == "auto":
            self.task = self.task.standardised()
        self.sample_size = self.task.sample_size
        self.evidence = EvidenceOfSamples(self.task)
        self.tol = 1.0 / self.sample_size if tol == "auto" else float(tol)

    def put_in_order(self) -> None:
        """Put samples that are few in an order of their own, whatever theirs is."""
        self.task = in_order(self.task)
        self.evidence = EvidenceOfSamples(self.task)

    def members(
        self, start: MixtureParameters, tol: float, worth: float = 0.0
    ) -> Iterator[Member]:
        """Yield the members, that with the most components first.

        Parameters
        ----------
        start : MixtureParameters
            If it has more components than the estimator may, mixtures with as many
            are no members.
        tol : float
            So much may be left to gain for each before the next is sought.
        worth : float
            Of many components most of those that gain less are merged at once; 0
            gives members with each number.
        """
        for state in homotopy(self.task.objective, start, self.settings(tol), worth):
            if state.n_components > self.mixture.n_components:
                continue
            member = self.member(state)
            self.ended |= self._watch(member)
            yield member
            if self.ended:
                return

    def converged(self) -> list[Member]:
        """Return all members, each where it converges."""
        members = self.members(drawn_start(self.mixture, self.task), self.tol)
        return [self.refined(member) for member in members]

    def refined(self, member: Member, gain: float = 0.0) -> Member:
        """Return a member where it converges.

        Parameters
        ----------
        member : Member
        gain : float
            Of mean log-likelihood: a member that is not going to gain as much is left
            where that shows.
        """
        state = member.state
        target = state.cost - gain if gain > 0 else np.inf
        settings = self.settings(self.tol)
        return self.member(refine(self.task.objective, state, settings, target))

    def has_converged(self, member: Member) -> bool:
        """Tell whether another iteration would gain less than the tolerance."""
        objective, state = self.task.objective, member.state
        following = objective.evaluate(objective.maximize(state))
        return state.cost - following.cost < self.tol

    def settings(self, tol: float) -> SolverSettings:
        """Return those of EM in which so much may be left to gain."""
        mixture = self.mixture
        return SolverSettings(tol, mixture.max_iter, mixture.learning_rate)

    def member(self, state: State) -> Member:
        """Return a mixture of the samples as one of the path."""
        prior = SparsityPrior(1.0, self.task.objective.n_components)
        unit_penalty = float(prior.unit_value(state.parameters.weights))
        return Member(state, unit_penalty, self.evidence.of(state))


def fold_scores(
    mixture: Any, data: Data, fold: Fold, tol: float | str
) -> dict[int, float]:
    """Return the mean log-likelihood of `test` for each number of components.

    Of rounded values it is that of all that rounds to them.
    """
    with single_thread():
        train, test = (rows_of(data, rows) for rows in fold)
        path = Path(mixture, train, tol)
        rounded = path.task.objective.ridge.rounded
        held_out = over_what_rounds(build_problem(mixture, test), rounded).objective
        return {
            member.n_components: held_out.score(member.parameters)
            for member in path.converged()
        }
