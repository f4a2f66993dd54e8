"""Standard errors and the bootstrap, held to automatic Hessians and to each other."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._model import ComponentCoordinates, matched
from tests.common import blobs, every_backend, iris
from tests.data.sources import KINDS
from tests.information import automatic_errors
from tests.missing import with_gaps
from tests.reference import COVARIANCE_TYPES

NAMES = ("weights", "means", "covariances", "log_variances", "fisher_z")


def fitted(X, n_components=3, sample_weight=None, **parameters):
    given = {"tol": 1e-9, "max_iter": 3000, "random_state": 0} | parameters
    return KeOpsGaussianMixture(n_components, **given).fit(
        X, sample_weight=sample_weight
    )


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_hessian(structure):
    weights = np.arange(150.0) % 4
    model = fitted(iris(), sample_weight=weights, covariance_type=structure)
    found = model.standard_errors(iris(), sample_weight=weights)
    of_weights, of_means = automatic_errors(model, iris(), weights)
    assert_allclose(found.weights, of_weights, rtol=1e-8)
    assert_allclose(found.means, of_means, rtol=1e-8)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_hessian_beside_noise(structure, rng):
    X = np.concatenate((blobs(), rng.uniform([-8, -9], [16, 15], size=(60, 2))))
    weights = 1.0 + np.arange(len(X)) % 3
    model = fitted(X, sample_weight=weights, covariance_type=structure, noise="uniform")
    found = model.standard_errors(X, sample_weight=weights)
    of_weights, of_means = automatic_errors(model, X, weights)
    assert_allclose(found.weights, of_weights[:-1], rtol=1e-8)
    assert_allclose(found.noise_weight, of_weights[-1], rtol=1e-8)
    assert_allclose(found.means, of_means, rtol=1e-8)
    low, high = found.intervals().noise_weight
    assert 0 < low < model.noise_weight_ < high < 1


def test_hessian_of_what_is_not_frozen():
    model = fitted(blobs()).set_params(frozen=["weights", "covariances"])
    shares, covariances = map(torch.tensor, (model.weights_, model.covariances_))

    def log_likelihood(means):
        normal = torch.distributions.MultivariateNormal(means, covariances)
        pairs = normal.log_prob(torch.tensor(blobs())[:, None])
        return torch.logsumexp(shares.log() + pairs, dim=1).sum()

    means = torch.tensor(model.means_)
    hessian = torch.autograd.functional.hessian(log_likelihood, means).reshape(6, 6)
    expected = torch.linalg.inv(-hessian).diagonal().sqrt()
    errors = model.standard_errors(blobs())
    assert_allclose(errors.means.ravel(), expected, rtol=1e-8)
    assert not errors.weights.any()
    assert not errors.covariances.any()


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_what_is_frozen_has_no_error(name, structure):
    """And nothing else has a larger one than where it is estimated, too."""
    model = fitted(iris(), covariance_type=structure)
    free = model.standard_errors(iris())
    errors = model.set_params(frozen={name: True}).standard_errors(iris())
    for other in ("weights", "means", "covariances"):
        found, most = getattr(errors, other), getattr(free, other)
        assert found.any() == (other != name)
        assert (found <= most * (1 + 1e-9)).all()
    model.set_params(frozen=["weights", "means", "covariances"])
    assert not model.standard_errors(iris()).means.any()


@pytest.mark.parametrize("noise", [None, "uniform"])
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_hessian_of_what_is_observed(structure, noise, rng):
    X = with_gaps(rng, blobs(100), 0.2, empty=True)
    if noise is not None:
        X = np.concatenate((X, rng.uniform([-8, -9], [16, 15], size=(60, 2))))
    weights = rng.integers(0, 4, size=len(X)).astype(float)
    given = {"covariance_type": structure, "noise": noise, "reg_covar": 0.0}
    model = fitted(X, sample_weight=weights, **given)
    errors = model.standard_errors(X, weights)
    of_weights, of_means = automatic_errors(model, X, weights)
    found = errors.weights
    if noise is not None:
        found = np.append(found, errors.noise_weight)
    assert_allclose(found, of_weights, rtol=1e-6)
    assert_allclose(errors.means, of_means, rtol=1e-6)


def test_what_misses_all_values_changes_no_errors(rng):
    X = with_gaps(rng, blobs(100), 0.2)
    model, more = fitted(X), np.concatenate((X, np.full((50, 2), np.nan)))
    expected, errors = model.standard_errors(X), model.standard_errors(more)
    for name in NAMES:
        assert_allclose(getattr(errors, name), getattr(expected, name), rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-120, 1e120])
def test_units_whose_squares_no_number_holds(unit):
    X = blobs(100) * [1.0, unit]
    model = fitted(X, reg_covar="auto")
    with pytest.raises(ValueError, match=r"features \[1\] of X: .* Scale these"):
        model.standard_errors(X)


@every_backend
def test_one_gaussian_is_in_the_books(backend):
    """Of n samples: s / sqrt(n), s**2 sqrt(2 / n), and 1 / sqrt(n) for Fisher's z."""
    X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    model = fitted(X, 1, backend=backend, reg_covar=0.0)
    found = model.standard_errors(X)
    spreads = X.std(axis=0)
    assert_allclose(found.weights, [0.0], atol=1e-12)
    assert_allclose(found.means[0], spreads / 500**0.5, rtol=1e-6)
    variances = np.diag(found.covariances[0])
    assert_allclose(variances, spreads**2 * (2 / 500) ** 0.5, rtol=1e-6)
    assert_allclose(found.log_variances, (2 / 500) ** 0.5, rtol=1e-6)
    z = np.sqrt([[0, 1 / 500], [1 / 500, 0]])
    assert_allclose(found.fisher_z[0], z, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_pieces_add_up(name, one_thread):
    kind, X = KINDS[name], blobs()
    model = fitted(kind.hold(X), max_iter=100, tol=1e-6)
    weights = np.linspace(0.5, 2, len(X))
    whole = fitted(X, max_iter=100, tol=1e-6)
    expected = whole.standard_errors(X, sample_weight=weights)
    found = model.standard_errors(kind.hold(X), sample_weight=kind.weigh(weights))
    order = np.argsort(found.estimates[1] @ [1.0, 3.0])
    other = np.argsort(expected.estimates[1] @ [1.0, 3.0])
    for part in NAMES:
        one, two = getattr(found, part)[order], getattr(expected, part)[other]
        assert_allclose(one, two, rtol=1e-3, atol=1e-9)


def test_units_and_weights():
    """Errors are in the units of features; the unit of weights does not matter."""
    X, scale = iris(), np.array([1e-6, 1.0, 1e5, 1e3])
    weights = np.linspace(1, 2, 150)
    plain = fitted(X, reg_covar=0).standard_errors(X, sample_weight=weights)
    other = fitted(X * scale, reg_covar=0).standard_errors(
        X * scale, sample_weight=1e-8 * weights
    )
    assert_allclose(other.means / scale, plain.means, rtol=1e-3)
    assert_allclose(other.log_variances, plain.log_variances, rtol=1e-3)
    assert_allclose(other.weights, plain.weights, rtol=1e-3)


def test_intervals():
    found = fitted(blobs()).standard_errors(blobs())
    intervals = found.intervals(0.9)
    weights, means, covariances = found.estimates
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    for ends, middle in zip(intervals[:3], (weights, means, variances), strict=True):
        assert (ends[..., 0] < middle).all()
        assert (middle < ends[..., 1]).all()
    half = 1.6448536 * found.means
    assert_allclose(intervals.means[..., 1] - means, half, rtol=1e-6)
    assert (intervals.weights > 0).all()
    assert (np.abs(intervals.correlations) < 1).all()
    wide = found.intervals(0.99)
    assert (np.ptp(wide.means, axis=-1) > np.ptp(intervals.means, axis=-1)).all()
    for level in (95, "a", None):
        with pytest.raises(ValueError, match=f"between 0 and 1; got {level!r}"):
            found.intervals(level)


def test_noise_without_weight():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (60, 2)) for c in (-5, 0, 5)])
    model = fitted(X, noise="uniform")
    with pytest.raises(ValueError, match=r"noise_weight_=.* Fit with noise=None"):
        model.standard_errors(X)


