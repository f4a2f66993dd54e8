"""The steps of a fit: state the problem, and solve it from its starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_keops_gmm._data import (
    Data,
    attributes_of,
    resolve_init_size,
)
from sklearn_keops_gmm._fit._callbacks import FitTasks
from sklearn_keops_gmm._fit._filling import filled
from sklearn_keops_gmm._fit._frozen import check_frozen_start
from sklearn_keops_gmm._fit._groups import Groups
from sklearn_keops_gmm._fit._initialization import initialize
from sklearn_keops_gmm._fit._merged_start import merged_start
from sklearn_keops_gmm._fit._noise import with_noise
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._priors import priors_of
from sklearn_keops_gmm._fit._regularization import find_ridge, pooled_covariances
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._seedless_start import is_seedless, seedless_start
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._fit._supported import check_solver
from sklearn_keops_gmm._fit._truncated_start import truncated_start
from sklearn_keops_gmm._fit._truncation import check_in_memory, truncated
from sklearn_keops_gmm._fit._user_start import check_start
from sklearn_keops_gmm._fit._verbose import Reporter, SparseReporter
from sklearn_keops_gmm._fit._warm_start import WarmStart
from sklearn_keops_gmm._model import (
    Frame,
    GaussianMixtureModel,
    LazyParameters,
    MixtureParameters,
    Prior,
    PriorFunction,
    Rounding,
    SolverResult,
    State,
    UniformNoise,
    weak_components,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure, make_covariance
from sklearn_keops_gmm.backends import (
    choose_backend,
    compiled_m_step,
    get_backend,
    sparse_weights_by,
)
from sklearn_keops_gmm.solvers import (
    SOLVERS,
    SolverSettings,
    holding,
)


class Parameters(Protocol):
    """The estimator's parameters that a fit depends on."""

    n_components: int
    covariance_type: str
    sparsity: float
    prior: PriorFunction | Prior | None
    solver: str
    tol: float
    reg_covar: float | str
    covariance_pooling: float | str
    max_iter: int
    n_init: int
    init_params: str
    init_size: str | int | None
    weights_init: ArrayLike | None
    means_init: ArrayLike | None
    precisions_init: ArrayLike | None
    noise: str | None
    noise_volume: float | None
    frozen: Any
    learning_rate: float
    batch_size: int | None
    moves: bool | str
    acceleration: str | None
    truncation: int | None
    backend: str
    device: str | torch.device
    random_state: int | np.random.RandomState | None
    verbose: int
    verbose_interval: int


@dataclass(frozen=True)
class FitProblem:
    """What is to be solved.

    Attributes
    ----------
    problem : StartData
        What starts see.
    objective : MixtureObjective
        What solvers see.
    sample_size : float
        How many samples of weight 1 say as much as all.
    pooling : float
        The pseudo-samples of the covariances' prior; 0 if there is none.
    """

    problem: StartData
    objective: MixtureObjective
    sample_size: float
    pooling: float

    def model(self, parameters: MixtureParameters) -> GaussianMixtureModel:
        """Return the model that has some parameters."""
        problem = self.problem
        return GaussianMixtureModel(parameters, problem.covariance, problem.noise)

    def attributes(self, data: Data, parameters: MixtureParameters) -> dict[str, Any]:
        """Return the attributes of a mixture that was fitted to `data`."""
        kind, dtype = data.kind, data.points.dtype
        return attributes_of(self.model(parameters), kind, dtype) | {
            "reg_covar_": kind.wrap(self.ridge, dtype),
            "covariance_pooling_": self.pooling,
        }

    def standardised(self) -> FitProblem:
        """Return the problem whose starts do not depend on the units of features."""
        variances = Sample.of(self.problem).positive_variances()
        spreads = torch.from_numpy(np.sqrt(variances)).to(self.problem.centre)
        return replace(self, problem=replace(self.problem, spreads=spreads))

    @property
    def ridge(self) -> Tensor:
        """What is added to the variance of each feature, (D,)."""
        ridge = self.objective.ridge.array(self.problem.points.shape[1])
        return torch.from_numpy(ridge)

    def weak_components(self, state: State) -> list[int]:
        """Return the components that the data say too little about."""
        counts = state.moments.mass * self.objective.samples_a_weight
        return weak_components(self.model(state.parameters), self.ridge, counts)


