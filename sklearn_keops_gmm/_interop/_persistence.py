"""What a mixture becomes when it is saved, and how it comes back.

Only types that load everywhere are saved: a tensor on a GPU would need one, and
scikit-learn's safe format knows no tensors at all.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

_TENSOR = {"tensor", "device"}


def to_state(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return `attributes` with tensors as numpy arrays that know their device."""
    return {
        name: {"tensor": value.detach().cpu().numpy(), "device": str(value.device)}
        if isinstance(value, Tensor)
        else value
        for name, value in attributes.items()
    }


def from_state(cls: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that a `cls` with that state had.

    Tensors go to the device that they were on, or to the CPU where there is none
    such. Parameters that an older version did not have get their defaults.
    """
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    defaults = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return defaults | {
        name: _tensor(**value)
        if isinstance(value, dict) and value.keys() == _TENSOR
        else value
        for name, value in state.items()
    }


def _tensor(tensor: Any, device: str) -> Tensor:
    where = torch.device(device)
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        where = torch.device("cpu")
    return torch.tensor(tensor, device=where)
