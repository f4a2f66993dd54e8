"""The immutable values that flow between the wings of the package.

Nothing here computes with data: a solver, a covariance structure and a backend
understand each other because they exchange these values and nothing else.

Shapes are written with N samples, M components and D features. The array that
holds covariances (or precision factors) has scikit-learn's shape:

============  ===============  =======================================
structure     shape            meaning
============  ===============  =======================================
"full"        ``(M, D, D)``    one matrix per component
"tied"        ``(D, D)``       one matrix for all components
"diag"        ``(M, D)``       one diagonal per component
"spherical"   ``(M,)``         one number per component
============  ===============  =======================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# So many roundings of a coordinate may add up.
_ROUNDINGS = 16.0

# The name by which backends know what shape factors and second moments have.
Structure = str


@dataclass(frozen=True)
class Frame:
    """Coordinates in which sums over pairs are computed: z = (x - centre) / scale.

    Working near the origin and near unit scale is what keeps float32, and data
    of magnitude 1e150, from losing everything to rounding and overflow.

    Attributes
    ----------
    centre : Tensor of shape (D,), float64
    scale : float
    """

    centre: Tensor
    scale: float = 1.0

    def to(self, device: torch.device) -> Frame:
        """Return the same frame on another device."""
        if self.centre.device == device:
            return self
        return replace(self, centre=self.centre.to(device))


@dataclass(frozen=True)
class Ridge:
    """What is added to the variances of every component.

    Attributes
    ----------
    size : float
        Not negative.
    profile : Tensor of shape (D,), float64, or None
        What `size` is multiplied by for each feature; None is 1 for all.
    rounded : Tensor of shape (D,), float64, or None
        The part of it that is the variance of all that rounds to a value, if values
        were rounded.
    """

    size: float
    profile: Tensor | None = None
    rounded: Tensor | None = None

    @property
    def amounts(self) -> Tensor | float:
        """What is added: one number, or one for each feature."""
        return self.size if self.profile is None else self.size * self.profile

    def array(self, n_features: int) -> np.ndarray:
        """Return what is added to the variance of each feature, (D,)."""
        if self.profile is None:
            return np.full(n_features, self.size)
        return (self.size * self.profile).cpu().numpy()


@dataclass(frozen=True)
class Rounding:
    """How finely samples are resolved in the computation.

    Attributes
    ----------
    centre : Tensor of shape (D,), float64
        Of the frame.
    dtype : torch.dtype
        Of the samples.
    """

    centre: Tensor
    dtype: torch.dtype

    def near(self, means: Tensor) -> Tensor:
        """Return a bound on the error of coordinates, (M, D), near some means."""
        # Samples are read in double precision, and moved to the frame.
        read = torch.finfo(means.dtype).eps * (means.abs() + self.centre.abs())
        moved = torch.finfo(self.dtype).eps * (means - self.centre).abs()
        return _ROUNDINGS * (read + moved)


@dataclass(frozen=True, eq=False)
class Components:
    """What a backend needs to know of a mixture.

    ``log p_ij = offsets[j] - 0.5 * ||factors[j].T @ (x_i - means[j])||**2``,
    with the log-weight, the log-determinant and the constant in ``offsets``.

    Attributes
    ----------
    structure : {"full", "tied", "diag", "spherical"}
        Shape of ``factors``.
    offsets : Tensor of shape (M,), float64
    means : Tensor of shape (M, D), float64
    factors : Tensor, float64
        Any square (not only triangular) factors of the precisions.
    noise_weight : float, default=0.0
        Of noise, whose density `NoiseReductions` know.
    triangular : bool, default=False
        Whether factors are known to be upper-triangular.
    """

    structure: Structure
    offsets: Tensor
    means: Tensor
    factors: Tensor
    noise_weight: float = 0.0
    triangular: bool = False

    def to(self, device: torch.device) -> Components:
        """Return the same components on another device."""
        if self.means.device == device:
            return self
        return replace(
            self,
            offsets=self.offsets.to(device),
            means=self.means.to(device),
            factors=self.factors.to(device),
        )

    def in_frame(self, frame: Frame) -> Components:
        """Return the same components for points given in `frame`."""
        return Components(
            self.structure,
            self.offsets,
            (self.means - frame.centre) / frame.scale,
            self.factors * frame.scale,
            self.noise_weight,
            self.triangular,
        )


@dataclass(frozen=True)
class Moments:
    """Weighted sums over samples, about the means that the pairs were formed with.

    With responsibilities g_ij and sample weights v_i, they are additive over
    samples: tiles, mini-batches, files and partitions just add up.

    Attributes
    ----------
    mass : Tensor of shape (M,), float64
        ``sum_i v_i g_ij``.
    first : Tensor of shape (M, D), float64
        ``sum_i v_i g_ij (x_i - means[j])``.
    second : Tensor, float64
        ``sum_i v_i g_ij (x_i - means[j]) (x_i - means[j])^T``: that matrix for
        "full", its sum over j for "tied", its diagonal for "diag", its trace
        for "spherical".
    log_likelihood : float
        ``sum_i v_i log p(x_i)``.
    missing : float, default=0.0
        ``sum_ij v_i g_ij E log p(y_i | x_i, j)`` of features y_i that are missing;
        moments are then expectations given those that are not, x_i.
    noise : float, default=0.0
        The mass of noise.
    noise_log_density : float, default=0.0
        Its log-density, with the weight, summed over that mass.
    """

    mass: Tensor
    first: Tensor
    second: Tensor
    log_likelihood: float
    missing: float = 0.0
    noise: float = 0.0
    noise_log_density: float = 0.0

    def to(self, device: torch.device) -> Moments:
        """Return the same moments on another device."""
        return replace(
            self,
            mass=self.mass.to(device),
            first=self.first.to(device),
            second=self.second.to(device),
        )

    def from_frame(self, frame: Frame) -> Moments:
        """Return the same moments in the original coordinates."""
        if frame.scale == 1.0:
            return self
        return replace(
            self,
            first=self.first * frame.scale,
            second=self.second * frame.scale * frame.scale,
        )

    def scaled(self, factor: float) -> Moments:
        """Return the moments of samples that weigh so many times as much.

        The log-likelihood stays.
        """
        return replace(
            self,
            mass=factor * self.mass,
            first=factor * self.first,
            second=factor * self.second,
            noise=factor * self.noise,
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.mass + other.mass,
            self.first + other.first,
            self.second + other.second,
            self.log_likelihood + other.log_likelihood,
            self.missing + other.missing,
            self.noise + other.noise,
            self.noise_log_density + other.noise_log_density,
        )


@dataclass(frozen=True, eq=False)
class Targets:
    """Covariances to which those of the components are pulled: a scale times a shape.

    They are hyperparameters: what lowers the cost holds them. What steps ask of them
    is made once.

    Attributes
    ----------
    shape : Tensor
        One covariance of size 1, without the axis of the components.
    scales : Tensor of shape (M,)
        The size of each target.
    typical : Tensor of shape ()
        The logarithm of a typical size, to which those of components with few samples
        are shrunk.
    units : Tensor of shape (D,) or (1,)
        The variance of each feature that is of size 1.
    """

    shape: Tensor
    scales: Tensor
    typical: Tensor
    units: Tensor

    def to(self, device: torch.device) -> Targets:
        """Return the same targets on another device."""
        return Targets(
            self.shape.to(device),
            self.scales.to(device),
            self.typical.to(device),
            self.units.to(device),
        )

    @cached_property
    def covariances(self) -> Tensor:
        """The targets, (M, ...)."""
        return self.of_scales(self.scales)

    def log_determinants(self, made_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return those of the targets, (M,), by the function of their structure."""
        kept = self._log_determinants
        if not kept:
            kept.append(made_of(self.covariances))
        return kept[0]

    @cached_property
    def _log_determinants(self) -> list[Tensor]:
        return []

    def of_scales(self, scales: Tensor) -> Tensor:
        """Return the covariances (M, ...) of this shape with some sizes, (M,)."""
        return scales.reshape(-1, *[1] * self.shape.ndim) * self.shape

    def select(self, chosen: Tensor) -> Targets:
        """Return those of some components, by an index, (K,), or a mask, (M,)."""
        return replace(self, scales=self.scales[chosen])

    def distance(self, other: Targets) -> float:
        """Return the largest relative difference of scales and shapes."""
        if self.scales.shape != other.scales.shape:
            return float("inf")
        scales = (self.scales.log() - other.scales.log()).abs().max()
        roots = self.units.sqrt()
        units = roots[:, None] * roots if self.shape.ndim == 2 else self.units
        moved, own = (self.shape - other.shape) / units, self.shape / units
        shape = moved.abs().max() / own.abs().max()
        return float(torch.maximum(scales, shape))


