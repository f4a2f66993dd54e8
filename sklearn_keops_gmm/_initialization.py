"""Where a fit starts: k-means, k-means++, random, random rows, or the user's arrays.

With the same ``random_state`` each start draws the same random numbers as
scikit-learn and lands on the same parameters, which includes some quirks of its
own: one point per component is divided by a mass a little above one, and the tied
covariance of such a start is that of all the data.

Of more than ``init_size`` samples k-means and k-means++ see so many, drawn at random;
nothing is drawn where there are no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils.random import sample_without_replacement
from torch import Tensor

from sklearn_keops_gmm._covariances import PADDING, CovarianceStructure, above_padding
from sklearn_keops_gmm._frames import Extent, power_of_two
from sklearn_keops_gmm._openmp import openmp_of_others
from sklearn_keops_gmm._parameters import Frame, MixtureParameters, Moments

# Coordinates in a tile; and numbers in one of a GPU, whose kernels take long to start.
_TILE, _TILE_ON_A_GPU = 2**13, 2**23
# Rows that starts draw for one by one, where weights are numbers of rows.
_MOST_COPIES = 10**7


@dataclass(frozen=True)
class UserStart:
    """Arrays given by the user, validated, or None where a start has to find them.

    Attributes
    ----------
    weights : ndarray of shape (M,) or None
    means : ndarray of shape (M, D) or None
    precisions : ndarray or None
    """

    weights: np.ndarray | None
    means: np.ndarray | None
    precisions: np.ndarray | None


@dataclass(frozen=True)
class Problem:
    """What a start works on.

    Attributes
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    n_components : int
    covariance : CovarianceStructure
    init_size : int
        The number of samples that k-means sees, if there are more.
    """

    points: Tensor
    sample_weight: Tensor | None
    frame: Frame
    n_components: int
    covariance: CovarianceStructure
    init_size: int

    @property
    def centre(self) -> Tensor:
        """The centre of the frame, (D,), float64."""
        return self.frame.centre

    @property
    def array(self) -> np.ndarray:
        """The points, for routines of scikit-learn; on a CPU the same memory.

        Those square distances: a unit in which they cannot is changed, exactly.
        """
        points = self.points
        large = torch.finfo(points.dtype).max ** 0.25
        unit = power_of_two(Extent.of(points).reach(self.centre))
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
        """Go through the data, a row once for each copy if its weight is a count.

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

    def drawn(self, random_state: RandomState) -> tuple[Problem, np.ndarray | slice]:
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

    def tiles(self) -> list[slice]:
        """Slices of rows, each small beside the data."""
        n_samples, n_features = self.points.shape
        rows = _TILE // n_features
        if self.points.device.type != "cpu":
            # What a sample may take: an outer product, or a number for each component.
            rows = _TILE_ON_A_GPU // max(n_features**2, self.n_components)
        rows = max(1, rows)
        return [slice(i, i + rows) for i in range(0, n_samples, rows)]

    def centred(self, rows: slice | Tensor) -> Tensor:
        """Return some rows relative to the centre, (n, D), float64."""
        return self.points[rows].double() - self.centre


def initialize(
    problem: Problem,
    init_params: str,
    user: UserStart,
    reg_covar: float,
    random_state: RandomState,
) -> MixtureParameters:
    """Return the parameters that a fit starts from.

    Parameters
    ----------
    problem : Problem
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}
    user : UserStart
        Takes precedence, array by array.
    reg_covar : float
        Added to the diagonals of covariances that are found.
    random_state : RandomState
        Left untouched if `user` gives all three arrays.

    Returns
    -------
    MixtureParameters
        The weights need not sum to 1, as in scikit-learn.
    """
    covariance, device = problem.covariance, problem.points.device
    weights, means, precisions = (
        None if array is None else torch.tensor(array, dtype=torch.float64).to(device)
        for array in (user.weights, user.means, user.precisions)
    )
    if weights is None or means is None or precisions is None:
        about, moments = STARTS[init_params](problem, random_state)
        mass = moments.mass + PADDING
        samples = max(problem.total_weight, float(len(problem.points)))
        weights = mass / samples if weights is None else weights
        found, covariances = covariance.m_step(moments, about, reg_covar)
        means = found if means is None else means
    if precisions is None:
        factors = covariance.factors(covariances)
    else:
        factors = covariance.factors_of_precisions(precisions)
        covariances = covariance.covariances(factors)
    return MixtureParameters(weights, means, covariances, factors)


# -- starts: each returns means and the moments about them, above padding -------------


def _kmeans(problem: Problem, random_state: RandomState) -> tuple[Tensor, Moments]:
    """Let each sample belong to its cluster."""
    labels = _kmeans_labels(problem, random_state).to(problem.points.device)
    mass = problem.centre.new_zeros(problem.n_components)
    first = problem.centre.new_zeros(problem.n_components, len(problem.centre))
    for rows in problem.tiles():
        weights = problem.weights(rows)
        mass.index_add_(0, labels[rows], weights)
        first.index_add_(0, labels[rows], weights[:, None] * problem.centred(rows))
    offsets = first / torch.where(mass > 0, mass, 1.0)[:, None]
    second = torch.zeros_like(problem.covariance.outer(offsets))
    for rows in problem.tiles():
        roots = problem.weights(rows).sqrt()[:, None]
        differences = roots * (problem.centred(rows) - offsets[labels[rows]])
        second.index_add_(0, labels[rows], problem.covariance.outer(differences))
    second = problem.covariance.pool(second)
    moments = Moments(mass, torch.zeros_like(first), second, 0.0)
    return problem.centre + offsets, above_padding(moments, problem.mean_weight)


