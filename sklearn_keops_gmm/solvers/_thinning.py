"""Many components that become fewer, many at once, before each merger is chosen.

A path that begins with several times as many components as are needed takes most of its
time where nobody looks for an answer. There the pairs that lose least are merged all at
once, and a few EM steps on all samples show what that has lost. While it is far less
than components are worth, so many were not needed.
"""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor

from sklearn_keops_gmm._model import State
from sklearn_keops_gmm.solvers._descent import settle_or_stay
from sklearn_keops_gmm.solvers._moves import disjoint_pairs, ranked_pairs
from sklearn_keops_gmm.solvers._positions import WholePosition
from sklearn_keops_gmm.solvers._protocol import Objective, SolverSettings

# Of so many components each merger is chosen by itself.
_FEW = 32
# At most this part of all is merged at once, and so many at least.
_PART, _FEWEST = 1 / 3, 4
# So many EM steps show what is lost, and so many are made before the first mergers.
_N_STEPS, _N_FIRST_STEPS = 3, 4
# At most this part of what the components were worth may be lost. Those that are not
# needed fit what is random: by theory each gains half a nat for each of its parameters,
# a quarter to a third of its price.
_PART_LOST = 0.5
# Pairs wait that by their estimates lose more than a component is worth, and so many
# times as much as a pair that is among the best: that with this rank, as a part of the
# number of components.
_TIMES, _AMONG_THE_BEST = 2.0, 1 / 4


def thin_out(
    objective: Objective, state: State, worth: float, settings: SolverSettings
) -> Generator[State, None, State]:
    """Yield mixtures of fewer and fewer components, and return one of the last.

    Those that are left out lie between two of which the second is better.

    Parameters
    ----------
    objective : Objective
    state : State
        Of a start.
    worth : float
        The mean log-likelihood that a component has to gain to be needed.
    settings : SolverSettings
        `tol` and `max_iter` of each stretch of EM.
    """
    if state.n_components <= _FEW:
        return state
    state = _after_steps(objective, [state], settings, _N_FIRST_STEPS)
    before = None
    while state.n_components > _FEW:
        pairs = _cheap_pairs(objective, state, worth)
        pairs = pairs[: int(_PART * state.n_components)]
        if len(pairs) < _FEWEST:
            break
        merged = _merged(objective, state, pairs, settings)
        if merged is None or _lost(state, merged) > _PART_LOST * worth * len(pairs):
            break
        if before is not None:
            yield before
        before, state = state, merged
    # The last mergers may hide a few among many that should not have been made.
    return before or state


def _cheap_pairs(objective: Objective, state: State, worth: float) -> Tensor:
    """Return the pairs, (P, 2), that may be merged at once, best first."""
    pairs, changes = ranked_pairs(WholePosition(objective, [state]))
    usual = float(changes[int(_AMONG_THE_BEST * state.n_components)])
    most = max(worth, _TIMES * usual)
    return disjoint_pairs(pairs[changes <= most])


def _merged(
    objective: Objective, state: State, pairs: Tensor, settings: SolverSettings
) -> State | None:
    """Return what mergers and some EM steps lead to; None if components collapse."""
    try:
        merged = objective.evaluate(objective.edits.merged(state, pairs))
    except ValueError:
        return None
    return _after_steps(objective, [merged], settings, _N_STEPS)


def _after_steps(
    objective: Objective, chain: list[State], settings: SolverSettings, n_steps: int
) -> State:
    """Return where EM leads, with targets that are those of the data there."""
    n_steps = min(n_steps, settings.max_iter)
    settle_or_stay(objective, chain, settings.tol, n_steps)
    return objective.renewed(chain[-1]) or chain[-1]


def _lost(before: State, after: State) -> float:
    """Return the mean log-likelihood that is lost from one state to another."""
    return before.log_likelihood - after.log_likelihood
