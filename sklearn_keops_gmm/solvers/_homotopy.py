"""From many components to one, each mixture the start of the next."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

from torch import Tensor

from sklearn_keops_gmm._model import MixtureParameters, State
from sklearn_keops_gmm.solvers._moves import Search, ranked_pairs
from sklearn_keops_gmm.solvers._positions import (
    Move,
    Position,
    merge,
    position_of,
)
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings
from sklearn_keops_gmm.solvers._thinning import thin_out

# So often targets of covariances are renewed at most.
_RENEWALS = 30
# So many mergers are tried, the best by their estimates, for so many EM steps: what
# more of either gains is below what the next merger changes.
_N_CANDIDATES, _TRIAL_STEPS = 2, 2
# Where mergers are tried on a part of the mixture, all samples are looked at again when
# one component in so many is gone; what is merged settles for so many steps before.
_STRETCH, _LONGEST = 5, 3
# A rival excludes the best merger, and may lose so many times as much.
_RIVAL = 2.0


def homotopy(
    objective: Objective,
    start: MixtureParameters,
    settings: SolverSettings,
    worth: float = 0.0,
) -> Iterator[State]:
    """Yield mixtures of maximum likelihood, each with one component less.

    Of the best mergers of two components that which loses least likelihood in a few
    EM steps is the start of the next. Going down from too many components finds
    better optima than starting afresh with few: those that stay are where they are
    needed. Targets of covariances are renewed where EM on all samples has converged,
    and held in between.

    Parameters
    ----------
    objective : Objective
        Without sparsity.
    start : MixtureParameters
        Where EM begins.
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM: it ends when by extrapolation less
        is left to gain.
    worth : float
        The mean log-likelihood that a component has to gain for who looks for the best
        of the mixtures. Of many components, most of those that gain less are merged at
        once then, and mixtures with numbers in between are left out; 0 gives all.
    """
    search = Search(objective, settings)
    chain = [objective.evaluate(objective.hold(start) or start)]
    if worth > 0:
        chain = [(yield from thin_out(objective, chain[0], worth, settings))]
    while True:
        search.settle(chain, settings.tol)
        state = objective.renewed(chain[-1]) or chain[-1]
        yield state
        position = position_of(objective, state)
        if position.local:
            merged = yield from _merge_some(search, position)
        else:
            merged = _merged(search, position)
        if merged is None:
            return
        chain = merged.on_all_samples()


def _merge_some(
    search: Search, position: Position
) -> Generator[State, None, Position | None]:
    """Yield mixtures that mergers of few of many components lead to, but the last."""
    for n_left in reversed(range(position.state.n_components // _STRETCH)):
        merged = _merged(search, position)
        if merged is None:
            return None
        position = merged.settled(search.settings.tol, _LONGEST)
        if n_left > 0:
            yield position.state
    return position


def _merged(search: Search, position: Position) -> Position | None:
    """Return what the best merger of two components leads to; None if all collapse."""
    pairs, changes = ranked_pairs(position)
    if position.local:
        pairs = _rivals(pairs, changes)
    moves = [Move(merge, tuple(pair)) for pair in pairs[:_N_CANDIDATES].tolist()]
    n_steps = _TRIAL_STEPS if len(moves) > 1 or not position.local else 0
    trials = search.trials(position, moves, n_steps=n_steps)
    return min(trials, key=lambda trial: trial.cost, default=None)


def _rivals(pairs: Tensor, changes: Tensor) -> Tensor:
    """Return the best pair, and those not much worse that have a component of it.

    Pairs that have none in common can both be merged, one after the other.
    """
    common = (pairs[:, :, None] == pairs[:1]).any(2).any(1)
    return pairs[common & (changes <= _RIVAL * changes[0].clamp_min(0.0))]


def refine(
    objective: Objective,
    state: State,
    settings: SolverSettings,
    target: float = math.inf,
) -> State:
    """Return where a mixture converges, under targets that hardly move any more.

    Parameters
    ----------
    objective : Objective
    state : State
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM.
    target : float
        A cost. A mixture that is not going to reach it is left where that shows.
    """
    search = Search(objective, settings)
    chain = [state]
    for _ in range(_RENEWALS):
        converged = search.settle(chain, settings.tol, target)
        following = objective.renewed(chain[-1]) if converged else None
        if following is None:
            break
        chain = [following]
    return chain[-1]
