"""Mergers that are made on the samples of the components that they touch."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_keops_gmm._model import State
from sklearn_keops_gmm.solvers._descent import advance, settle
from sklearn_keops_gmm.solvers._protocol import Field, Part, SolverSettings

# Of so many mergers, the best by their estimates, another one of the same component is
# tried besides the best, if it may lose at most so many times as much.
_N_RIVALS, _RIVAL = 8, 2.0
# So many EM steps show what a merger promises.
_TRIAL_STEPS = 2
# What is merged settles with so many neighbours, for so many steps at most.
_N_NEIGHBOURS, _LONGEST = 6, 3
# Neighbours overlap: their merger would lose at most so much for each of their samples.
_NEAR = 0.8


def merge_best(field: Field, settings: SolverSettings) -> Field | None:
    """Return the mixture with two components merged, those that lose least.

    What they become settles together with its neighbours while all others are held.
    None where the mergers collapse.
    """
    pairs, losses, decreases = field.merger_estimates()
    changes = losses - decreases
    candidates = _rivals(pairs, changes)
    n_steps = _TRIAL_STEPS if len(candidates) > 1 else 0
    trials = []
    for pair in candidates:
        part = field.part(_with_neighbours(pair, pairs, losses, field.state))
        try:
            trials.append((part, _trial(part, n_steps)))
        except ValueError:
            continue
    if not trials:
        return None
    part, chain = min(trials, key=lambda trial: trial[1][-1].cost)
    try:
        settle(part.objective, chain, settings.tol, _LONGEST)
    except ValueError:
        pass
    return field.replaced(part, chain[-1])


def _rivals(pairs: Tensor, changes: Tensor) -> Tensor:
    """Return the best pair by its estimate, and one that excludes it, if it has any.

    Pairs that have no component in common can both be merged, one after the other.
    """
    n_best = min(_N_RIVALS, len(changes))
    values, order = changes.topk(n_best, largest=False)
    best = pairs[order]
    common = (best[:, :, None] == best[0]).any(2).any(1)
    rivals = (common & (values <= _RIVAL * values[0].clamp_min(0.0))).nonzero()[:, 0]
    return best[rivals[:2]] if len(rivals) > 1 else best[:1]


def _with_neighbours(
    pair: Tensor, pairs: Tensor, losses: Tensor, state: State
) -> Tensor:
    """Return two components and those that overlap them: (K,)."""
    weights = state.parameters.weights
    touching = (pairs[:, :, None] == pair).any(2).any(1)
    near, losses = pairs[touching], losses[touching] / weights[pairs[touching]].sum(1)
    n_near = min(2 * _N_NEIGHBOURS, len(near))
    values, order = losses.topk(n_near, largest=False)
    found = near[order][values < _NEAR].flatten()
    others = dict.fromkeys(found.tolist())
    for j in pair.tolist():
        others.pop(j, None)
    chosen = [*pair.tolist(), *list(others)[:_N_NEIGHBOURS]]
    return torch.tensor(chosen, dtype=torch.int64, device=pair.device)


def _trial(part: Part, n_steps: int) -> list[State]:
    """Return the first steps of a part whose first two components are one.

    Raises ValueError if that collapses.
    """
    objective = part.objective
    both = torch.tensor([[0, 1]], device=part.state.parameters.means.device)
    merged = objective.edits.merged(part.state, both)
    chain = [objective.evaluate(merged)]
    for _ in range(n_steps):
        chain.append(advance(objective, chain[-1]))
    return chain