def build_problem(
    mixture: Parameters,
    data: Data,
    n_before: float = 0.0,
    noise: UniformNoise | None = None,
) -> FitProblem:
    """Bind the data to a backend and a cost.

    Parameters
    ----------
    mixture : estimator
    data : Data
    n_before : float, default=0.0
        How many samples were seen before: they too outweigh what pools covariances.
    noise : UniformNoise, default=None
        That of a fit before; None for that of the data, if a user expects some.
    """
    points, frame, size = data.points, data.frame(), data.sample_size
    covariance = make_covariance(mixture.covariance_type)
    check_solver(covariance, mixture.solver, mixture.acceleration)
    name = choose_backend(mixture.backend, points.device, covariance.structure)
    pooled = mixture.covariance_pooling
    problem = _start_data(mixture, data, frame, covariance)
    ridge = find_ridge(mixture.reg_covar, problem, lattice=pooled != 0)
    problem = with_noise(problem, noise, mixture, data, ridge)
    pooling = pooled_covariances(covariance, pooled, n_before + size, points.shape[1])
    backend = get_backend(name)
    reductions = data.bind(
        truncated(mixture, data, name, backend), frame, problem.noise
    )
    check_in_memory(mixture, reductions)
    objective = MixtureObjective(
        reductions,
        data.total_weight,
        covariance,
        mixture.n_components,
        priors_of(mixture, covariance, pooling, sparse_weights_by(backend)),
        ridge,
        Rounding(frame.centre, points.dtype),
        compiled=compiled_m_step(backend, covariance),
        groups=Groups(problem) if reductions.in_memory else None,
        samples_a_weight=size / data.total_weight,
    )
    pseudo_samples = 0.0 if pooling is None else pooling.pseudo_samples
    return FitProblem(problem, objective, size, pseudo_samples)


def _start_data(
    mixture: Parameters, data: Data, frame: Frame, covariance: CovarianceStructure
) -> StartData:
    """Return what starts see, if none of the samples are noise."""
    n_components = mixture.n_components
    return StartData(
        data.points,
        data.sample_weight,
        data.extent,
        frame,
        n_components,
        covariance,
        resolve_init_size(mixture.init_size, len(data.points), n_components),
        component_labels=data.component_labels,
    )


def _acceleration(mixture: Parameters) -> str | None:
    """Return the acceleration of EM, if that is the solver."""
    if mixture.acceleration is not None and mixture.solver != "em":
        raise ValueError(
            f"acceleration={mixture.acceleration!r} is for solver='em', but got "
            f"solver={mixture.solver!r}. Use acceleration=None."
        )
    return mixture.acceleration


def makes_moves(mixture: Parameters) -> bool:
    """Return whether EM is followed by moves, whose sum max_iter does not bound."""
    wanted = mixture.sparsity > 0 if mixture.moves == "auto" else mixture.moves
    return bool(wanted) and mixture.solver == "em" and mixture.max_iter > 0


def starting_point(
    mixture: Parameters, task: FitProblem, random_state: np.random.RandomState
) -> MixtureParameters:
    """Return the parameters that a solver starts from: the user's, or found."""
    problem = task.problem
    user = check_start(
        mixture.weights_init,
        mixture.means_init,
        mixture.precisions_init,
        problem.covariance,
        problem.n_components,
        problem.points.shape[1],
    )
    init_params = mixture.init_params
    if init_params == "merge":
        swaps = makes_moves(mixture) and not task.objective.prior.selects
        found = merged_start(task, random_state, thorough=swaps)
        user, init_params = user.completed(found, problem.covariance), "kmeans"
    ridge, compiled = task.objective.ridge, task.objective.compiled
    given = (user.weights, user.means, user.precisions)
    searched = mixture.truncation is not None and init_params == "kmeans"
    if searched and any(array is None for array in given):
        seen = filled(problem, random_state)
        found = truncated_start(seen, ridge.amounts, random_state)
        user = user.completed(found, problem.covariance)
    start = initialize(problem, init_params, user, ridge, random_state, compiled)
    if mixture.sparsity == 0:
        return start
    # A prior on weights that do not sum to 1, as scikit-learn's can, would mislead.
    return start.normalised()


