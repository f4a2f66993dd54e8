"""Online EM: a mixture that learns from one batch after another."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from sklearn_keops_gmm._arrays import to_numpy
from sklearn_keops_gmm._conditioning import ConditionalMixture
from sklearn_keops_gmm._covariances import CovarianceStructure
from sklearn_keops_gmm._fitting import Data, pose
from sklearn_keops_gmm._holding import read
from sklearn_keops_gmm._objective import Objective
from sklearn_keops_gmm._openmp import single_thread
from sklearn_keops_gmm._parameters import MixtureParameters, Moments
from sklearn_keops_gmm._validation import all_or_nothing
from sklearn_keops_gmm.solvers import evaluate

# The masses of the running moments sum to this: beside it the specks of mass that
# guard components of a single sample are nothing.
_TOTAL = 2.0**20


def _has_steps(mixture: Any) -> bool:
    """Tell that a mixture's solver is EM, or raise AttributeError."""
    if mixture.solver != "em":
        raise AttributeError(
            "partial_fit makes steps of online EM: it needs solver='em', but got "
            f"solver={mixture.solver!r}."
        )
    return True


class OnlineMixture(ConditionalMixture):
    """The method that goes on from batch to batch."""

    n_components: int
    sparsity: float
    solver: str
    prior: Any
    reg_covar: float
    learning_decay: float
    learning_offset: float
    n_iter_: int
    costs_: list[float]
    lower_bounds_: list[float]

    @available_if(_has_steps)
    @_fit_context(prefer_skip_nested_validation=True)
    @single_thread()
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from one batch of samples: a step of online EM.

        The first call fits the mixture to its batch, as `fit` does, with `moves` and
        `acceleration`; so it needs `n_components` samples, and better many more. Each
        call after that, or after `fit`, makes a step: the running moments move
        towards those of the batch by ``(t + learning_offset) ** -learning_decay`` of
        the way, t counting the steps from 1, and an M-step follows, with `sparsity`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            One batch, in no particular order: shuffle what is sorted.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples beside the others of the batch. A batch is one
            step, however many samples it has.

        Returns
        -------
        self : KeOpsGaussianMixture
            After a step `n_iter_` counts the steps, `lower_bounds_` and `costs_` hold
            the mean log-likelihood and the cost of each one's batch before it, `cost_`
            is the last of these, and `converged_` is False.

        Raises
        ------
        ValueError
            If `X` is unusable or has other features than before, or if there is a
            `prior`.
        AttributeError
            If `solver` is not 'em'.

        Notes
        -----
        The algorithm is that of Cappé and Moulines, "On-line expectation-maximization
        algorithm for latent data models", Journal of the Royal Statistical Society B
        71 (2009), on batches.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> mixture = KeOpsGaussianMixture(n_components=2, random_state=0)
        >>> for _ in range(50):
        ...     batch = rng.normal(size=(100, 1)) + rng.choice([-5, 5], size=(100, 1))
        ...     mixture = mixture.partial_fit(batch)
        >>> np.sort(mixture.means_.ravel()).round()
        array([-5.,  5.])
        """
        if not hasattr(self, "means_"):
            return self.fit(X, sample_weight=sample_weight)
        with all_or_nothing(self):
            self._learn(read(self, X, sample_weight, fewest=1, reset=False))
        return self

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the mixture; how is for heirs to say."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Begin to count the steps anew."""
        self.__dict__.pop("_memory", None)

    def _learn(self, data: Data) -> None:
        """Make a step, and set the attributes."""
        device = data.points.device
        parameters = self._fitted_parameters().to(device)
        objective = pose(self, data).objective
        memory: dict[str, Any] = self.__dict__.get("_memory", {})
        n_steps = memory.get("n_steps", 0) + 1
        # With a prior the weights are not the masses that they were made of.
        mass = to_numpy(memory.get("mass", self.weights_))
        running = Running(
            parameters, torch.tensor(mass, dtype=torch.float64, device=device)
        )
        state = evaluate(objective, parameters)
        rate = (n_steps + self.learning_offset) ** -self.learning_decay
        running = running.stepped(state.moments, objective, rate)
        self.__dict__.update(
            self._attributes(running.parameters, data.kind, data.points.dtype)
        )
        past = n_steps > 1
        bounds, costs = (self.lower_bounds_, self.costs_) if past else ([], [])
        self.lower_bounds_ = [*bounds, state.log_likelihood]
        self.costs_ = [*costs, state.cost]
        self.lower_bound_, self.cost_ = state.log_likelihood, state.cost
        self.n_iter_, self.converged_ = n_steps, False
        self._memory = {"n_steps": n_steps, "mass": running.mass.cpu().numpy()}


class Running(NamedTuple):
    """What online EM remembers: running moments, as the mixture that they made.

    Attributes
    ----------
    parameters : MixtureParameters
    mass : Tensor of shape (M,), float64
        Up to a factor.
    """

    parameters: MixtureParameters
    mass: Tensor

    def moments(self, covariance: CovarianceStructure, reg_covar: float) -> Moments:
        """Return the running moments, about the means: their M-step changes nothing.

        Their masses sum to a million.
        """
        means, factors = self.parameters.means, self.parameters.precisions_cholesky
        mass = self.mass * (_TOTAL / self.mass.sum())
        # Of factors, as a covariance rounded to float32 need not be definite.
        roots = covariance.roots(factors, means)
        axes = torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        # A covariance is the sum of the outer products of its root's columns.
        second = sum(
            covariance.outer(roots[:, :, d])
            - reg_covar * covariance.outer(axes[d : d + 1])
            for d in range(len(axes))
        )
        assert isinstance(second, Tensor)
        second = mass.reshape(-1, *[1] * (second.ndim - 1)) * second
        return Moments(mass, torch.zeros_like(means), covariance.pool(second), 0.0)

    def stepped(self, batch: Moments, objective: Objective, rate: float) -> Running:
        """Return the memory after a step of this `rate` towards the moments of a batch.

        Parameters
        ----------
        batch : Moments
            About the means of the parameters.
        objective : Objective
            That of the batch.
        rate : float
        """
        covariance, prior = objective.covariance, objective.prior
        old = self.moments(covariance, objective.reg_covar)
        share = rate * _TOTAL / objective.total_weight
        moments = old.scaled(1 - rate) + batch.scaled(share)
        parameters = objective.maximize(moments, self.parameters)
        fractions = moments.mass / _TOTAL
        alive = prior.alive(prior.maximize(fractions, self.parameters.weights))
        # What dies would take very many batches to fade away.
        lasting = objective.survivors(parameters)
        if not bool(lasting.all()):
            parameters = objective.without(parameters, ~lasting)
        return Running(parameters, fractions[alive][lasting])
