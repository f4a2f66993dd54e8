"""Groups of neighbouring samples, for components that a mixture lacks.

The samples that a component explains best are divided in two again and again, each
time along the line through two of them, in units in which the component is round. Every
half, and what lies in the middle of two, may be a component of its own: clusters of all
sizes are among them, however small beside the component that covers them. Verbeek,
Vlassis and Kröse ("Efficient greedy learning of Gaussian mixture models", Neural
Computation 15, 2003) divide so, but once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._labelled_start import moments_of_labels
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import MixtureParameters

# So often the samples of a component are divided, each time along other lines.
_N_DIVISIONS = 12
# So many numbers of samples are divided at once, if more are to be.
_AT_ONCE = 2_000_000
# The smallest groups have so many times the samples that tell a covariance.
_LEAST = 2
# Of a component's groups of one size so many are kept.
_N_OF_A_SIZE = 40
# A component may weigh so much of the share of its samples: a sparsity shrinks weights.
_PARTS = (1.0, 0.5, 0.25, 0.125)
# Groups are among so many samples, if there are more.
_MOST_SAMPLES = 20_000


class Found(NamedTuple):
    """Groups as components, and the mean log-likelihood that each adds at least."""

    parameters: MixtureParameters
    gains: Tensor


@dataclass(frozen=True)
class Groups:
    """What finds groups among the samples of a fit.

    Parameters
    ----------
    data : StartData
    """

    data: StartData

    def find(
        self,
        parameters: MixtureParameters,
        labels: Tensor,
        log_densities: Tensor,
        ridge: Tensor | float,
    ) -> Iterator[Found]:
        """Yield groups that might be components, of one size after another.

        They are the same for the same mixture, whatever random numbers led to it.

        Parameters
        ----------
        parameters : MixtureParameters
        labels : Tensor of shape (N,), int64
            The component that explains each sample best.
        log_densities : Tensor of shape (N,), float64
            Of the mixture.
        ridge : float or Tensor of shape (D,)
            Added to variances.
        """
        covariance = self.data.covariance
        rows = torch.arange(0, len(labels), -(-len(labels) // _MOST_SAMPLES))
        rows = rows.to(labels.device)
        if bool(self.data.points[rows].isnan().any()):  # some miss features
            return
        total = self.data.weights(slice(None))[rows].sum()
        matrices = covariance.matrices(parameters.covariances, parameters.means)
        random_state = RandomState(0)
        for j, matrix in enumerate(matrices):
            own = rows[labels[rows] == j]
            points = self.data.points[own].double() - parameters.means[j]
            root = torch.linalg.cholesky_ex(matrix).L
            round_points = torch.linalg.solve_triangular(root, points.T, upper=False).T
            # Groups do not depend on the order of samples.
            order = round_points[:, 0].argsort(stable=True)
            own, round_points = own[order], round_points[order]
            for places in _divisions(round_points, random_state):
                yield from self._best(own[places], log_densities, total, ridge)

    def _best(
        self,
        rows: Tensor,
        log_densities: Tensor,
        total: Tensor,
        ridge: Tensor | float,
    ) -> Iterator[Found]:
        """Yield the groups, of rows (G, n), that add most, as components.

        Once for each part of their share of samples that their weights may be. `total`
        is the weight of all samples in which groups are looked for.
        """
        covariance = self.data.covariance
        data = self._of_groups(rows)
        labels = torch.arange(len(rows), device=rows.device)
        means, moments = moments_of_labels(
            data, labels.repeat_interleave(rows.shape[1])
        )
        means, covariances = covariance.m_step(moments, means, ridge)
        weights = data.weights(slice(None)).reshape(rows.shape)
        shares = weights.sum(1) / total
        points = data.points.double().reshape(*rows.shape, -1) - means[:, None]
        densities = _log_densities(covariance.matrices(covariances, means), points)
        ratios = densities - log_densities[rows]
        for part in _PARTS:
            gains = _gains(part * shares[:, None], ratios, weights / total)
            best = gains.argsort(descending=True)[:_N_OF_A_SIZE]
            best = best[gains[best] > 0]  # which leaves out singular ones
            own = covariances[best]
            yield Found(
                MixtureParameters(
                    part * shares[best], means[best], own, covariance.factors(own)
                ),
                gains[best],
            )

    def _of_groups(self, rows: Tensor) -> StartData:
        """Return the problem whose samples are those of groups, one after another."""
        flat, weights = rows.flatten(), self.data.sample_weight
        return replace(
            self.data,
            points=self.data.points[flat],
            sample_weight=None if weights is None else weights[flat],
            n_components=len(rows),
        )


def _gains(shares: Tensor, log_ratios: Tensor, weights: Tensor) -> Tensor:
    """Return the mean log-likelihood, (G,), that components add to a mixture.

    On the samples of their groups, (G, n), beside what all others lose of their share.
    """
    log_rest = torch.log1p(-shares)
    gains = torch.logaddexp(log_rest, shares.log() + log_ratios) - log_rest
    return ((weights * gains).sum(1) + log_rest[:, 0]).nan_to_num(-torch.inf)


def _divisions(points: Tensor, random_state: RandomState) -> Iterator[Tensor]:
    """Yield places of points, (G, n), in groups of half as many, and again.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        In units in which no direction is special.
    random_state : RandomState
    """
    most = max(1, _AT_ONCE // max(1, points.numel()))
    for n_done in range(0, _N_DIVISIONS, most):
        n_now = min(most, _N_DIVISIONS - n_done)
        orders = [random_state.permutation(len(points)) for _ in range(n_now)]
        places = torch.from_numpy(np.stack(orders)).to(points.device)
        yield from _halved(points, places, random_state)


def _halved(
    points: Tensor, places: Tensor, random_state: RandomState
) -> Iterator[Tensor]:
    """Yield groups of half as many `places`, (G, n), and again, down to few."""
    least = _LEAST * (points.shape[1] + 1)
    while places.shape[1] >= 2 * least:
        half, quarter = places.shape[1] // 2, places.shape[1] // 4
        places = places[:, : 2 * half]
        grouped = points[places]
        line = grouped[:, 0] - grouped[:, 1]
        along = (grouped * line[:, None]).sum(2)
        places = places.gather(1, along.argsort(dim=1, stable=True))
        middle = places[:, quarter : quarter + half]
        halves = places.reshape(-1, half)
        yield torch.cat((halves, middle))
        # Others than those at an end give the next line.
        order = torch.from_numpy(random_state.permutation(half)).to(points.device)
        places = halves[:, order]


def _log_densities(matrices: Tensor, differences: Tensor) -> Tensor:
    """Return log-densities, (G, n), of differences from means, (G, n, D).

    NaN where a matrix, (G, D, D), is singular.
    """
    roots, info = torch.linalg.cholesky_ex(matrices)
    whitened = torch.linalg.solve_triangular(
        roots, differences.transpose(1, 2), upper=False
    )
    volumes = torch.diagonal(roots, dim1=1, dim2=2).log().sum(1)
    constant = 0.5 * differences.shape[2] * math.log(2 * math.pi)
    volumes = torch.where(info > 0, torch.nan, volumes)
    return -0.5 * (whitened**2).sum(1) - (volumes + constant)[:, None]
