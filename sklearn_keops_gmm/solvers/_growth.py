"""From one component to many: a start that no random number has a part in."""

from __future__ import annotations

from dataclasses import replace

from sklearn_keops_gmm._model import MixtureParameters, State
from sklearn_keops_gmm.solvers._descent import advance
from sklearn_keops_gmm.solvers._protocol import Uncharged

# So many EM steps follow each time that all components, or the heaviest, were split.
_STEPS = 2


def grown(uncharged: Uncharged, state: State, n_components: int) -> MixtureParameters:
    """Return a mixture that is grown from one component by splitting the heaviest.

    That is how vector quantisers are made (Linde, Buzo and Gray, "An algorithm for
    vector quantizer design", IEEE Transactions on Communications 28, 1980). It depends
    on the data alone, not on a seed.

    Parameters
    ----------
    uncharged : Uncharged
    state : State
        Any mixture on the same data.
    n_components : int
        There are fewer where some would collapse.

    Raises
    ------
    ValueError
        If a single component has no finite cost.
    """
    objective = uncharged.objective
    state = objective.evaluate(uncharged.single(state))
    while (n_split := min(state.n_components, n_components - state.n_components)) > 0:
        parameters = state.parameters
        heaviest = parameters.weights.argsort(descending=True, stable=True)
        try:
            for j in heaviest[:n_split].tolist():
                parameters = objective.edits.split(parameters, j)
            following = objective.evaluate(parameters)
            for _ in range(_STEPS):
                following = advance(objective, following)
        except ValueError:  # a component has collapsed
            break
        state = following
    return replace(state.parameters, targets=None)