def test_not_at_a_maximum():
    model = KeOpsGaussianMixture(3, max_iter=1, random_state=0, init_params="random")
    model.fit(iris())
    with pytest.raises(ValueError, match=r"not positive definite.*smaller tol"):
        model.standard_errors(iris())


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_features_without_parameters(scale, pieces):
    X, one = iris(), np.ones((150, 1))
    total = X.sum(axis=1, keepdims=True)
    expected = {
        r"^Feature 4 is constant.*Leave out": (X, one),
        r"^Features 0, 5 are constant": (-one, X, 2 * one),
        r"^Features depend linearly.* in 1 of 5 dim.*Leave out": (X, total),
        r"^Features depend linearly.* in 2 of 6 dim": (X, total, X[:, :1]),
    }
    for message, parts in expected.items():
        Z = scale * np.column_stack(parts)
        Z = [Z[::2], Z[1::2]] if pieces else Z
        model = KeOpsGaussianMixture(2, reg_covar="auto", random_state=0).fit(Z)
        with pytest.raises(ValueError, match=message):
            model.standard_errors(Z)


def test_dependent_features_have_errors_where_each_has_a_variance():
    X = np.column_stack((blobs(), blobs()[:, 0]))
    model = fitted(X, covariance_type="diag")
    assert np.isfinite(model.standard_errors(X).means).all()


def test_too_many_parameters():
    X = np.random.default_rng(0).normal(size=(300, 40))
    model = KeOpsGaussianMixture(20, max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"17,220 parameters.*at most 10,000"):
        model.standard_errors(X)


# -- the bootstrap ---------------------------------------------------------------------


