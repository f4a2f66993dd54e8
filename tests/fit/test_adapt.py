"""Mixtures adapted to few samples of another population."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._model import PseudoSamples
from tests import reference
from tests.common import blobs, every_backend, mixture_of
from tests.reference import COVARIANCE_TYPES, Mixture

every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
# Of a population that is shifted, and wider.
FEW = blobs(30)[10:] * 1.4 + [1.0, -0.5]


def before(structure="full", **how):
    settings = {"tol": 1e-12, "max_iter": 3000, "random_state": 0} | how
    return KeOpsGaussianMixture(3, covariance_type=structure, **settings).fit(blobs())


def dense_step(X, structure, mixture, known, tau, free, weights):
    """EM on samples and tau samples for each component, whose moments are known."""
    _, offsets, means, factors = reference.components_of(structure, mixture)
    matrices = reference.as_matrices(structure, factors, means)
    sums = reference.moments(X, weights, "full", offsets, means, matrices)
    shift = known.means - means
    scatter = reference.as_matrices(structure, known.covariances, means)
    both = reference.Sums(
        sums.mass + tau,
        sums.first + tau * shift,
        sums.second + tau * (scatter + np.einsum("ja,jb->jab", shift, shift)),
        0.0,
    )
    found = reference.m_step(structure, both, means, 0.0)
    total = weights.sum() + 3 * tau
    return Mixture(
        ((sums.mass + 3 * tau * known.weights) / total).astype(float)
        if "weights" in free
        else known.weights,
        found.means,
        found.covariances if "covariances" in free else known.covariances,
    )


@every_covariance_type
@pytest.mark.parametrize(
    "free", [(), ("weights",), ("covariances",), ("weights", "covariances")], ids=str
)
def test_reference(structure, free):
    known = before(structure)
    counts = np.arange(20) % 3
    model = known.adapt(FEW, 5.0, sample_weight=counts, **dict.fromkeys(free, True))
    start = found = mixture_of(known)
    for _ in range(2000):
        step = dense_step(FEW, structure, found, start, 5.0, free, counts)
        done = np.abs(step.means - found.means).max() < 1e-12
        found = step
        if done:
            break
    for name, array in found._asdict().items():
        assert_allclose(getattr(model, f"{name}_"), array, rtol=1e-4, atol=1e-5)
    for name in {"weights", "covariances"} - {*free}:
        assert_array_equal(getattr(model, f"{name}_"), getattr(known, f"{name}_"))
    assert (np.diff(model.costs_) <= 1e-12).all()


def test_cost_is_likelihood_and_divergence():
    known = before()
    model = known.adapt(FEW, 5.0, weights=True, covariances=True)
    divergence = 0.0
    for j in range(3):
        shift = known.means_[j] - model.means_[j]
        precision, own = model.precisions_[j], known.covariances_[j]
        divergence += 0.5 * (
            np.trace(precision @ own)
            + shift @ precision @ shift
            - 2
            - np.linalg.slogdet(precision @ own)[1]
        )
    weights = known.weights_ @ np.log(known.weights_ / model.weights_)
    penalty = 5.0 / 20 * (divergence + 3 * weights)
    assert model.cost_ == pytest.approx(penalty - model.score(FEW), rel=1e-9)


def test_the_mean_of_a_component_of_its_own():
    """(F + tau mu0) / (r + tau), where responsibilities are zero and one."""
    known = KeOpsGaussianMixture.from_parameters(
        [0.5, 0.5], [[0.0, 0.0], [100.0, 0.0]], [1.0, 1.0], "spherical"
    )
    X = np.random.default_rng(0).normal([2.0, 1.0], size=(7, 2))
    model = known.adapt(X, relevance=3.0)
    assert_allclose(model.means_[0], X.sum(0) / (7 + 3.0), rtol=1e-12)
    assert_allclose(model.means_[1], known.means_[1], rtol=1e-14)


@every_covariance_type
def test_gradients(structure):
    """L-BFGS, by the gradient of the prior, ends where EM does."""
    start = before(structure)
    model = fitted_model(start)
    settings = {
        "prior": PseudoSamples(model.covariance, model.parameters, 5.0, 20.0),
        "covariance_type": structure,
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
        "reg_covar": 0.0,
        "tol": 1e-12,
    }
    found = KeOpsGaussianMixture(3, solver="lbfgs", **settings).fit(FEW)
    expected = start.adapt(FEW, 5.0, weights=True, covariances=True)
    assert found.cost_ == pytest.approx(expected.cost_, abs=1e-9)
    assert_allclose(found.means_, expected.means_, atol=1e-4)


def test_few_samples_do_not_destroy_the_mixture():
    """A warm start on them does."""
    rng = np.random.default_rng(0)
    shift = np.array([1.5, 0.5])
    few, held_out = blobs(12)[:6] + shift, blobs(400)[6:] + shift
    few = few + 0.01 * rng.normal(size=few.shape)
    known = before(tol=1e-3)
    adapted = known.adapt(few)
    known_score = known.score(held_out)
    refitted = known.set_params(warm_start=True).fit(few)
    assert adapted.score(held_out) > known_score + 0.1
    assert refitted.score(held_out) < known_score - 1.0


@every_backend
def test_backends_and_parts(backend):
    known = before(backend="torch")
    expected = known.adapt(FEW, covariances=True)
    known.set_params(backend=backend)
    for X in (FEW, [FEW[:12], FEW[12:]], da.from_array(FEW, chunks=(9, 2))):
        found = known.adapt(X, covariances=True)
        assert_allclose(found.means_, expected.means_, rtol=1e-6)


def test_one_sample_and_single_precision():
    known = before()
    model = known.adapt(FEW[:1].astype(np.float32))
    assert model.means_.dtype == np.float64
    assert_array_equal(model.covariances_, known.covariances_)
    assert not np.array_equal(model.means_, known.means_)


def test_it_is_a_copy_with_the_same_parameters():
    known = before("diag", solver="lbfgs", sparsity=0.5, covariance_pooling=2.0)
    old = known.means_.copy()
    model = known.adapt(FEW)
    assert model.get_params() == known.get_params()
    assert_array_equal(known.means_, old)
    assert model.n_iter_ == len(model.costs_) > 0
    assert model.converged_
    gaps = FEW.copy()
    gaps[::3, 0] = np.nan
    assert known.adapt(gaps).converged_


def test_errors():
    known = before()
    for relevance in (np.nan, np.inf):
        message = f"relevance == {relevance}, must be finite"
        with pytest.raises(ValueError, match=message):
            known.adapt(FEW, relevance=relevance)
    with pytest.raises(ValueError, match="relevance == 0"):
        known.adapt(FEW, relevance=0)
    with pytest.raises(ValueError, match=r"'weights' parameter of adapt .*Got 'yes'"):
        known.adapt(FEW, weights="yes")
    with pytest.raises(ValueError, match="3 features"):
        known.adapt(np.ones((4, 3)))
    with pytest.raises(ValueError, match="adapt takes mixtures without noise"):
        before(noise="uniform").adapt(FEW)
    with pytest.raises(NotFittedError):
        KeOpsGaussianMixture().adapt(FEW)
    known.set_params(max_iter=1)
    with pytest.warns(ConvergenceWarning, match="adapt did not converge"):
        known.adapt(FEW)
