"""Online EM: running moments, and a step towards those of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data import Data, to_numpy
from sklearn_keops_gmm._fit._moments import about
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._fit._run import FitProblem, build_problem
from sklearn_keops_gmm._model import (
    GaussianMixtureModel,
    MixtureParameters,
    Moments,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# The masses of the running moments sum to this: beside it the mass floor is nothing.
_TOTAL = 2.0**20


class Running(NamedTuple):
    """The memory of online EM: running moments, held as the mixture that they made.

    Attributes
    ----------
    parameters : MixtureParameters
    mass : Tensor of shape (M,), float64
        Up to a factor.
    own : Moments or None
        The running moments themselves, about the means and up to a factor, where the
        mixture does not tell them: its covariances are pulled elsewhere.
    noise : float
        The mass of noise, up to the same factor.
    """

    parameters: MixtureParameters
    mass: Tensor
    own: Moments | None = None
    noise: float = 0.0

    def moments(
        self, covariance: CovarianceStructure, ridge: Tensor | float
    ) -> Moments:
        """Return the running moments, about the means: their M-step changes nothing.

        Their masses, with that of noise, sum to a million.
        """
        factor = _TOTAL / (float(self.mass.sum()) + self.noise)
        if self.own is not None:
            return replace(self.own, noise=self.noise).scaled(factor)
        means, factors = self.parameters.means, self.parameters.precisions_cholesky
        mass = self.mass * factor
        # Of factors, as a covariance rounded to float32 need not be definite.
        roots = covariance.roots(factors, means)
        axes = torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        ridges = torch.as_tensor(ridge, dtype=torch.float64).to(means).expand(len(axes))
        # A covariance is the sum of the outer products of its root's columns.
        second = sum(
            covariance.outer(roots[:, :, d])
            - ridges[d] * covariance.outer(axes[d : d + 1])
            for d in range(len(axes))
        )
        assert isinstance(second, Tensor)
        second = mass.reshape(-1, *[1] * (second.ndim - 1)) * second
        return Moments(
            mass,
            torch.zeros_like(means),
            covariance.pool(second),
            0.0,
            noise=factor * self.noise,
        )

    def stepped(
        self, batch: Moments, objective: MixtureObjective, rate: float
    ) -> Running:
        """Return the memory after a step of this `rate` towards the moments of a batch.

        Parameters
        ----------
        batch : Moments
            About the means of the parameters.
        objective : MixtureObjective
            That of the batch.
        rate : float
        """
        covariance, prior = objective.covariance, objective.prior
        old = self.moments(covariance, objective.ridge.amounts)
        share = rate * _TOTAL / objective.total_weight
        moments = old.scaled(1 - rate) + batch.scaled(share)
        # The running moments end in no maximum: components leave by their weights only.
        objective = replace(objective, rounding=None)
        held = objective.with_targets(self.parameters, moments)
        parameters = objective.m_step(moments, held or self.parameters)
        fractions = moments.mass / _TOTAL
        alive = prior.alive(prior.maximize_weights(fractions, self.parameters.weights))
        # What dies would take very many batches to fade away.
        lasting = objective.survivors(parameters)
        if not bool(lasting.all()):
            parameters = objective.without(parameters, ~lasting)
        kept = alive.clone()
        kept[alive] = lasting
        own = None
        if held is not None:
            old_means = self.parameters.means[kept]
            own = covariance.select_moments(moments, kept)
            own = about(own, old_means - parameters.means, covariance)
        return Running(parameters, fractions[kept], own, moments.noise / _TOTAL)


def online_step(
    mixture: Any, data: Data, model: GaussianMixtureModel
) -> dict[str, Any]:
    """Return the attributes that a mixture has after a step towards a batch.

    Parameters
    ----------
    mixture : estimator
        Fitted; its memory is of earlier steps.
    data : Data
        The batch.
    model : GaussianMixtureModel
        The mixture as it is. Its noise keeps its density, whatever box the batch has.
    """
    parameters, noise = model.parameters.to(data.points.device), model.noise
    memory: dict[str, Any] = vars(mixture).get("_memory", {})
    n_before = memory.get("n_samples", 0.0)
    task = build_problem(mixture, data, n_before, noise)
    n_steps = memory.get("n_steps", 0) + 1
    state = task.objective.evaluate(parameters)
    rate = (n_steps + mixture.learning_offset) ** -mixture.learning_decay
    running = recalled(memory, mixture.weights_, parameters)
    running = running.stepped(state.moments, task.objective, rate)
    found = task.attributes(data, running.parameters)
    past = n_steps > 1
    bounds, costs = (mixture.lower_bounds_, mixture.costs_) if past else ([], [])
    kept: dict[str, Any] = {"n_steps": n_steps, "mass": running.mass.cpu().numpy()}
    if running.noise > 0.0:
        kept["noise"] = running.noise
    if running.own is not None:
        own = remembered(
            running.own, running.parameters, found["means_"], task, n_before
        )
        kept = own | {"n_steps": n_steps}
    return found | {
        "lower_bounds_": [*bounds, state.log_likelihood],
        "costs_": [*costs, state.cost],
        "lower_bound_": state.log_likelihood,
        "cost_": state.cost,
        "n_iter_": n_steps,
        "converged_": False,
        "_memory": kept,
    }


def remembered(
    moments: Moments,
    parameters: MixtureParameters,
    means: np.ndarray,
    task: FitProblem,
    n_before: float = 0.0,
) -> dict[str, Any]:
    """Return moments as arrays to keep for steps to come.

    The covariances do not tell them where they are pooled, and a step that took them
    for such would pool them again.

    Parameters
    ----------
    moments : Moments
        About the means of the parameters.
    parameters : MixtureParameters
    means : array-like of shape (M, D)
        The same, rounded: about these are those that are kept.
    task : FitProblem
    n_before : float, default=0.0
        The number of samples of earlier steps.
    """
    rounded = torch.tensor(to_numpy(means)).to(parameters.means)
    shift = parameters.means - rounded
    moments = about(moments, shift, task.objective.covariance)
    moments = moments.scaled(1.0 / (float(moments.mass.sum()) + moments.noise))
    noise = {"noise": moments.noise} if moments.noise > 0.0 else {}
    return noise | {
        "n_steps": 0,
        "n_samples": n_before + task.sample_size,
        "mass": moments.mass.cpu().numpy(),
        "first": moments.first.cpu().numpy(),
        "second": moments.second.cpu().numpy(),
    }


def recalled(
    memory: dict[str, Any], weights: np.ndarray, parameters: MixtureParameters
) -> Running:
    """Return the running moments that a step starts from.

    Parameters
    ----------
    memory : dict
        What an earlier step or a fit has kept, if there was one.
    weights : array-like of shape (M,)
        Of the mixture as it is now.
    parameters : MixtureParameters
    """

    def held(array: Any) -> Tensor:
        return torch.tensor(to_numpy(array)).to(parameters.means)

    # With a prior the weights are not the masses that they were made of.
    mass = held(memory.get("mass", weights))
    noise = memory.get("noise", parameters.noise_weight)
    if "second" not in memory:
        return Running(parameters, mass, noise=noise)
    own = Moments(mass, held(memory["first"]), held(memory["second"]), 0.0)
    return Running(parameters, mass, own, noise)
