"""What lies beside the components where some samples may be noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from sklearn_keops_gmm._data import Data
from sklearn_keops_gmm._fit._start_data import StartData
from sklearn_keops_gmm._model import Ridge, UniformNoise


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
    return replace(problem, noise=UniformNoise.within(low, high, volume, variances))
