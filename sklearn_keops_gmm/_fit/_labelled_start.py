"""Starts that respect which components some samples are known to be of.

k-means whose samples with a label stay where they are (Basu, Banerjee and Mooney,
"Semi-supervised clustering by seeding", ICML 2002).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_keops_gmm._fit._moments import about
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import Moments
from sklearn_keops_gmm._model.covariances import above_mass_floor

_MOST_STEPS = 300
# Coordinates in a tile: many samples have the same label.
_TILE = 2**17

Start = Callable[[StartData, RandomState], tuple[Tensor, Moments]]


def labelled_start(
    problem: StartData,
    labels: Tensor,
    init_params: str,
    random: Start,
    random_state: RandomState,
) -> tuple[Tensor, Moments]:
    """Return means, and moments about them, for samples of which some have a label.

    Parameters
    ----------
    problem : StartData
    labels : Tensor of shape (N,), int64
        -1 where unknown; one at least is known.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}
        How the others are divided.
    random : callable
        The start "random".
    random_state : RandomState
    """
    known = labels >= 0
    if bool(known.all()):
        return moments_of_labels(problem, labels)
    if init_params != "random":
        found = _nearest_centres(problem, labels, init_params, random_state)
        return moments_of_labels(problem, torch.where(known, labels, found))
    others = problem.unlabelled(~known)
    means, moments = random(others, random_state)
    seen = problem.unlabelled(known)
    own, sums = moments_of_labels(seen, labels[known])
    sums = about(sums, own - means, problem.covariance)
    # Each has lifted its masses above the floor by its own mean weight.
    both = moments.scaled(min(1.0, others.mean_weight)) + sums.scaled(
        min(1.0, seen.mean_weight)
    )
    return means, above_mass_floor(both, problem.mean_weight)


def moments_of_labels(problem: StartData, labels: Tensor) -> tuple[Tensor, Moments]:
    """Return the means of samples with the same label, and the moments about them."""
    tiles = _tiles(problem, labels)
    mass, first = _sums(problem, tiles())
    # Without samples the sums are 0, and so is what they are next to nothing of.
    offsets = first / mass.clamp_min(math.ulp(0.0))[:, None]
    second: Tensor | None = None
    for own, weights, points in tiles():
        differences = points - offsets[own]
        if weights is not None:
            differences = weights.sqrt()[:, None] * differences
        found = problem.covariance.scatter(differences, own, len(mass))
        second = found if second is None else second.add_(found)
    assert second is not None
    moments = Moments(mass, torch.zeros_like(first), second, 0.0)
    return problem.centre + offsets, above_mass_floor(moments, problem.mean_weight)


# Labels, weights if there are some, and points about the centre.
Tile = tuple[Tensor, Tensor | None, Tensor]


def _tiles(problem: StartData, labels: Tensor) -> Callable[[], Iterable[Tile]]:
    """Return what reads all samples, tile by tile; a single one but once."""

    def read(rows: slice) -> Tile:
        weighted = problem.sample_weight is not None
        weights = problem.weights(rows) if weighted else None
        return labels[rows], weights, problem.centred(rows)

    tiles = problem.tiles(_TILE)
    if len(tiles) > 1:
        return lambda: map(read, tiles)
    only = [read(rows) for rows in tiles]
    return lambda: only


def _sums(problem: StartData, tiles: Iterable[Tile]) -> tuple[Tensor, Tensor]:
    """Return masses, (M,), and sums about the centre, (M, D), of each label."""
    mass = problem.centre.new_zeros(problem.n_components)
    first = problem.centre.new_zeros(problem.n_components, len(problem.centre))
    for own, weights, points in tiles:
        if weights is None:
            mass += torch.bincount(own, minlength=len(mass))
        else:
            points = weights[:, None] * points
            mass.index_add_(0, own, weights)
        first.index_add_(0, own, points)
    return mass, first


def _nearest_centres(
    problem: StartData, labels: Tensor, init_params: str, random_state: RandomState
) -> Tensor:
    """Return the component, (N,), whose centre each sample is nearest to."""
    known = labels >= 0
    seen = problem.unlabelled(known)
    mass, first = _sums(seen, _tiles(seen, labels[known])())
    others = problem.unlabelled(~known)
    part, _ = others.drawn(random_state)
    scale = problem.frame.scale
    points, weights = part.centred(slice(None)) / scale, part.weights(slice(None))
    sums = first / scale
    centres = sums / torch.where(mass > 0, mass, 1.0)[:, None]
    far = init_params != "random_from_data"
    _seed(centres, mass == 0, points, weights, far, random_state)
    if init_params == "kmeans":
        share = part.total_weight / others.total_weight
        centres = _settled(centres, points, weights, share * mass, share * sums)
    found = torch.empty_like(labels)
    for rows in problem.tiles():
        found[rows] = _nearest(problem.centred(rows) / scale, centres)[1]
    return found


def _seed(
    centres: Tensor,
    unknown: Tensor,
    points: Tensor,
    weights: Tensor,
    far: bool,
    random_state: RandomState,
) -> None:
    """Write samples in place of centres that are `unknown`, (M,) bool.

    Those that are `far` from all centres are drawn the more often, as in k-means++.
    """
    placed = ~unknown
    for j in unknown.nonzero()[:, 0].tolist():
        distances, _ = _nearest(points, centres[placed])
        chances = weights * distances**2 if far else weights.clone()
        if not bool(chances.sum() > 0):
            chances = weights.clone()
        shares = (chances / chances.sum()).cpu().numpy()
        centres[j] = points[random_state.choice(len(points), p=shares)]
        placed[j] = True


def _settled(
    centres: Tensor, points: Tensor, weights: Tensor, mass: Tensor, sums: Tensor
) -> Tensor:
    """Return the centres where k-means ends.

    `mass`, (M,), and `sums`, (M, D), are of the samples that stay where they are.
    """
    before = None
    for _ in range(_MOST_STEPS):
        _, nearest = _nearest(points, centres)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        total = mass.index_add(0, nearest, weights)
        found = sums.index_add(0, nearest, weights[:, None] * points)
        held = (total > 0)[:, None]
        mass_or_one = torch.where(held, total[:, None], 1.0)
        centres = torch.where(held, found / mass_or_one, centres)
    return centres


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances, (n,), to the nearest centres, and which these are."""
    distances, found = torch.cdist(points, centres).min(1)
    return distances, found
