"""Devices for backends, and the compiled modules of one."""

from importlib import import_module

import pytest

from sklearn_keops_gmm.backends._native import (
    _candidates,
    _m_step,
    _modules,
    _reductions,
)
from tests.backends.cases import MODULES
from tests.elsewhere import skip_where_it_cannot


@pytest.fixture
def device(device, name):
    """Each device on which the backend of that name computes."""
    skip_where_it_cannot(name, device)
    return device


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """Each compiled module that this processor can run, in place of the fastest."""
    if request.param not in _modules.modules_for_this_processor():
        pytest.skip(f"this processor cannot run {request.param}")
    compiled = import_module(f"{_modules.__package__}.{request.param}")
    for user in (_reductions, _candidates, _m_step):
        monkeypatch.setattr(user, "native_module", lambda: compiled)
    return compiled
