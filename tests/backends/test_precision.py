"""Products are exact whatever torch's settings are, and these are left as they were."""

import threading

import numpy as np
import pytest
import torch

from sklearn_keops_gmm.backends._precision import _EXACT, _NAME, exact_products
from sklearn_keops_gmm.backends._torch._tile import PreparedComponents
from tests.backends.cases import make_case

pytestmark = pytest.mark.skipif(
    _NAME == "allow_tf32", reason="this torch has no such setting on a CPU"
)


def choices():
    return [
        getattr(owner.matmul, _NAME)
        for owner in (torch.backends.cuda, torch.backends.mkldnn)
    ]


@pytest.fixture
def rough():
    """Products that may be rounded, as many notebooks ask for."""
    found = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield choices()
    torch.set_float32_matmul_precision(found)


def test_held_and_given_back(rough):
    assert _EXACT not in rough
    with exact_products():
        assert set(choices()) == {_EXACT}
        with pytest.raises(ZeroDivisionError), exact_products():
            raise ZeroDivisionError
        assert set(choices()) == {_EXACT}
    assert choices() == rough
    assert torch.get_float32_matmul_precision() == "high"


def test_the_last_of_threads_gives_back(rough):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with exact_products():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    with exact_products():
        thread.start()
        inside.wait()
    assert set(choices()) == {_EXACT}
    leave.set()
    thread.join()
    assert choices() == rough


@pytest.mark.parametrize("name", ["log_density", "moments", "labels"])
def test_reductions_hold_them(name, rough, monkeypatch, rng):
    seen = []

    def logits(self, *arguments):
        seen.extend(choices())
        return original(self, *arguments)

    original = PreparedComponents.logits
    monkeypatch.setattr(PreparedComponents, "logits", logits)
    case = make_case(rng, "full", np.float32)
    getattr(case.reductions("torch"), name)(case.components())
    assert set(seen) == {_EXACT}
    assert choices() == rough
