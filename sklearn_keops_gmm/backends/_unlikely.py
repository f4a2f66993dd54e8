"""Components of samples that are unlikely under all of them.

Far from everything densities underflow to zero, and before they do, rounding takes the
last digits before the point off their logarithms: they no longer tell which component
is the most probable. Differences of squared distances do, if no large numbers are
subtracted for them. With factors A_j, means m_j and a component r that is about the
nearest to a sample x,

    d_j^2 - d_r^2 = <u_j - u_r, u_j + u_r>,  u_j = A_j^T (x - m_j),
    u_j - u_r = (A_j - A_r)^T (x - m_r) - A_j^T (m_j - m_r),

where what two components have in common drops out before it is rounded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame
from sklearn_keops_gmm.backends._kept import kept_with_components
from sklearn_keops_gmm.backends._torch._structures import structure_of

# What stands for larger numbers: products with moderate ones are finite.
_LARGEST = 1e300
# Numbers in the largest array of some samples.
_NUMBERS = 2**18


class _Asked(Protocol):
    """What is needed of reductions here."""

    def of_rows(self, rows: Tensor) -> _Asked: ...

    def log_density(self, components: Components) -> Tensor: ...


def correct_labels(
    labels: Tensor,
    reductions: _Asked,
    points: Tensor,
    frame: Frame,
    components: Components,
) -> Tensor:
    """Write the right labels of unlikely samples, and return `labels`, (N,)."""
    found = _unlikely(reductions, points, frame, components)
    for rows, logits in _logits(found, points, frame, components):
        labels[rows] = logits.argmax(0)
    return labels


def correct_responsibilities(
    responsibilities: Tensor,
    reductions: _Asked,
    points: Tensor,
    frame: Frame,
    components: Components,
) -> Tensor:
    """Write the right rows of unlikely samples, and return all of them, (N, M)."""
    found = _unlikely(reductions, points, frame, components)
    for rows, logits in _logits(found, points, frame, components):
        responsibilities[rows] = logits.softmax(0).mT.to(responsibilities.dtype)
    return responsibilities


def _unlikely(
    reductions: _Asked, points: Tensor, frame: Frame, components: Components
) -> Tensor:
    """Return the samples, (n,), whose log-densities are wrong by more than one."""
    rows = _beyond(points, frame, _box(components, frame, points.dtype))
    if len(rows) == 0:
        return rows
    limit = -1.0 / torch.finfo(points.dtype).eps
    return rows[reductions.of_rows(rows).log_density(components) < limit]


class _Box(NamedTuple):
    """A box about the centre of a frame, inside which all log-densities are right.

    Attributes
    ----------
    reach : float
        How far its sides are from the centre, outside the frame.
    low, high : float
        The least and the greatest coordinate of the centre.
    """

    reach: float
    low: float
    high: float


@kept_with_components
def _box(components: Components, frame: Frame, dtype: torch.dtype) -> _Box:
    """Return the box for some components and points of a dtype."""
    depth = 0.5 / torch.finfo(dtype).eps
    structure, n_features = structure_of(components), components.means.shape[1]
    framed = structure.of_each(components).in_frame(frame)
    norms = structure.direct.norms(framed.factors, n_features)
    reaches = (2.0 * (depth + framed.offsets)).clamp_min(0.0).sqrt() / norms
    radii = reaches / math.sqrt(n_features) - framed.means.abs().amax(1)
    reach = float(radii.nan_to_num(-torch.inf).max()) * frame.scale
    return _Box(reach, float(frame.centre.min()), float(frame.centre.max()))


def _beyond(points: Tensor, frame: Frame, box: _Box) -> Tensor:
    """Return the rows, (n,), that may be outside the box."""
    if len(points) == 0 or _are_inside(points, box):
        return points.new_empty(0, dtype=torch.int64)
    found = []
    for start in range(0, len(points), _NUMBERS):
        some = points[start : start + _NUMBERS].double() - frame.centre
        far = ~(some.abs().amax(1) <= box.reach)
        found.append(start + far.nonzero()[:, 0])
    return torch.cat(found)


def _are_inside(points: Tensor, box: _Box) -> bool:
    """Tell whether no coordinate at all is outside: false alarms are rare."""
    # Of single features this would take much longer, and says enough of most data.
    low, high = points.aminmax()
    return max(high.item() - box.low, box.high - low.item()) <= box.reach


def _logits(
    rows: Tensor, points: Tensor, frame: Frame, components: Components
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield some of the `rows`, and their log p_ij, (M, n), up to a term of each."""
    if len(rows) == 0:
        return
    framed = structure_of(components).of_each(components).in_frame(frame)
    alive = framed.offsets > -torch.inf
    if not bool(alive.any()):
        return
    n_rows = max(1, _NUMBERS // framed.means.numel())
    for some in rows.split(n_rows):
        moved = (points[some].double() - frame.centre) / frame.scale
        moved = moved.clamp(-_LARGEST, _LARGEST).mT
        gaps, unit = _gaps(moved, framed, alive)
        yield some, framed.offsets[:, None] - 0.5 * unit * (unit * gaps)


def _gaps(points: Tensor, framed: Components, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances of (D, n) points less the least of each, (M, n).

    Their unit is the square of the second result, (n,): they do not overflow.
    """
    direct = structure_of(framed).direct
    size = points.abs().amax(0).clamp_min(1.0)
    width = framed.factors[alive].abs().max().clamp_min(sys.float_info.min)
    points, factors, means = points / size, framed.factors / width, framed.means

    def whiten(factors: Tensor, differences: Tensor) -> Tensor:
        return direct.whiten(factors, differences, torch.empty_like(differences))

    whitened = whiten(factors, points - means[:, :, None] / size)  # (M, D, n)
    distances = whitened.square().sum(1).masked_fill_(~alive[:, None], torch.inf)
    nearest = distances.argmin(0)
    gaps = torch.empty_like(distances)
    for r in nearest.unique():
        own = (nearest == r).nonzero()[:, 0]
        near = points[:, own] - means[r][:, None] / size[own]
        steps = (means - means[r])[:, :, None] / size[own]
        change = whiten(factors - factors[r], near.expand_as(steps).contiguous())
        change -= whiten(factors, steps)
        gaps[:, own] = (change * (whitened[:, :, own] + whitened[r][:, own])).sum(1)
    gaps.masked_fill_(~alive[:, None], torch.inf)
    return gaps - gaps.amin(0), (size * width).clamp_max(_LARGEST)