def _kmeans_labels(problem: Problem, random_state: RandomState) -> Tensor:
    """Cluster as scikit-learn does; an integer weight counts as that many rows."""
    part, _ = problem.drawn(random_state)
    array = part.array
    tol = 1e-4
    weights = None
    if part.sample_weight is not None:
        weights = part.sample_weight.cpu().numpy()
        # KMeans takes its tolerance from variances that ignore the weights.
        means = np.average(array, axis=0, weights=weights)
        squares = np.average((array - means) ** 2, axis=0, weights=weights)
        variance = np.mean(np.var(array, axis=0))
        tol *= np.mean(squares) / variance if variance > 0 else 1.0
    kmeans = KMeans(problem.n_components, n_init=1, tol=tol, random_state=random_state)
    with openmp_of_others():
        kmeans.fit(array, sample_weight=weights)
        labels = kmeans.labels_ if part is problem else kmeans.predict(problem.array)
    return torch.as_tensor(labels, dtype=torch.int64)


def _random(problem: Problem, random_state: RandomState) -> tuple[Tensor, Moments]:
    """Let each sample belong to all components, at random.

    A row with an integer weight draws once for each of the rows that it stands for.
    """
    n_components, n_features = problem.n_components, len(problem.centre)
    mass = problem.centre.new_zeros(n_components)
    first = problem.centre.new_zeros(n_components, n_features)
    second = torch.zeros_like(problem.covariance.outer(first))
    for rows, weights in problem.copies():
        points = problem.centred(rows)
        drawn = random_state.uniform(size=(len(points), n_components))
        responsibilities = torch.from_numpy(drawn).to(points.device)
        responsibilities /= responsibilities.sum(1, keepdim=True)
        responsibilities *= weights[:, None]
        outer = problem.covariance.outer(points)
        mass += responsibilities.sum(0)
        first += responsibilities.mT @ points
        sums = responsibilities.mT @ outer.reshape(len(points), -1)
        second += sums.reshape(second.shape)
    about = problem.centre.expand(n_components, -1)
    moments = Moments(mass, first, problem.covariance.pool(second), 0.0)
    return about, above_padding(moments, problem.mean_weight)


def _random_from_data(
    problem: Problem, random_state: RandomState
) -> tuple[Tensor, Moments]:
    """Let each component have one sample, chosen at random.

    Rows with integer weights are chosen as if each stood there that many times.
    """
    n_components = problem.n_components
    if problem.counted:
        chosen = random_state.choice(
            int(problem.total_weight), size=n_components, replace=False
        )
        return _one_sample_each(problem, problem.rows_of_copies(chosen))
    weights = problem.weights(slice(None)).cpu().numpy()
    chosen = random_state.choice(
        len(weights), size=n_components, replace=False, p=weights / weights.sum()
    )
    return _one_sample_each(problem, chosen)


def _kmeans_plusplus(
    problem: Problem, random_state: RandomState
) -> tuple[Tensor, Moments]:
    """Let each component have one sample, far from each other."""
    part, rows = problem.drawn(random_state)
    weights = part.sample_weight
    with openmp_of_others():
        _, indices = kmeans_plusplus(
            part.array,
            problem.n_components,
            sample_weight=None if weights is None else weights.cpu().numpy(),
            random_state=random_state,
        )
    return _one_sample_each(problem, np.arange(len(problem.points))[rows][indices])


STARTS: dict[str, Callable[[Problem, RandomState], tuple[Tensor, Moments]]] = {
    "kmeans": _kmeans,
    "random": _random,
    "random_from_data": _random_from_data,
    "k-means++": _kmeans_plusplus,
}


# -- scikit-learn's arithmetic for one sample per component ---------------------------


def _one_sample_each(problem: Problem, indices: np.ndarray) -> tuple[Tensor, Moments]:
    """Return the moments that make an M-step repeat scikit-learn's arithmetic."""
    points = problem.points[torch.as_tensor(indices).to(problem.points.device)]
    points = points.double()  # (M, D)
    mass = torch.ones_like(points[:, 0])
    padded = mass + PADDING
    means = points / padded[:, None]
    second = _QUIRKS[problem.covariance.name](problem, points, means, padded)
    # What the M-step is going to pad is in there already.
    second = second - problem.covariance.padding(means, mass)
    return means, Moments(mass, (padded - mass)[:, None] * means, second, 0.0)


def _quirk_full(
    problem: Problem, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    return problem.covariance.outer(points - means)


def _quirk_tied(
    problem: Problem, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    total = torch.zeros_like(means.mT @ means)
    for rows in problem.tiles():
        tile = problem.points[rows].double()
        total += (problem.weights(rows)[:, None] * tile).mT @ tile
    total /= min(1.0, problem.mean_weight)
    return total - (mass[:, None] * means).mT @ means


def _quirk_diag(
    problem: Problem, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    # Divided, then multiplied: the differences are rounding noise that counts.
    mass = mass[:, None]
    return (points * points / mass - means * means) * mass


def _quirk_spherical(
    problem: Problem, points: Tensor, means: Tensor, mass: Tensor
) -> Tensor:
    return _quirk_diag(problem, points, means, mass).sum(1)


_QUIRKS = {
    "full": _quirk_full,
    "tied": _quirk_tied,
    "diag": _quirk_diag,
    "spherical": _quirk_spherical,
    # scikit-learn lacks these: each sample is its own mean.
    "tied_diag": _quirk_diag,
    "tied_spherical": _quirk_spherical,
}
