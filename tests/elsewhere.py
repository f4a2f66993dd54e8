"""A device that is not the CPU, for machines that have no other.

Its tensors compute on the CPU but call themselves "meta", and are as strict as CUDA's:
no operation takes tensors of two devices, and numpy takes none of them. So code that
runs here has forgotten no ``device=`` and no ``.cpu()``.
"""

from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sklearn_keops_gmm._data import _checks

DEVICE = torch.device("meta")
_CPU = torch.device("cpu")
_TO_PYTHON = {"_local_scalar_dense", "equal"}
_COPIES = {"copy_", "_to_copy"}
_INDEXING = {"index", "index_put", "index_put_"}


class _Elsewhere(torch.Tensor):
    """A tensor on that device, around one on the CPU."""

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )

    def __init__(self, here):
        self.here = here

    def __repr__(self):
        return f"_Elsewhere({self.here})"

    def item(self):
        return self.here.item()

    def tolist(self):
        return self.here.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return _run(operator, args, kwargs or {})


@contextmanager
def elsewhere():
    """Within this context there is the device, and mixtures know it."""
    known = mock.patch.object(_checks, "_DEVICES", ("cpu", DEVICE.type))
    with known, _Operators(), _Constructors():
        yield DEVICE


@contextmanager
def device_called(name):
    """Within this context there is the device "cpu", "elsewhere" or "cuda"."""
    if name == "elsewhere":
        with elsewhere() as device:
            yield device
        return
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    yield torch.device(name)


def skip_where_it_cannot(backend, device):
    """Skip a test if the backend of that name does not compute on the device."""
    if backend == "native" and device.type != "cpu":
        pytest.skip("it computes on the CPU")
    if backend == "keops" and device == DEVICE:
        pytest.skip("KeOps has no other devices than torch really has")


class _Operators(TorchDispatchMode):
    """For those that take no tensor, and make one."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return _run(operator, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """For those whose memory torch does not ask an operator for."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.tensor:
            device = kwargs.pop("device", None)
            wants_gradient = kwargs.pop("requires_grad", False)
            made = function(*args, **kwargs).to(device or _CPU)
            return made.requires_grad_(wants_gradient)
        if function is torch.Tensor.new_tensor:
            like, data = args
            return torch.tensor(data, dtype=like.dtype).to(like.device)
        return function(*args, **kwargs)


def _run(operator, args, kwargs):
    """Compute on the CPU what is wanted elsewhere, and what is wanted there."""
    name = operator.overloadpacket.__name__
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    elsewhere = [tensor for tensor in given if isinstance(tensor, _Elsewhere)]
    target = kwargs.get("device")
    if target is None:
        stays = elsewhere and name not in _TO_PYTHON
    else:
        stays = torch.device(target) == DEVICE
        kwargs = {**kwargs, "device": _CPU}
    if elsewhere and name not in _COPIES:
        _check_devices(operator, args, given)
    args, kwargs = tree_map(
        lambda x: x.here if isinstance(x, _Elsewhere) else x, (args, kwargs)
    )
    known = {id(tensor.here): tensor for tensor in elsewhere}

    def place(found):
        if not isinstance(found, torch.Tensor):
            return found
        if id(found) in known:  # it was written to
            return known[id(found)]
        return _Elsewhere(found) if stays else found

    return tree_map(place, operator(*args, **kwargs))


def _check_devices(operator, args, given):
    """Raise as CUDA does; numbers and indices may come from the CPU."""
    strangers = [t for t in given if not isinstance(t, _Elsewhere) and t.dim() > 0]
    if operator.overloadpacket.__name__ in _INDEXING:
        indices = [id(leaf) for leaf in tree_leaves(args[1])]
        strangers = [t for t in strangers if id(t) not in indices]
    if strangers:
        raise RuntimeError(f"{operator}: tensors on two devices")
