"""Devices for backends, and the compiled modules of one."""

import pytest

from sklearn_keops_gmm.backends._native import (
    _candidates,
    _m_step,
    _nearest,
    _reductions,
)
from tests.backends.cases import MODULES, compiled_module
from tests.elsewhere import skip_where_it_cannot


@pytest.fixture
def device(device, name):
    """Each device on which the backend of that name computes."""
    skip_where_it_cannot(name, device)
    return device


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """Each compiled module that this processor can run, in place of the fastest."""
    compiled = compiled_module(request.param)
    for user in (_reductions, _candidates, _m_step, _nearest):
        monkeypatch.setattr(user, "native_module", lambda: compiled)
    return compiled
