"""The summary of a fitted mixture, with what samples say of it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_keops_gmm._data._arrays import to_numpy
from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._fitted import fitted_model
from sklearn_keops_gmm._data._query import tiles
from sklearn_keops_gmm._data._source import as_source
from sklearn_keops_gmm._model import (
    Comparison,
    Components,
    GaussianMixtureModel,
    MixtureSummary,
    SampleSummary,
    SparsityPrior,
    say_weak,
    weak_components,
)
from sklearn_keops_gmm.backends import (
    ReductionsFactory,
    choose_backend,
    get_backend,
)

_NOT_CONVERGED = "The fit did not converge: increase max_iter or tol."


def summarise(
    estimator: Any,
    mixture: Any,
    X: Any = None,
    sample_weight: Any = None,
    *,
    sample_size: float = math.inf,
    choice: Comparison | None = None,
    clusters: np.ndarray | None = None,
    warnings: tuple[str, ...] = (),
) -> MixtureSummary:
    """Return the summary of a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        That is asked, and checks the samples.
    mixture : estimator
        That has the fitted attributes.
    X, sample_weight
        Samples as a user gives them, or None.
    sample_size : float
        How many samples it was fitted to, if that is known.
    choice : Comparison or None
    clusters : ndarray of shape (n_components,) or None
    warnings : tuple of str
        More than those about components and convergence.
    """
    model = fitted_model(mixture)
    samples = None
    if X is not None:
        data = as_source(X, sample_weight).read(estimator, 1, reset=False)
        samples = summarise_samples(data, model, estimator.backend)
        sample_size = data.sample_size
    variances = torch.diagonal(model.matrices, dim1=-2, dim2=-1)
    return MixtureSummary(
        estimator=type(estimator).__name__,
        covariance_type=model.covariance.name,
        n_parameters=model.n_parameters,
        feature_names=_feature_names(estimator, model.n_features),
        weights=model.parameters.proportions.numpy().copy(),
        means=model.parameters.means.numpy().copy(),
        spreads=variances.sqrt().numpy(),
        warnings=(*_warnings(mixture, model, sample_size), *warnings),
        choice=choice,
        clusters=clusters,
        samples=samples,
        noise_weight=None if model.noise is None else model.parameters.noise_weight,
    )


def summarise_samples(
    data: Data, model: GaussianMixtureModel, backend: str
) -> SampleSummary:
    """Return what samples say of a mixture, in one pass through them."""
    name = choose_backend(backend, data.points.device, model.components.structure)
    reductions = data.bind(get_backend(name), data.frame(), model.noise)
    factory = reductions.factory(model.components.structure)
    n_columns = model.n_components + (model.noise is not None)
    asked = partial(_sums, factory, model.components, n_columns)
    # In the unit in which weights sum to the number of samples.
    size, sums = data.sample_size, data.total(asked).numpy()
    *counts, log_likelihood, entropy = sums * (size / data.total_weight)
    return SampleSummary(size, np.array(counts), float(log_likelihood), float(entropy))


def _sums(
    factory: ReductionsFactory,
    components: Components,
    n_columns: int,
    points: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """Return label counts, log-likelihood and entropy of some samples."""
    components = components.to(points.device)
    total = torch.zeros(n_columns + 2, dtype=torch.float64, device=points.device)
    for rows in tiles(len(points), n_columns):
        reductions = factory(points[rows], None)
        shares = reductions.responsibilities(components).double()
        labels = torch.nn.functional.one_hot(shares.argmax(dim=1), n_columns)
        scores = reductions.log_density(components).double()
        entropies = torch.special.entr(shares).sum(dim=1)
        columns = torch.column_stack((labels.double(), scores, entropies))
        if weights is not None:
            columns *= weights[rows, None].double()
        total += columns.sum(dim=0)
    return total.cpu()


def _feature_names(estimator: Any, n_features: int) -> tuple[str, ...]:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return tuple(f"feature {i}" for i in range(n_features))
    return tuple(map(str, names))


def _warnings(mixture: Any, model: GaussianMixtureModel, sample_size: float) -> Any:
    """Yield what to look at before a mixture is used."""
    # Attributes of older versions, and scikit-learn's, do not tell.
    ridge = getattr(mixture, "reg_covar_", np.zeros(model.n_features))
    added = torch.as_tensor(np.asarray(to_numpy(ridge), dtype=np.float64))
    sparsity = getattr(mixture, "sparsity", 0.0)
    prior = SparsityPrior(sparsity, mixture.n_components)
    fractions = prior.fractions(model.parameters.weights)
    noise_weight = model.parameters.noise_weight
    counts = (1.0 - noise_weight) * sample_size * fractions
    if weak := weak_components(model, added, counts):
        yield say_weak(weak)
    if not getattr(mixture, "converged_", True):
        yield _NOT_CONVERGED
