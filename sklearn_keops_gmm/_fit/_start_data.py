"""What starts see of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from sklearn_keops_gmm._data import Extent, to_numpy
from sklearn_keops_gmm._model import Frame, UniformNoise, power_of_two
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# Coordinates in a tile; and numbers in one of a GPU, whose kernels take long to start.
_TILE, _TILE_ON_A_GPU = 2**13, 2**23
# Rows that starts draw for one by one, where weights are numbers of rows.
_MOST_COPIES = 10**7
# So many widths from zero the squares of a feature keep three digits of its variance.
_FAR = 2.0**20


@dataclass(frozen=True)
class StartData:
    """What a start works on.

    Attributes
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    extent : Extent
        How far all samples reach, of which the points may be some.
    frame : Frame
    n_components : int
    covariance : CovarianceStructure
    init_size : int
        The number of samples that k-means sees, if there are more.
    spreads : Tensor of shape (D,), float64, or None
        In which k-means measures the features; None is one unit for all, as in
        scikit-learn.
    axes : Tensor of shape (D, D), float64, or None
        Which of features in these spreads k-means then takes, as columns; None is the
        features themselves.
    component_labels : Tensor of shape (N,), int64, or None
        The components that samples are known to be of, -1 where unknown.
    noise : UniformNoise or None
        Of which some of the points may be.
    """

    points: Tensor
    sample_weight: Tensor | None
    extent: Extent
    frame: Frame
    n_components: int
    covariance: CovarianceStructure
    init_size: int
    spreads: Tensor | None = None
    axes: Tensor | None = None
    component_labels: Tensor | None = None
    noise: UniformNoise | None = None

    @property
    def centre(self) -> Tensor:
        """The centre of the frame, (D,), float64."""
        return self.frame.centre

    @cached_property
    def origin(self) -> Tensor:
        """What scikit-learn's arithmetic is about, (D,), float64: zero, as a rule.

        It is the centre for features that lie so far from zero, beside their width,
        that their squares keep no digit of it.
        """
        centre = self.centre.cpu().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            width = 0.5 * (self.extent.high - self.extent.low)
            far = (np.abs(centre) > _FAR * width) & (width > 0)
        return torch.from_numpy(np.where(far, centre, 0.0)).to(self.centre)

    def array(self, origin: Tensor) -> np.ndarray:
        """Return the points about an origin, for routines of scikit-learn.

        On a CPU they are in the same memory, if that is zero. Those routines square
        distances: a unit in which they cannot is changed, exactly.
        """
        points = self.points
        if self.spreads is not None:
            scaled = (points.double() - self.centre) / self.spreads
            if self.axes is not None:
                scaled = scaled @ self.axes
            return scaled.to(points.dtype).cpu().numpy()
        if bool(origin.any()):
            points = (points.double() - origin).to(points.dtype)
        large = torch.finfo(points.dtype).max ** 0.25
        unit = power_of_two(self.extent.reach(to_numpy(self.centre)))
        if not 1 / large < unit < large:
            points = points / unit
        return points.cpu().numpy()

    @cached_property
    def total_weight(self) -> float:
        """The sum of the sample weights."""
        if self.sample_weight is None:
            return float(len(self.points))
        return float(self.sample_weight.sum(dtype=torch.float64))

    @property
    def mean_weight(self) -> float:
        """The mean of the sample weights."""
        return self.total_weight / len(self.points)

    @property
    def observed_shares(self) -> Tensor:
        """The parts of the total weight, (D,), that features are not missing in."""
        weights = self.weights(slice(None))
        missing = [weights[column.isnan()].sum() for column in self.points.T]
        return 1.0 - torch.stack(missing) / weights.sum()

    def weights(self, rows: slice) -> Tensor:
        """Return the sample weights of some rows, (n,), float64."""
        if self.sample_weight is None:
            n_rows = len(self.points[rows])
            return self.centre.new_ones(n_rows)
        return self.sample_weight[rows].double()

    @cached_property
    def counted(self) -> bool:
        """Whether the weights are integers: numbers of rows that a row stands for.

        Not if these are so many more than the samples that to draw for each is no use.
        """
        weights = self.sample_weight
        if weights is None:
            return True
        few = self.total_weight <= max(_MOST_COPIES, 2 * len(weights))
        return few and bool((weights == weights.round()).all())

    def rows_of_copies(self, copies: np.ndarray) -> np.ndarray:
        """Return the rows that own some of the ``total_weight`` copies."""
        if self.sample_weight is None:
            return copies
        ends = np.cumsum(self.weights(slice(None)).cpu().numpy())
        return np.searchsorted(ends, copies, side="right")

    def copies(self) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Yield all rows with their weights; one that counts copies once for each copy.

        Yields
        ------
        rows : slice or Tensor of shape (n,)
        weights : Tensor of shape (n,), float64
        """
        for rows in self.tiles():
            weights = self.weights(rows)
            if self.sample_weight is None or not self.counted:
                yield rows, weights
                continue
            indices = torch.arange(rows.start, rows.start + len(weights))
            owners = indices.to(weights.device).repeat_interleave(weights.long())
            for some in owners.split(_TILE):
                yield some, self.centre.new_ones(len(some))

    def drawn(self, random_state: RandomState) -> tuple[StartData, np.ndarray | slice]:
        """Return the problem of `init_size` samples, and which rows they are.

        It is this one if there are no more. Rows are drawn in proportion to their
        weights, and weigh as often as they were drawn.
        """
        n_samples, size = len(self.points), self.init_size
        everything = self, slice(None)
        if n_samples <= size:
            return everything
        counts = None
        if self.sample_weight is None:
            rows = np.sort(
                sample_without_replacement(n_samples, size, random_state=random_state)
            )
        else:
            ends = np.cumsum(self.weights(slice(None)).cpu().numpy())
            drawn = ends.searchsorted(random_state.uniform(0, ends[-1], size), "right")
            rows, repeats = np.unique(drawn, return_counts=True)
            if len(rows) < self.n_components:
                return everything
            counts = torch.from_numpy(repeats).to(self.points)
        points = self.points[torch.from_numpy(rows).to(self.points.device)]
        return replace(self, points=points, sample_weight=counts), rows

    def unlabelled(self, chosen: Tensor) -> StartData:
        """Return the problem of some samples, (N,) bool, with nothing known of them."""
        return replace(self, component_labels=None).of_rows(chosen)

    def of_rows(self, rows: Tensor) -> StartData:
        """Return the problem of some samples, by an index, (n,), or a mask, (N,)."""
        weights, labels = self.sample_weight, self.component_labels
        return replace(
            self,
            points=self.points[rows],
            sample_weight=None if weights is None else weights[rows],
            component_labels=None if labels is None else labels[rows],
        )

    def tiles(self, size: int = _TILE) -> list[slice]:
        """Return slices of rows, each small beside the data: of so many coordinates."""
        n_samples, n_features = self.points.shape
        rows = size // n_features
        if self.points.device.type != "cpu":
            # What a sample may take: an outer product, or a number for each component.
            rows = _TILE_ON_A_GPU // max(n_features**2, self.n_components)
        rows = max(1, rows)
        return [slice(i, i + rows) for i in range(0, n_samples, rows)]

    def centred(self, rows: slice | Tensor) -> Tensor:
        """Return some rows relative to the centre, (n, D), float64."""
        return self.points[rows].double() - self.centre
