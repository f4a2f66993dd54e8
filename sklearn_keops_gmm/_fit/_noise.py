"""What lies beside the components where some samples may be noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._sample import Sample
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import (
    GaussianMixtureModel,
    Ridge,
    Span,
    UniformNoise,
    span_in_box,
)


class NoiseParameters(Protocol):
    """What an estimator says of noise."""

    noise: str | None
    noise_volume: float | None


def with_noise(
    problem: StartData,
    noise: UniformNoise | None,
    parameters: NoiseParameters,
    data: Data,
    ridge: Ridge,
) -> StartData:
    """Return the problem with noise: that of a fit before, or one that a user expects.

    Raises
    ------
    ValueError
        If there is a volume, but no noise.
    """
    if noise is not None:
        return replace(problem, noise=noise)
    volume = parameters.noise_volume
    if parameters.noise is None:
        if volume is not None:
            raise ValueError(
                f"noise_volume={volume!r} is for noise='uniform', but "
                "got noise=None. Use noise_volume=None."
            )
        return problem
    low, high = torch.from_numpy(data.box.low), torch.from_numpy(data.box.high)
    n_features, n_varying = len(low), data.extent.n_varying
    n_free = problem.covariance.n_free_features(n_features, n_varying, 0)
    variances = torch.from_numpy(ridge.array(n_features))
    # No component has the ridge alone where its variance is that of all features.
    variances = variances * (n_free < n_features)
    span = _span(problem, low, high, ridge.array(n_features))
    found = UniformNoise.within(low, high, volume, variances, span)
    return replace(problem, noise=found)


def say_without_noise(model: GaussianMixtureModel, sample_size: float) -> str | None:
    """Return what to do about noise that has no weight; None if it has some."""
    weight = model.parameters.noise_weight
    if model.noise is None or weight * sample_size >= 1:
        return None
    return (
        f"noise_weight_={weight:.1g} is less than one sample: at the edge of what it "
        "can be, it has no error. Fit with noise=None, and ask for errors of that."
    )


def _span(
    problem: StartData, low: Tensor, high: Tensor, ridge: np.ndarray
) -> Span | None:
    """Return which features are linear functions of others, where components tell.

    Across them components are as wide as what is added to variances, and so is noise.
    """
    n_features, n_varying = len(low), problem.extent.n_varying
    if problem.covariance.n_free_features(n_features, n_varying, 1) == (
        problem.covariance.n_free_features(n_features, n_varying, 0)
    ):
        return None
    sample = Sample.of(problem)
    n_dependent = sample.n_dependent(ridge)
    if n_dependent == 0:
        return None
    covariance = sample.covariance() + np.diag(ridge)
    return span_in_box(low, high, covariance, n_dependent)
