"""What every backend offers: sums over pairs that never hold the N x M matrix."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from torch import Tensor

from sklearn_keops_gmm._model import (
    Components,
    Frame,
    MixtureParameters,
    Moments,
    Pull,
    Ridge,
    RootPrice,
    Structure,
    WeightsOfMass,
    sparse_weights,
)
from sklearn_keops_gmm._model.covariances import CovarianceStructure


class Reductions(Protocol):
    """Reductions over all pairs of one data set and any components.

    A backend binds the data once (and may keep what it derives from them), then
    is asked many times with other components.
    """

    @property
    def n_samples(self) -> int:
        """The number of rows N."""

    @property
    def in_memory(self) -> bool:
        """Whether rows are in memory: some of them are then asked about at once."""

    @property
    def sample_weight(self) -> Tensor | None:
        """The weights of the rows, (N,), if they are in memory and have some."""

    def of_rows(self, rows: Tensor) -> Reductions:
        """Return the reductions over some rows of the data, in the same frame.

        Parameters
        ----------
        rows : Tensor of shape (n,), int64
            On any device.
        """

    def reweighted(self, weights: Tensor) -> Reductions:
        """Return the reductions over the same rows with other weights, (N,)."""

    def factory(self, structure: Structure) -> ReductionsFactory:
        """Return a picklable factory that binds other points in the same coordinates.

        It holds no points: it is small, and can be sent to other processes. Its
        reductions are to be asked once, and keep nothing that they derive.

        Parameters
        ----------
        structure : {"full", "tied", "diag", "spherical"}
            Of the components to ask about.
        """

    def log_density(self, components: Components) -> Tensor:
        """Return ``logsumexp_j log p_ij``, (N,), in the dtype of the points."""

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means`` in original coordinates."""

    def labels(self, components: Components) -> Tensor:
        """Return ``argmax_j log p_ij``, of shape (N,), int64.

        Also where rounding hides it, or all are -inf in the dtype of the points.
        """

    def responsibilities(self, components: Components) -> Tensor:
        """Return ``softmax_j log p_ij``, (N, M), in the dtype of the points.

        Rows sum to 1, also where all densities are 0 in that dtype.
        """


class Backend(Protocol):
    """A callable that binds a data set: it returns the `Reductions` over it.

    A backend is a callable of the points (N, D), float32 or float64, contiguous;
    the sample weights (N,) of the same dtype, or None for ones; and the frame in
    which to compute.
    """

    @property
    def structures(self) -> Collection[Structure]:
        """The structures of covariances that it can compute with."""

    def __call__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> Reductions: ...


class MStep(Protocol):
    """The M-step, from moments to a mixture in one call."""

    def __call__(
        self,
        moments: Moments,
        means: Tensor,
        ridge: Ridge,
        weights: Tensor | RootPrice | None = None,
        pull: Pull | None = None,
    ) -> MixtureParameters | None:
        """Return the mixture that `moments` about `means` define.

        None where it is for `CovarianceStructure.m_step` to answer, or to raise.

        Parameters
        ----------
        moments : Moments
        means : Tensor of shape (M, D)
        ridge : Ridge
        weights : Tensor of shape (M,) or RootPrice, default=None
            Of the mixture, or what they are found by; None for the parts of the mass.
        pull : Pull, default=None
            To what covariances are pulled.
        """


def compiled_m_step(backend: Backend, covariance: CovarianceStructure) -> MStep | None:
    """Return the M-step that a backend has of its own for a structure, if any.

    That is what its `m_step_for` returns, where it has such a method.
    """
    m_step_for: Callable[[CovarianceStructure], MStep | None] | None
    m_step_for = getattr(backend, "m_step_for", None)
    return None if m_step_for is None else m_step_for(covariance)


def sparse_weights_by(backend: Backend) -> WeightsOfMass:
    """Return what makes sparse weights of mass fractions, by a backend if it can.

    That is its `sparse_weights`, where it has such a method.
    """
    found: WeightsOfMass = getattr(backend, "sparse_weights", sparse_weights)
    return found


def in_same_frame(
    backend: Backend, frame: Frame, points: Tensor, sample_weight: Tensor | None
) -> Reductions:
    """Bind points to a backend in a frame, which may be on another device."""
    return backend(points, sample_weight, frame.to(points.device))


# Of points (n, D), on any device but of the dtype of those of the reductions that it
# comes from, and weights (n,) or None.
ReductionsFactory = Callable[[Tensor, Tensor | None], Reductions]