def solve(
    mixture: Parameters, task: FitProblem, past: WarmStart | None, tasks: FitTasks
) -> SolverResult:
    """Solve from each start and keep the lowest cost; or continue from the `past`."""
    random_state = check_random_state(mixture.random_state)
    reporter = _reporter(mixture, task.objective)
    settings = SolverSettings(
        mixture.tol,
        mixture.max_iter,
        mixture.learning_rate,
        acceleration=_acceleration(mixture),
        moves=makes_moves(mixture),
        previous_cost=np.inf if past is None else past.cost,
        nat=1.0 / task.sample_size,
        batch_size=mixture.batch_size,
        random_state=random_state,
    )

    def on_step(
        n_iter: int, fall: float, parameters: LazyParameters, done: bool
    ) -> bool:
        reporter.step(n_iter, fall, parameters)
        return tasks.iterate(parameters, done)

    descend = holding(SOLVERS[mixture.solver])
    best: SolverResult | None = None
    for i in range(mixture.n_init if past is None else 1):
        reporter.begin(i)
        start = _start(mixture, task, past, random_state, first=i == 0)
        reporter.started(len(start.weights))
        tasks.begin_start(start)
        result = descend(task.objective, start, settings, on_step)
        if mixture.max_iter > 0:
            reporter.end(result)
        if best is None or _is_lower(result, best, task.problem.points.dtype):
            best = result
        if tasks.end_start(result.parameters):
            break
    assert best is not None
    return best


def _start(
    mixture: Parameters,
    task: FitProblem,
    past: WarmStart | None,
    random_state: np.random.RandomState,
    *,
    first: bool,
) -> MixtureParameters:
    """Return where a start begins: at the past, or where one is found."""
    problem, objective = task.problem, task.objective
    moved = first and makes_moves(mixture)
    if past is not None:
        start = past.start(problem)
    elif moved and is_seedless(mixture, problem, objective.prior):
        start = seedless_start(problem, objective.ridge)
    else:
        start = starting_point(mixture, task, random_state)
    check_frozen_start(mixture, start, past is not None)
    return start


def history_of(result: SolverResult, cost: float) -> dict[str, Any]:
    """Return the attributes that tell of a fit, which has ended at a cost."""
    bounds = list(result.log_likelihoods)
    return {
        "converged_": result.converged,
        "n_iter_": len(result.costs),
        "costs_": list(result.costs),
        "cost_": cost,
        "lower_bounds_": bounds,
        "lower_bound_": bounds[-1] if bounds else -np.inf,
    }


def _reporter(mixture: Parameters, objective: MixtureObjective) -> Reporter:
    """Return what prints the progress: scikit-learn's lines where it has such a fit."""
    if mixture.sparsity == 0:
        return Reporter(mixture.verbose, mixture.verbose_interval)
    return SparseReporter(
        mixture.verbose,
        mixture.verbose_interval,
        makes_moves(mixture),
        mixture.tol,
        mixture.max_iter,
        objective.cost,
    )


def _is_lower(result: SolverResult, best: SolverResult, dtype: torch.dtype) -> bool:
    """Tell whether a start has ended lower than the best before, or took no step.

    By more than rounding: of starts that end in the same optimum the first is kept.
    """
    if not result.costs:
        return True
    cost, least = result.costs[-1], best.costs[-1]
    rounding = 4 * torch.finfo(dtype).eps * abs(least) if np.isfinite(least) else 0.0
    return cost < least - rounding
