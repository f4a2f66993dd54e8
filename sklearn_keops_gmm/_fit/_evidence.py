"""What criteria need to know of mixtures of some samples."""

from __future__ import annotations

from dataclasses import replace

from sklearn_keops_gmm._fit._free_features import n_free_features
from sklearn_keops_gmm._fit._run import FitProblem
from sklearn_keops_gmm._model import Evidence, State


class EvidenceOfSamples:
    """The evidence for mixtures of the samples of a problem.

    Parameters
    ----------
    task : FitProblem
    """

    def __init__(self, task: FitProblem) -> None:
        self.task = task
        self.n_free_features = n_free_features(task.problem, task.ridge)

    def of(self, state: State) -> Evidence:
        """Return the evidence for a mixture."""
        objective = self.task.objective
        # In the unit of the samples, whatever that of their weights is.
        unit = objective.samples_a_weight
        at_values = self._at_values(state)
        return replace(
            self.none(state.n_components),
            log_likelihood=unit * at_values,
            entropy=unit * objective.entropy(state.moments, state.parameters),
            rounding=unit * (at_values - state.moments.log_likelihood),
        )

    def none(self, n_components: int) -> Evidence:
        """Return what is known of a mixture before its likelihood."""
        problem, n_free = self.task.problem, self.n_free_features
        of_one, of_two = (problem.covariance.n_parameters(k, n_free) for k in (1, 2))
        return Evidence(
            n_samples=self.task.sample_size,
            log_likelihood=0.0,
            entropy=0.0,
            n_components=n_components,
            n_own=of_two - of_one + n_free,
            n_shared=2 * of_one - of_two,
            n_noise=int(problem.noise is not None),
        )

    def _at_values(self, state: State) -> float:
        """Return the log-likelihood of values as they are, over all samples."""
        objective = self.task.objective
        if objective.rounded is None:
            return state.moments.log_likelihood
        at_values = replace(objective, rounded=None)
        return at_values.moments(state.parameters).log_likelihood
