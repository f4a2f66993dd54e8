"""The search for the best mixture of any size: along several paths, and beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._path import Member, Path
from sklearn_keops_gmm._fit._path_starts import path_starts
from sklearn_keops_gmm._model import (
    CRITERIA,
    MixtureParameters,
    State,
    join_mixtures,
)
from sklearn_keops_gmm.solvers import Search, disjoint_pairs

# So much mean log-likelihood may be left to gain, by extrapolation, on the way down the
# path; and no member gains so many times as much when it converges.
_LOOSE, _HOPE = 1e-3, 10.0
# Members are tied if their criteria differ by less than this part of the price of one
# component.
_TIED = 0.1
# Two nats, of which EM leaves one to be gained, tell no two mixtures apart; and what
# differs by so little may be in another order for rounding alone.
_SAME, _ROUNDING = 2.0, 1e-3
# So many mixtures in a row are taken together with the best in vain, and so many have
# a turn at most.
_PATIENCE, _TURNS = 3, 20
# One component is a copy of another if their merger loses so few nats over all samples.
_COPY = 0.01
# Other starts seldom gain so much of the criterion for each sample.
_FAR = 0.25


class PathSearch:
    """The best mixtures that several paths lead to, by a criterion.

    A path goes down from each start, and from its end, its best member, moves to more
    and to fewer components lower the criterion. Where ends differ the components of the
    best are taken together with those of another mixture, and a path goes down from
    there: of both those stay that are needed. That is a crossover, as in genetic
    algorithms (Pernkopf and Bouchaffra, IEEE Transactions on Pattern Analysis and
    Machine Intelligence 27, 2005). Where members are as good as tied, another path
    starts from the best with all components split.

    Parameters
    ----------
    path : Path
        If its samples are few, the search puts them in an order of their own.
    criterion : str
        A name of `CRITERIA`.
    """

    def __init__(self, path: Path, criterion: str) -> None:
        path.put_in_order()
        self._path, self._criterion = path, CRITERIA[criterion]
        # Criteria are in units of the deviance, over all samples.
        self._two_nats = 2.0 * path.sample_size  # of the mean log-likelihood
        one, two = (path.evidence.none(k) for k in (1, 2))
        self._price = self._criterion(two) - self._criterion(one)
        self._found: dict[int, Member] = {}

    def run(self, known: float = np.inf) -> tuple[list[Member], np.ndarray]:
        """Return the best member of each size, and their criterion.

        Parameters
        ----------
        known : float
            Of the best mixture of another type: far above it one start is enough.

        Returns
        -------
        members : list of Member
            The best of them converged; without those that have too few components to
            be better, and, of many components, without most of those that have more
            than are needed.
        values : ndarray of shape (n_members,)
        """
        path, ends = self._path, []
        for start in path_starts(path.mixture, path.task):
            ends.append(self._moved(self._least(self._members_from(start))))
            far = self._value(self._best) > known + _FAR * path.sample_size
            if far or path.ended:
                break
        if not path.ended and (found := self._crossed(ends)) not in ends:
            self._moved(found)
        if self._has_tied() and not path.ended:
            self._members_from(self._with_more(self._best))
        members = sorted(self._found.values(), key=lambda one: -one.n_components)
        return members, np.array([self._value(member) for member in members])

    @property
    def _best(self) -> Member:
        return self._least([*self._found.values()])

    def _least(self, members: list[Member]) -> Member:
        """Return the best; the first of those that only rounding tells apart."""
        values = np.array([self._value(member) for member in members])
        return members[int(np.argmax(values <= values.min() + _ROUNDING))]

    def _value(self, member: Member) -> float:
        return self._criterion(member.evidence)

    def _keep(self, member: Member) -> None:
        """Keep a member, unless there is one as large that is not worse."""
        other = self._found.get(member.n_components)
        if other is None or self._value(member) < self._value(other) - _ROUNDING:
            self._found[member.n_components] = member

    # -- other mixtures to start from ------------------------------------------------

    def _crossed(self, ends: list[Member]) -> Member:
        """Return the best of what the best end and others lead to, the best first.

        Others are ends and members of any size. Where all ends are the same mixture
        none has a turn.
        """
        best = self._least(ends)
        seen, n_vain = {best}, 0 if self._differ(ends) else _PATIENCE
        for _ in range(_TURNS):
            others = [one for one in (*ends, *self._found.values()) if one not in seen]
            if n_vain == _PATIENCE or not others or self._path.ended:
                break
            other = self._least(others)
            seen.add(other)
            if self._is_same(best, other):
                continue
            both = self._joined(best.parameters, other.parameters)
            members = [] if both is None else self._members_from(both)
            found = self._least([best, *members])
            n_vain = 0 if self._differ([best, found]) else n_vain + 1
            best = found
            seen.add(best)
        return best

    def _is_same(self, one: Member, other: Member) -> bool:
        """Tell whether two members seem to be the same mixture."""
        alike = one.n_components == other.n_components
        return alike and not self._differ([one, other])

    def _joined(
        self, one: MixtureParameters, other: MixtureParameters
    ) -> MixtureParameters | None:
        """Return the components of two mixtures; None if some collapse.

        What is in both to the last digits is there once: which copies a path merges
        first would be up to rounding.
        """
        objective = self._path.task.objective
        both = join_mixtures(objective.covariance, one, other)
        try:
            state = objective.evaluate(objective.hold(both) or both)
            both = self._without_copies(state)
            objective.evaluate(objective.hold(both) or both)
        except ValueError:
            return None
        return both

    def _without_copies(self, state: State) -> MixtureParameters:
        """Return a mixture with components that hardly differ merged."""
        edits = self._path.task.objective.edits
        pairs, losses, _ = edits.merger_estimates(state)
        losses, order = losses.sort(stable=True)
        copies = order[losses * self._path.sample_size < _COPY]
        return edits.merged(state, disjoint_pairs(pairs[copies]))

    def _differ(self, members: list[Member]) -> bool:
        """Tell whether the criterion tells some from others."""
        return bool(np.ptp([self._value(member) for member in members]) > _SAME)

    def _has_tied(self) -> bool:
        """Tell whether mixtures of another size are as good as the best."""
        values = np.sort([self._value(member) for member in self._found.values()])
        return len(values) > 1 and bool(values[1] < values[0] + _TIED * self._price)

    def _with_more(self, member: Member) -> MixtureParameters:
        """Return a mixture with its components split, or the heaviest of them."""
        edits, parameters = self._path.task.objective.edits, member.parameters
        n_more = max(0, edits.n_components - member.n_components)
        heaviest = parameters.weights.argsort(descending=True)
        for j in heaviest[:n_more].tolist():
            parameters = edits.split(parameters, j)
        return parameters

    def _moved(self, member: Member) -> Member:
        """Return where moves lead from a member, at a price for each component."""
        path, objective = self._path, self._path.task.objective
        if path.ended:
            return member
        priced = objective.priced(self._price / self._two_nats)
        settings = replace(path.settings(path.tol), nat=1.0 / path.sample_size)
        chain = [_at_the_price_of(priced, member.state)]
        Search(priced, settings).improve(chain, converged=True)
        if len(chain) == 1:
            return member
        found = path.refined(path.member(_at_the_price_of(objective, chain[-1])))
        self._keep(found)
        return self._least([member, found])

    # -- a path ----------------------------------------------------------------------

    def _members_from(self, start: MixtureParameters) -> list[Member]:
        """Return the members of a path, and keep them.

        On the way down they converge loosely. From the best on, each then converges
        wholly, unless it is too far behind or shows that it will not be better.
        """
        loose = max(_LOOSE, self._path.tol)
        members = sorted(self._useful_members(start, loose), key=self._value)
        least = np.inf
        for i, member in enumerate(members):
            behind = (self._value(member) - least) / self._two_nats
            if behind < _HOPE * loose:
                members[i] = self._path.refined(member, max(behind, 0.0))
                least = min(least, self._value(members[i]))
            self._keep(members[i])
        return members

    def _useful_members(self, start: MixtureParameters, tol: float) -> Iterator[Member]:
        """Yield members until none with fewer components can be better.

        Fewer components do not fit better, once they have converged: the best that
        they can do is to fit as well, at the price of one.
        """
        least = np.inf
        worth = self._price / self._two_nats
        for member in self._path.members(start, tol, worth):
            yield member
            least = min(least, self._value(member))
            one = replace(member.evidence, n_components=1, entropy=0.0)
            if self._criterion(one) > least + self._two_nats * _HOPE * tol:
                break


def _at_the_price_of(objective: MixtureObjective, state: State) -> State:
    """Return a state of the same samples with the penalty of another objective."""
    return replace(state, penalty=objective.penalty(state.parameters))