class RootPrice(NamedTuple):
    """What an M-step charges for the roots of the weights that it finds.

    Attributes
    ----------
    price : float
        Of a root.
    start : Tensor of shape (M,)
        The weights before.
    share : float, default=1.0
        What weights sum to.
    whole : float, default=0.0
        The mass of all samples; 0 for that of the components.
    """

    price: float
    start: Tensor
    share: float = 1.0
    whole: float = 0.0


class Pull(NamedTuple):
    """What an M-step makes of scatter over mass: ``kept_j S_j + added_j R``.

    Attributes
    ----------
    kept : Tensor of shape (M,)
    added : Tensor of shape (M,)
    targets : Targets
        Their shape is R.
    """

    kept: Tensor
    added: Tensor
    targets: Targets


@dataclass(frozen=True)
class MixtureParameters:
    """A Gaussian mixture, float64, on the device of the data.

    Attributes
    ----------
    weights : Tensor of shape (M,)
        Of what is no noise: they sum to 1.
    means : Tensor of shape (M, D)
    covariances : Tensor
    precisions_cholesky : Tensor
        Upper-triangular factors A with ``inv(covariance) = A @ A.T``.
    targets : Targets or None
        Where a fit pulls the covariances.
    noise_weight : float, default=0.0
        Of noise, beside all components.
    components : Components or None
        What backends need to know of it, where what has made it tells. `replace` leaves
        it out.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    precisions_cholesky: Tensor
    targets: Targets | None = None
    noise_weight: float = 0.0
    components: Components | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @classmethod
    def known(
        cls,
        weights: Tensor,
        covariances: Tensor,
        precisions_cholesky: Tensor,
        components: Components,
        targets: Targets | None = None,
    ) -> MixtureParameters:
        """Return the mixture of which that is what backends need to know."""
        means = components.means
        found = cls(weights, means, covariances, precisions_cholesky, targets)
        object.__setattr__(found, "components", components)
        return found

    def normalised(self) -> MixtureParameters:
        """Return the mixture with weights that sum to 1."""
        return replace(self, weights=self.weights / self.weights.sum())

    @property
    def proportions(self) -> Tensor:
        """What part of all that is drawn each component makes, (M,)."""
        if self.noise_weight == 0.0:
            return self.weights
        return (1.0 - self.noise_weight) * self.weights

    @property
    def all_weights(self) -> Tensor:
        """The proportions, and that of noise if there is some: (M,) or (M + 1,)."""
        if self.noise_weight == 0.0:
            return self.weights
        noise = self.weights.new_tensor([self.noise_weight])
        return torch.cat((self.proportions, noise))

    def to(self, device: torch.device) -> MixtureParameters:
        """Return the same mixture on another device."""
        return MixtureParameters(
            self.weights.to(device),
            self.means.to(device),
            self.covariances.to(device),
            self.precisions_cholesky.to(device),
            None if self.targets is None else self.targets.to(device),
            self.noise_weight,
        )


# A mixture that is made only where it is asked for.
LazyParameters = Callable[[], MixtureParameters]


class CostTerms(NamedTuple):
    """The terms of the cost of unconstrained parameters, for torch to differentiate.

    Attributes
    ----------
    cost : Tensor of shape ()
        The penalised cost.
    ridge : Tensor of shape ()
        What `reg_covar` adds to it in what is minimised.
    log_likelihood : Tensor of shape ()
        The mean log-likelihood.
    fractions : Tensor of shape (M,)
        Masses as fractions of the total weight: no gradient passes through them.
    """

    cost: Tensor
    ridge: Tensor
    log_likelihood: Tensor
    fractions: Tensor


class Evaluation(NamedTuple):
    """The objective at one vector of a chart.

    Attributes
    ----------
    value : float
        What is minimised: the cost, and what `reg_covar` adds to it.
    gradient : ndarray of shape (n,)
        Of the value.
    cost : float
        The penalised cost.
    log_likelihood : float
        The mean log-likelihood.
    """

    value: float
    gradient: np.ndarray
    cost: float
    log_likelihood: float


@dataclass(frozen=True)
class Leap:
    """Where an extrapolation leads, and how far: a length of 1 is no further.

    Attributes
    ----------
    parameters : MixtureParameters
    length : float
    """

    parameters: MixtureParameters
    length: float


@dataclass(frozen=True)
class SolverResult:
    """What a solver returns.

    Attributes
    ----------
    parameters : MixtureParameters
    costs : tuple of float
        Penalised cost of the parameters that each iteration started from.
    log_likelihoods : tuple of float
        Mean log-likelihood of the same parameters.
    converged : bool
    """

    parameters: MixtureParameters
    costs: tuple[float, ...]
    log_likelihoods: tuple[float, ...]
    converged: bool
