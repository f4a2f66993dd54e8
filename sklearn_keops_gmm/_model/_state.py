"""What an E-step leaves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from sklearn_keops_gmm._model._mixture_edits import neighbouring_pairs
from sklearn_keops_gmm._model._parameters import MixtureParameters, Moments


@dataclass(frozen=True)
class State:
    """A mixture with its moments: what an E-step leaves.

    Attributes
    ----------
    parameters : MixtureParameters
    moments : Moments
        About its means.
    log_likelihood : float
        The mean log-likelihood.
    penalty : float
        The term of the cost that does not depend on the data.
    """

    parameters: MixtureParameters
    moments: Moments
    log_likelihood: float
    penalty: float

    @property
    def n_components(self) -> int:
        """The number of components alive."""
        return len(self.parameters.weights)

    @cached_property
    def neighbours(self) -> Tensor:
        """Pairs of components whose means are close to each other, (P, 2)."""
        return neighbouring_pairs(self.parameters.means)

    @property
    def cost(self) -> float:
        """The penalised cost."""
        return self.penalty - self.log_likelihood