@pytest.mark.slow
def test_bootstrap_is_near_the_information():
    X = blobs(900)
    model = fitted(X)
    errors = model.standard_errors(X)
    found = model.bootstrap(X, 200, random_state=0)
    assert found.means.shape == (200, 3, 2)
    assert found.n_failed == 0
    of_samples = found.standard_errors()
    for name in ("weights", "means", "log_variances"):
        ratio = getattr(of_samples, name) / getattr(errors, name)
        assert_allclose(ratio, 1, atol=0.25)
        assert ratio.mean() == pytest.approx(1, abs=0.08)
    low, high = np.moveaxis(found.intervals().means, -1, 0)
    assert_allclose(high - low, 3.92 * errors.means, rtol=0.3)


@pytest.mark.slow
def test_jobs_do_not_matter():
    model = fitted(blobs())
    one, two = (model.bootstrap(blobs(), 9, random_state=0, n_jobs=n) for n in (1, 2))
    assert_allclose(one.means, two.means, rtol=1e-12)
    assert_array_equal(one.weights.shape, (9, 3))


@pytest.mark.slow
def test_resamples_converge():
    """A stop at a mean change of 1e-3 would stay near the estimate."""
    rng = np.random.default_rng(0)
    X = np.concatenate((rng.normal(0, 1, (600, 1)), rng.normal(2.5, 1, (600, 1))))
    model = fitted(X, 2)
    errors, found = model.standard_errors(X), model.bootstrap(X, 100, random_state=0)
    ratio = found.standard_errors().means / errors.means
    assert ((ratio > 0.75) & (ratio < 1.6)).all()


@pytest.mark.slow
def test_integer_weights_are_rows():
    counts = np.arange(400) % 3
    model = fitted(blobs(), 3)
    weighted = model.bootstrap(blobs(), 150, sample_weight=counts, random_state=0)
    rows = model.bootstrap(blobs().repeat(counts, axis=0), 150, random_state=0)
    for name in ("weights", "means"):
        ratio = getattr(weighted.standard_errors(), name)
        ratio = ratio / getattr(rows.standard_errors(), name)
        assert_allclose(ratio, 1, atol=0.35)
        assert ratio.mean() == pytest.approx(1, abs=0.1)


def test_labels_are_matched():
    model = fitted_model(fitted(blobs()))
    other = fitted(blobs())
    order = [2, 0, 1]
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(other, name, getattr(other, name)[order] * 1.0)
    weights, means, covariances = matched(model, fitted_model(other))
    assert_array_equal(weights, model.parameters.weights)
    assert_array_equal(means, model.parameters.means)
    assert_array_equal(covariances, model.matrices)


@pytest.mark.slow
def test_bootstrap_of_a_choice():
    """With its pooling, which is that of the fit."""
    model = KeOpsGaussianMixtureCV(6, random_state=0).fit(blobs())
    found = model.bootstrap(blobs(), 60, random_state=0)
    assert found.means.shape == (60, 3, 2)
    errors = found.standard_errors()
    assert (np.abs(found.means.mean(axis=0) - model.means_) < errors.means).all()
    variances = np.diagonal(found.covariances.mean(axis=0), axis1=1, axis2=2)
    expected = np.diagonal(model.covariances_, axis1=1, axis2=2)
    assert_allclose(variances, expected, rtol=0.05)


def test_what_a_bootstrap_refuses():
    model = fitted(blobs())
    with pytest.raises(ValueError, match="n_resamples == 1, must be >= 2"):
        model.bootstrap(blobs(), 1)
    with pytest.raises(ValueError, match="has to be one array; got list, in pieces"):
        model.bootstrap([blobs()[:200], blobs()[200:]], 5)
    model.set_params(prior=max, solver="lbfgs")
    with pytest.raises(ValueError, match="without a prior of one's own"):
        model.bootstrap(blobs(), 5)


def test_coordinates_have_as_many_parameters_as_the_mixture():
    for structure in COVARIANCE_TYPES:
        model = fitted_model(fitted(iris(), covariance_type=structure, max_iter=2))
        embedding = ComponentCoordinates.of(model).embedding
        assert embedding.shape[1] == model.n_parameters


# -- coverage --------------------------------------------------------------------------


@pytest.mark.slow
def test_coverage():
    """Intervals of 95 % hold the truth about so often."""
    rng = np.random.default_rng(0)
    centres, shares = np.array([[0.0, 0.0], [6.0, 0.0]]), np.array([0.4, 0.6])
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    held = {"weights": [], "means": [], "variances": [], "correlations": []}
    for _ in range(150):
        labels = rng.choice(2, size=600, p=shares)
        X = centres[labels] + rng.multivariate_normal([0, 0], covariance, size=600)
        model = fitted(X, 2, means_init=centres, tol=1e-7)
        ends = model.standard_errors(X).intervals()._asdict()
        truth = {
            "weights": shares,
            "means": centres,
            "variances": np.ones((2, 2)),
            "correlations": np.full((2, 2, 2), 0.6),
        }
        for name, values in truth.items():
            inside = (ends[name][..., 0] < values) & (values < ends[name][..., 1])
            if name == "correlations":
                inside = inside[:, 0, 1]
            held[name].append(inside.mean())
    for name, shares_held in held.items():
        assert np.mean(shares_held) == pytest.approx(0.95, abs=0.03), name
