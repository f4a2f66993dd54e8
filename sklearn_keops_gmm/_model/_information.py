"""The observed information of a Gaussian mixture: minus the Hessian of its likelihood.

Parameters are weights, means and entries of covariances. With g_ij the responsibilities
and c_ij and H_ij the gradient and the Hessian of ``log W_j N(x_i; mu_j, Sigma_j)`` in
the parameters of component j, a sample adds ::

    s_i s_i^T - blocks_j g_ij (c_ij c_ij^T + H_ij),    s_i = (g_i1 c_i1, ..., g_iM c_iM)

This is the information matrix of Boldea and Magnus (2009), found with Louis's formula
(1982). Sums of H_ij follow from the moments, as the Hessian is quadratic in samples.

Noise is a component more, whose only parameter is its weight: c is one over that, and H
minus its square, so that both cancel and g c alone is left.

Of a sample with missing values the density is that of what is observed: the precision
is the inverse of that part of the covariance, with zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_keops_gmm._model._gaussian_mixture import GaussianMixtureModel
from sklearn_keops_gmm._model._priors import Frozen
from sklearn_keops_gmm._model.covariances import SharedCovariance


def _symmetric(n_features: int) -> Tensor:
    """Return directions in which a symmetric matrix can change, (D (D + 1) / 2, D, D).

    One for each entry on and above the diagonal.
    """
    rows, columns = torch.triu_indices(n_features, n_features)
    basis = torch.zeros(len(rows), n_features, n_features, dtype=torch.float64)
    numbers = torch.arange(len(rows))
    basis[numbers, rows, columns] = 1.0
    basis[numbers, columns, rows] = 1.0
    return basis


def _diagonal(n_features: int) -> Tensor:
    return torch.diag_embed(torch.eye(n_features, dtype=torch.float64))


def _scalar(n_features: int) -> Tensor:
    return torch.eye(n_features, dtype=torch.float64)[None]


# By the shape of factors: the directions in which one covariance can change.
_DIRECTIONS: dict[str, Callable[[int], Tensor]] = {
    "full": _symmetric,
    "tied": _symmetric,
    "diag": _diagonal,
    "spherical": _scalar,
}


@dataclass(frozen=True)
class InformationSums:
    """Sums over samples that the information is made of; those of parts add up.

    Attributes
    ----------
    outer : Tensor of shape (M q, M q)
        Of ``s_i s_i^T``, of q parameters for each component, and with noise one more.
    within : Tensor of shape (M, q, q)
        Of ``g_ij (c_ij c_ij^T + H_ij)``.
    """

    outer: Tensor
    within: Tensor

    def __add__(self, other: InformationSums) -> InformationSums:
        return InformationSums(self.outer + other.outer, self.within + other.within)


@dataclass(frozen=True, eq=False)
class ComponentCoordinates:
    """Each component's own parameters: its weight, its mean, and its covariance.

    Attributes
    ----------
    model : GaussianMixtureModel
    directions : Tensor of shape (n, D, D)
        In which a covariance can change.
    held : Frozen or None
        What is known, and has no error.
    """

    model: GaussianMixtureModel
    directions: Tensor
    held: Frozen | None = None

    @classmethod
    def of(
        cls, model: GaussianMixtureModel, held: Frozen | None = None
    ) -> ComponentCoordinates:
        """Return those of a model."""
        structure = model.covariance.structure
        return cls(model, _DIRECTIONS[structure](model.n_features), held)

    @property
    def n_own(self) -> int:
        """The number of parameters of a component, q."""
        return 1 + self.model.n_features + len(self.directions)

    @property
    def n_all(self) -> int:
        """The number of parameters of all components, M q, and the weight of noise."""
        return self.model.n_components * self.n_own + (self.model.noise is not None)

    @property
    def embedding(self) -> Tensor:
        """What free parameters make of those of components, (M q, P), which is linear.

        The last free weight, that of noise if there is some, is what the others leave,
        and shared covariances are one.
        """
        n, d, k = self.model.n_components, self.model.n_features, len(self.directions)
        shared = isinstance(self.model.covariance, SharedCovariance)
        noise = self.n_all - n * self.n_own
        held = self.held or Frozen(*torch.zeros(3, n, dtype=torch.bool))
        slots = [*(~held.weights).nonzero()[:, 0].tolist(), *[n] * noise]
        free, last = slots[:-1], slots[-1:]
        n_weights = len(free)
        n_free = n_weights + n * d + k * (1 if shared else n)
        of_all = torch.zeros(n, 1 + d + k, n_free, dtype=torch.float64)
        of_weights = torch.zeros(n + noise, n_free, dtype=torch.float64)
        of_weights[free, :n_weights] = torch.eye(n_weights, dtype=torch.float64)
        of_weights[last, :n_weights] = -1.0
        of_all[:, 0] = of_weights[:n]
        for j in range(n):
            mean = n_weights + j * d
            own = n_weights + n * d + (0 if shared else j * k)
            of_all[j, 1 : 1 + d, mean : mean + d] = torch.eye(d)
            of_all[j, 1 + d :, own : own + k] = torch.eye(k)
        blocks = held.covariances.all()[None] if shared else held.covariances
        known = (held.means.repeat_interleave(d), blocks.repeat_interleave(k))
        kept = ~torch.cat((torch.zeros(n_weights, dtype=torch.bool), *known))
        return torch.cat((of_all.flatten(0, 1), of_weights[n:]))[:, kept]

    def sums(
        self, points: Tensor, responsibilities: Tensor, weights: Tensor | None
    ) -> InformationSums:
        """Return the sums over some samples.

        Parameters
        ----------
        points : Tensor of shape (n, D), float64
            NaN where a value is missing.
        responsibilities : Tensor of shape (n, M), float64
            With noise that of it is one more column.
        weights : Tensor of shape (n,) or None
        """
        n_components, q = self.model.n_components, self.n_own
        v = torch.ones_like(points[:, 0]) if weights is None else weights
        scores = torch.empty(len(points), n_components, q, dtype=torch.float64)
        within = torch.zeros(n_components, q, q, dtype=torch.float64)
        parameters = self.model.parameters
        proportions = parameters.proportions
        for rows, seen in _patterns(points):
            some, mass = points[rows], v[rows]
            precisions = _precisions_of(self.model.matrices, seen)
            for j in range(n_components):
                g = responsibilities[rows, j]
                about = torch.where(seen, some - parameters.means[j], 0.0)
                u = about @ precisions[j]  # (n, D)
                c = self._gradient(u, precisions[j], proportions[j])
                scores[rows, j] = g[:, None] * c
                within[j] += (c * (mass * g)[:, None]).mT @ c
                within[j] += self._hessian(u, mass * g, precisions[j], proportions[j])
        flat = scores.flatten(1)
        if self.model.noise is not None:
            noise = responsibilities[:, -1:] / parameters.noise_weight
            flat = torch.cat((flat, noise), dim=1)
        return InformationSums((flat * v[:, None]).mT @ flat, within)

    def _gradient(self, u: Tensor, precision: Tensor, weight: Tensor) -> Tensor:
        """Return c_ij, (n, q), with u the precision times x - mu."""
        squares = torch.einsum("na,kab,nb->nk", u, self.directions, u)
        traces = torch.einsum("kab,ab->k", self.directions, precision)
        of_weight = torch.ones_like(u[:, :1]) / weight
        return torch.cat((of_weight, u, 0.5 * (squares - traces)), dim=1)

    def _hessian(
        self, u: Tensor, mass: Tensor, precision: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the sum of ``v_i g_ij H_ij``, (q, q)."""
        total, d = mass.sum(), u.shape[1]
        first, second = mass @ u, (u * mass[:, None]).mT @ u
        both = self.directions, precision, self.directions
        turned = precision @ self.directions  # (n_directions, D, D)
        of_mean = turned @ first  # (n_directions, D)
        whole = torch.einsum("kab,lba->kl", turned, turned)
        bent = torch.einsum("kab,bc,lcd,da->kl", *both, second)
        hessian = torch.zeros(self.n_own, self.n_own, dtype=torch.float64)
        hessian[0, 0] = -total / weight**2
        hessian[1 : 1 + d, 1 : 1 + d] = -total * precision
        hessian[1 + d :, 1 : 1 + d] = -of_mean
        hessian[1 : 1 + d, 1 + d :] = -of_mean.mT
        hessian[1 + d :, 1 + d :] = 0.5 * total * whole - 0.5 * (bent + bent.mT)
        return hessian

    def information(self, sums: InformationSums) -> Tensor:
        """Return the information on the free parameters, (P, P)."""
        own = sums.outer.clone()
        n = len(sums.within) * self.n_own
        own[:n, :n] -= torch.block_diag(*sums.within)
        return self.embedding.mT @ own @ self.embedding


def _patterns(points: Tensor) -> list[tuple[slice | Tensor, Tensor]]:
    """Return rows that miss the same values, and which they have, (D,) bool."""
    observed = ~points.isnan()
    if bool(observed.all()):
        return [(slice(None), torch.ones_like(points[0], dtype=torch.bool))]
    patterns, of_rows = observed.unique(dim=0, return_inverse=True)
    order = of_rows.argsort(stable=True)
    rows = order.split(of_rows.bincount(minlength=len(patterns)).tolist())
    return list(zip(rows, patterns, strict=True))


def _precisions_of(matrices: Tensor, seen: Tensor) -> Tensor:
    """Return the precisions of some features, with zeros for all others, (M, D, D)."""
    if bool(seen.all()):
        return torch.linalg.inv(matrices)
    precisions = torch.zeros_like(matrices)
    chosen = seen.nonzero()[:, 0]
    own = torch.linalg.inv(matrices[:, chosen[:, None], chosen])
    precisions[:, chosen[:, None], chosen] = own
    return precisions
