"""Mixtures made of others by leaving out, splitting or joining components."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sklearn_keops_gmm._model._parameters import MixtureParameters
from sklearn_keops_gmm._model.covariances import CovarianceStructure

# All pairs of so many components are looked at, of more those of near means.
_ALL_PAIRS = 64
_NEAR = 16
# Distances from so many means are there at once: of all they would fill the memory.
_AT_A_TIME = 256
# So many standard deviations a half lies from the mean of the whole.
_SHIFT = 0.85


def select_components(
    covariance: CovarianceStructure, parameters: MixtureParameters, chosen: Tensor
) -> MixtureParameters:
    """Return copies of components, by an index, (K,), or a mask, (M,).

    Their weights stay, whatever they sum to.
    """
    return MixtureParameters(
        parameters.weights[chosen],
        parameters.means[chosen],
        covariance.select(parameters.covariances, chosen),
        covariance.select(parameters.precisions_cholesky, chosen),
        None if parameters.targets is None else parameters.targets.select(chosen),
        parameters.noise_weight,
    )


def without_components(
    covariance: CovarianceStructure, parameters: MixtureParameters, dropped: Tensor
) -> MixtureParameters:
    """Return the mixture of all components but those `dropped`, (M,) bool."""
    return select_components(covariance, parameters, ~dropped).normalised()


def split_component(
    covariance: CovarianceStructure,
    parameters: MixtureParameters,
    j: int,
    spreads: Tensor,
) -> MixtureParameters:
    """Return the mixture with component `j` as two halves side by side.

    They lie to either side of its mean, along the axis that is longest in units of the
    features' `spreads`, (D,), and are narrower there, so that together they have its
    mean and its covariance (Richardson and Green, "On Bayesian analysis of mixtures
    with an unknown number of components", Journal of the Royal Statistical Society B
    59, 1997); as wide as it where all share a covariance.
    """
    own = covariance.of_one(parameters.covariances, j)
    step = _SHIFT * covariance.longest_axis(own, spreads)
    twice = torch.arange(len(parameters.weights) + 1, device=step.device)
    twice[-1] = j
    halves = select_components(covariance, parameters, twice)
    halves.weights[[j, -1]] *= 0.5
    halves.means[j] -= step
    halves.means[-1] += step
    if not covariance.shared:
        narrow = own[None] - covariance.spread(step[None])
        halves.covariances[[j, -1]] = narrow
        halves.precisions_cholesky[[j, -1]] = covariance.factors(narrow)
    return halves


def spreads_of(
    covariance: CovarianceStructure, parameters: MixtureParameters
) -> Tensor:
    """Return the standard deviations of the features of a mixture, (D,)."""
    weights = parameters.weights / parameters.weights.sum()
    centre = weights @ parameters.means
    between = weights @ (parameters.means - centre) ** 2
    within = parameters.covariances
    if not covariance.shared:
        within = torch.tensordot(weights, within, dims=1)[None]
    (matrix,) = covariance.matrices(within, centre[None])
    return (between + matrix.diagonal()).sqrt()


def add_component(
    covariance: CovarianceStructure,
    parameters: MixtureParameters,
    one: MixtureParameters,
) -> MixtureParameters:
    """Return the mixture with the only component of another one, of its weight.

    All others have that much less, but at least half of theirs. Where all share a
    covariance it has theirs.
    """
    places = torch.arange(len(parameters.weights) + 1, device=one.means.device)
    places[-1] = 0
    more = select_components(covariance, parameters, places)
    share = float(one.weights[0].clamp_max(0.5))
    more.weights[:-1] *= 1.0 - share
    more.weights[-1] = share * parameters.weights.sum()
    more.means[-1] = one.means[0]
    if not covariance.shared:
        more.covariances[-1] = one.covariances[0]
        more.precisions_cholesky[-1] = one.precisions_cholesky[0]
    return more


def join_mixtures(
    covariance: CovarianceStructure, first: MixtureParameters, last: MixtureParameters
) -> MixtureParameters:
    """Return the mixture of the components of both, each half as heavy.

    Noise is that of the first. Where all share a covariance they have its, too.
    """
    n_first, n_last = len(first.weights), len(last.weights)
    places = torch.arange(n_first + n_last, device=first.means.device)
    places[n_first:] = 0
    both = select_components(covariance, replace(first, targets=None), places)
    both = replace(
        both,
        weights=0.5 * torch.cat((first.weights, last.weights)),
        means=torch.cat((first.means, last.means)),
    )
    if not covariance.shared:
        both.covariances[n_first:] = last.covariances
        both.precisions_cholesky[n_first:] = last.precisions_cholesky
    return both


def neighbouring_pairs(means: Tensor) -> Tensor:
    """Return pairs of components whose means are close to each other, (P, 2)."""
    n_components = len(means)
    if n_components <= _ALL_PAIRS:
        return torch.combinations(torch.arange(n_components, device=means.device))
    return neighbouring_pairs_of(torch.arange(n_components, device=means.device), means)


def neighbouring_pairs_of(chosen: Tensor, means: Tensor) -> Tensor:
    """Return pairs of some components, (K,), and the means close to them, (P, 2)."""
    spread = means.std(0).clamp_min(torch.finfo(means.dtype).tiny)
    scaled = means / spread
    n_near = min(_NEAR + 1, len(means))
    found = [
        torch.cdist(some, scaled).topk(n_near, largest=False).indices[:, 1:]
        for some in scaled[chosen].split(_AT_A_TIME)
    ]
    near = torch.cat(found)  # (K, near)
    pairs = torch.stack((chosen[:, None].expand_as(near), near), -1)
    pairs = pairs.reshape(-1, 2).sort(1).values
    # Where means coincide the nearest need not be the component itself.
    first, second = pairs[pairs[:, 0] < pairs[:, 1]].T
    # As numbers: rows take fifty times as long to sort.
    numbers = (first * len(means) + second).unique()
    return torch.stack((numbers // len(means), numbers % len(means)), 1)
