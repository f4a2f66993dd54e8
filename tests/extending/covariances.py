"""Covariance types as a package of one's own may add them."""

import torch

from sklearn_keops_gmm._model.covariances import DiagonalCovariance, FullCovariance


class EqualVolumeCovariance(DiagonalCovariance):
    """Diagonals, one per component, whose products are all the same.

    The model EVI of Celeux and Govaert, "Gaussian parsimonious clustering models",
    Pattern Recognition 28 (1995).
    """

    name = "diag_equal_volume"
    # Gradients would lead to diagonals of any volume.
    solvers = frozenset({"em"})

    def n_parameters(self, n_components, n_features):
        return n_components * (n_features - 1) + 1

    def _normalize(self, second, mass, ridge, n_features):
        own = super()._normalize(second, mass, ridge, n_features)  # (M, D)
        volumes = own.log().mean(1).exp()
        common = (mass * volumes).sum() / mass.sum()
        return own * (common / volumes)[:, None]


class RoundCovariance(FullCovariance):
    """Matrices whose widest axis is at most ten times as long as the narrowest.

    Backends know them by a name of their own.
    """

    name = structure = "round"
    starts = frozenset({"kmeans", "random"})
    solvers = frozenset({"em"})

    def _normalize(self, second, mass, ridge, n_features):
        covariances = super()._normalize(second, mass, ridge, n_features)
        values, vectors = torch.linalg.eigh(covariances)
        values = values.maximum(values[:, -1:] / 100)
        return (vectors * values[:, None, :]) @ vectors.mT
