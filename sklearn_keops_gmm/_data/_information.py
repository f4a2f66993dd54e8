"""Sums over samples that the observed information is made of."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sklearn_keops_gmm._data._dataset import Data
from sklearn_keops_gmm._data._query import tiles
from sklearn_keops_gmm._model import (
    ComponentCoordinates,
    Frozen,
    GaussianMixtureModel,
    InformationSums,
    StandardErrors,
    standard_errors_of,
)
from sklearn_keops_gmm.backends import (
    ReductionsFactory,
    choose_backend,
    get_backend,
)

# The matrix of so many parameters, by as many, takes 800 MB.
_MOST = 10_000


def find_standard_errors(
    data: Data, model: GaussianMixtureModel, held: Frozen | None, backend: str
) -> StandardErrors:
    """Return the standard errors that the observed information of samples gives.

    What is held has none.

    Raises
    ------
    ValueError
        If there are too many parameters, or no maximum.
    """
    coordinates = ComponentCoordinates.of(model, held)
    n_parameters = coordinates.n_all
    if n_parameters > _MOST:
        raise ValueError(
            f"Standard errors of {n_parameters:,} parameters need a matrix of as many "
            f"rows and columns; at most {_MOST:,} are accepted. Use bootstrap, or a "
            "covariance_type with fewer parameters."
        )
    name = choose_backend(backend, data.points.device, model.components.structure)
    reductions = data.bind(get_backend(name), data.frame(), model.noise)
    factory = reductions.factory(model.components.structure)
    sums = data.total(partial(_sums, factory, coordinates))
    # Of weights that are no counts: as many samples as they are worth.
    unit = data.sample_size / data.total_weight
    return standard_errors_of(coordinates, unit * coordinates.information(sums))


def _sums(
    factory: ReductionsFactory,
    coordinates: ComponentCoordinates,
    points: Tensor,
    weights: Tensor | None,
) -> InformationSums:
    """Return the sums over some samples, a tile of them at a time."""
    components = coordinates.model.components.to(points.device)
    n_columns = coordinates.n_all
    total: InformationSums | None = None
    for rows in tiles(len(points), n_columns):
        shares = factory(points[rows], None).responsibilities(components)
        some = None if weights is None else weights[rows].double().cpu()
        of_rows = points[rows].double().cpu()
        part = coordinates.sums(of_rows, shares.double().cpu(), some)
        total = part if total is None else total + part
    if total is None:
        n_components, own = coordinates.model.n_components, coordinates.n_own
        total = InformationSums(
            torch.zeros(n_columns, n_columns, dtype=torch.float64),
            torch.zeros(n_components, own, own, dtype=torch.float64),
        )
    return total
