"""A prior as a package of one's own may add it."""

from sklearn_keops_gmm._model import Prior


class DirichletPrior(Prior):
    """``-strength sum_j log W_j``: no component dies, and weights grow alike.

    The mode under a Dirichlet distribution with concentration 1 + strength times the
    number of samples.

    Parameters
    ----------
    strength : float
        How much mass each component is given, as a fraction of that of the samples.
    """

    def __init__(self, strength):
        self.strength = strength

    def value(self, unknowns):
        """Return the term of the cost, for torch to differentiate."""
        return -self.strength * unknowns.weights.log().sum()

    def maximize_weights(self, fractions, weights, share=1.0):
        """Return the weights that EM makes of mass fractions."""
        weights = fractions + self.strength
        return share * weights / weights.sum()
