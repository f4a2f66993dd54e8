"""The weighted likelihood bootstrap: fits to the same samples, weighted anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._run import build_problem
from sklearn_keops_gmm._model import (
    BootstrapResult,
    GaussianMixtureModel,
    LazyParameters,
    matched,
    noise_weights_of,
)
from sklearn_keops_gmm.backends import single_thread
from sklearn_keops_gmm.solvers import SolverSettings, em, holding, refine

# A fit to a resample has converged when so many nats in total are left to gain: warm
# starts that stop when a mean changes little stay near the estimate, and understate
# errors.
_NATS = 0.01
_MAX_ITER = 5000
# Extrapolation ends where a step gains this part of that.
_STEP = 0.1

Resample = tuple[np.ndarray, np.ndarray, np.ndarray] | None


def bootstrap(
    settings: Any,
    data: Data,
    model: GaussianMixtureModel,
    n_resamples: int,
    random_state: np.random.RandomState,
    n_jobs: int | None,
) -> BootstrapResult:
    """Fit to resamples, from the estimate.

    Parameters
    ----------
    settings : estimator
        Without sparsity, and with as many components as the model.
    data : Data
    model : GaussianMixtureModel
        The estimate.
    n_resamples : int
    random_state : RandomState
    n_jobs : int or None
        As in joblib; the resamples do not depend on it.
    """
    seeds = random_state.randint(np.iinfo(np.int32).max, size=n_resamples)
    n_parts = min(n_resamples, 4 * effective_n_jobs(n_jobs))
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_some)(settings, data, model, some)
        for some in np.array_split(seeds, n_parts)
    )
    found = [one for part in parts for one in part if one is not None]
    if len(found) < 2:
        raise ValueError(
            f"Of {n_resamples} resamples {len(found)} could be fitted: components "
            "collapse. Use fewer components, or increase reg_covar."
        )
    weights, means, covariances = map(np.stack, zip(*found, strict=True))
    return BootstrapResult(
        weights=weights,
        means=means,
        covariances=covariances,
        estimates=matched(model, model),
        n_failed=n_resamples - len(found),
        noise_weights=None if model.noise is None else noise_weights_of(weights),
    )


def _some(
    settings: Any, data: Data, model: GaussianMixtureModel, seeds: np.ndarray
) -> list[Resample]:
    with single_thread():
        return [_one(settings, data, model, int(seed)) for seed in seeds]


def _one(settings: Any, data: Data, model: GaussianMixtureModel, seed: int) -> Resample:
    """Return the parameters of one resample, None if a component has collapsed."""
    resampled = _reweighted(data, np.random.default_rng(seed))
    task = build_problem(settings, resampled, noise=model.noise)
    tol = _NATS / data.sample_size
    rule = SolverSettings(
        tol, _MAX_ITER, settings.learning_rate, acceleration="squarem"
    )
    start = model.parameters.to(data.points.device)
    try:
        # By extrapolation, for where components overlap; then until little is left.
        leaps = replace(rule, tol=_STEP * tol)
        result = holding(em)(task.objective, start, leaps, _let_go_on)
        state = refine(task.objective, task.objective.evaluate(result.parameters), rule)
    except ValueError:
        return None
    found = task.model(state.parameters).to(torch.device("cpu"))
    return matched(model, found) if found.n_components == model.n_components else None


def _let_go_on(
    n_iter: int, fall: float, parameters: LazyParameters, done: bool
) -> bool:
    """Receive an iteration, and stop nothing."""
    return False


def _reweighted(data: Data, rng: np.random.Generator) -> Data:
    """Return the same samples with weights as of a Bayesian bootstrap.

    One of weight v gets a weight of mean and variance v: as v rows would, whose weights
    are exponential. Their sum stays.
    """
    weights = data.sample_weight
    if weights is None:
        drawn = rng.standard_exponential(len(data.points))
    else:
        unit = data.sample_size / data.total_weight
        drawn = rng.standard_gamma(unit * weights.double().cpu().numpy())
    drawn *= data.total_weight / drawn.sum()
    # Some of tiny weight may get none.
    drawn = np.maximum(drawn, np.finfo(np.float32).tiny)
    found = torch.from_numpy(drawn).to(data.points)
    return replace(data, sample_weight=found)
