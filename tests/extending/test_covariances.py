"""Covariance types that are registered from outside keep the contract of our own."""

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._model.covariances import COVARIANCES
from sklearn_keops_gmm.backends._torch._structures import TORCH_STRUCTURES
from tests.common import blobs, needs_compiled
from tests.extending.covariances import EqualVolumeCovariance, RoundCovariance
from tests.model.contract import CovarianceContract


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(COVARIANCES, "diag_equal_volume", EqualVolumeCovariance)
    monkeypatch.setitem(COVARIANCES, "round", RoundCovariance)
    monkeypatch.setitem(TORCH_STRUCTURES, "round", TORCH_STRUCTURES["full"])


@pytest.mark.parametrize("covariance_type", ["diag_equal_volume", "round"])
class TestToys(CovarianceContract):
    pass


def fitted(covariance_type, X, **parameters):
    parameters = {"covariance_type": covariance_type, "random_state": 0, **parameters}
    return KeOpsGaussianMixture(3, **parameters).fit(X)


def test_volumes_are_equal():
    X = blobs() * [1.0, 30.0]
    model = fitted("diag_equal_volume", X, reg_covar=1e-9)
    np.testing.assert_allclose(model.covariances_.prod(1), model.covariances_[0].prod())
    assert model.score(X) < fitted("diag", X, reg_covar=1e-9).score(X)


def test_widths_are_not_too_different():
    X = blobs() * [1.0, 30.0]
    matrices = fitted_model(fitted("round", X)).matrices
    widths = np.linalg.eigvalsh(matrices)
    assert (widths[:, -1] / widths[:, 0]).max() == pytest.approx(100)


@needs_compiled
def test_without_a_kernel_auto_takes_torch():
    """What is asked for by name is refused instead."""
    X = blobs()
    auto, torch = (fitted("round", X, backend=name) for name in ("auto", "torch"))
    np.testing.assert_array_equal(auto.predict(X), torch.predict(X))
    np.testing.assert_array_equal(auto.covariances_, torch.covariances_)
    message = "backend='native' cannot compute .* structure 'round'; able are: 'torch'"
    with pytest.raises(ValueError, match=message):
        fitted("round", X, backend="native")
    auto.set_params(backend="native")
    with pytest.raises(ValueError, match=message):
        auto.predict(X)


def test_types_that_are_not_registered_are_refused(monkeypatch):
    monkeypatch.delitem(COVARIANCES, "round")
    with pytest.raises(ValueError, match=r"'covariance_type' parameter .* must be"):
        fitted("round", blobs())
