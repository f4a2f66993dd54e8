"""Symmetric matrices, of which a triangle is kept."""

from __future__ import annotations

import torch
from torch import Tensor


def places_in_matrix(rows: Tensor, columns: Tensor, n_features: int) -> Tensor:
    """Return where in a list each entry of a symmetric matrix is found, (D * D,).

    The list has the entries at `rows` and `columns`, of the upper triangle all.
    """
    numbers = torch.zeros(n_features, n_features, dtype=torch.int64)
    numbers[rows, columns] = torch.arange(len(rows))
    upper = numbers.triu()
    return (upper + upper.triu(1).mT).flatten()
