"""To scikit-learn's mixture and back."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import iris
from tests.reference import STRUCTURES


def fitted(covariance_type, **parameters):
    given = {"n_components": 5, "sparsity": 5.0, "random_state": 0} | parameters
    return KeOpsGaussianMixture(covariance_type=covariance_type, **given).fit(iris())


@pytest.mark.parametrize("covariance_type", STRUCTURES)
@pytest.mark.fast(1)
def test_to_sklearn(covariance_type):
    model = fitted(covariance_type)
    peer = model.to_sklearn()
    assert type(peer) is GaussianMixture
    assert peer.n_components == model.n_components_
    assert_allclose(peer.score_samples(iris()), model.score_samples(iris()), atol=1e-9)
    assert_array_equal(peer.predict(iris()), model.predict(iris()))
    assert peer.bic(iris()) == pytest.approx(model.bic(iris()), rel=1e-12)
    for a, b in zip(peer.sample(7), model.sample(7), strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("covariance_type", STRUCTURES)
def test_from_sklearn(covariance_type):
    peer = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    peer.fit(iris())
    model = KeOpsGaussianMixture.from_sklearn(peer, sparsity=2.0, backend="torch")
    assert (model.sparsity, model.n_components_, model.n_iter_) == (
        2.0,
        3,
        peer.n_iter_,
    )
    assert_allclose(model.predict_proba(iris()), peer.predict_proba(iris()), atol=1e-12)
    assert model.warm_start is False
    assert model.set_params(warm_start=True).fit(iris()).n_iter_ >= 1


def test_there_and_back():
    model = fitted("full")
    again = KeOpsGaussianMixture.from_sklearn(model.to_sklearn())
    assert_array_equal(again.means_, model.means_)
    assert_array_equal(again.precisions_cholesky_, model.precisions_cholesky_)


def test_initial_arrays_of_dead_components_are_dropped():
    means = iris()[:20]
    given = {"n_components": 20, "sparsity": 50.0, "means_init": means}
    # A floor under the variances that leaves no spikes on single flowers.
    model = fitted("full", **given, reg_covar=0.1, tol=1e-8, max_iter=1000)
    assert model.n_components_ < 20
    model.to_sklearn().fit(iris())


@pytest.mark.slow
def test_deployed_without_torch(tmp_path):
    model = fitted("full")
    path = tmp_path / "mixture.pkl"
    path.write_bytes(pickle.dumps(model.to_sklearn()))
    code = (
        "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb'));"
        "assert not {'torch', 'sklearn_keops_gmm'} & set(sys.modules);"
        "print(float(m.score([[5.0, 3.0, 1.5, 0.2]])))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = model.score(np.array([[5.0, 3.0, 1.5, 0.2]]))
    assert float(run.stdout) == pytest.approx(expected, rel=1e-9)


def test_refused():
    with pytest.raises(NotFittedError):
        KeOpsGaussianMixture().to_sklearn()
    with pytest.raises(NotFittedError):
        KeOpsGaussianMixture.from_sklearn(GaussianMixture())
    with pytest.raises(TypeError, match=r"'mixture' must be a .*; got int"):
        KeOpsGaussianMixture.from_sklearn(42)
    with pytest.raises(ValueError, match="covariance_type='tied_diag'"):
        fitted("tied_diag").to_sklearn()
    with pytest.raises(ValueError, match=r"'sparsity' parameter .* Got -1"):
        KeOpsGaussianMixture.from_sklearn(GaussianMixture().fit(iris()), sparsity=-1)
