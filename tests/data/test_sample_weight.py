"""A sample weight counts as that many equal rows."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import BACKENDS, SOLVERS, blobs, iris, new_scikit_learn, start
from tests.reference import COVARIANCE_TYPES

STARTS = ["kmeans", "k-means++", "random", "random_from_data"]


@pytest.fixture
def counts():
    """How often each flower stands in the data; some not at all."""
    return np.random.default_rng(0).integers(0, 4, size=len(iris()))


def assert_same_fit(weighted, repeated, atol=1e-8):
    for name in ("weights_", "means_", "covariances_", "lower_bounds_", "costs_"):
        assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=0, atol=atol
        )
    assert weighted.cost_ == pytest.approx(repeated.cost_, abs=atol)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("dtype", [float, np.float32])
def test_counts_from_a_seed(structure, init_params, dtype, counts):
    X = iris().astype(dtype)
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, init_params=init_params, random_state=0
    )
    repeated = model.fit(np.repeat(X, counts, axis=0)).__dict__.copy()
    model.fit(X, sample_weight=counts)
    atol = 1e-8 if dtype is float else 2e-3
    if dtype is float:
        assert model.n_iter_ == repeated["n_iter_"]
    assert_allclose(model.means_, repeated["means_"], rtol=0, atol=atol)
    assert_allclose(model.covariances_, repeated["covariances_"], rtol=0, atol=atol)
    assert_allclose(model.weights_, repeated["weights_"], rtol=0, atol=atol)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.fast(2)
def test_counts_from_a_given_start(backend, solver):
    X = blobs()
    counts = np.random.default_rng(1).integers(0, 4, size=len(X))
    given = start(X, "full", 3) | {"solver": solver, "sparsity": 0.5}
    model = KeOpsGaussianMixture(**given, backend=backend, max_iter=30)
    weighted = KeOpsGaussianMixture(**model.get_params()).fit(X, sample_weight=counts)
    assert_same_fit(weighted, model.fit(np.repeat(X, counts, axis=0)))


def test_scale_of_the_weights_does_not_matter(counts):
    model = KeOpsGaussianMixture(3, random_state=0)
    first = model.fit(iris(), sample_weight=counts).means_
    assert_allclose(model.fit(iris(), sample_weight=0.25 * counts).means_, first)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("init_params", ["kmeans", "random_from_data"])
def test_weights_may_be_tiny(structure, init_params):
    """What is added to the masses, to divide by them, is added to those of samples."""
    X = iris() + 10.0
    given = {"covariance_type": structure, "init_params": init_params}
    model = KeOpsGaussianMixture(3, **given, random_state=0)
    halves = np.full(len(X), 0.5)
    plain = model.fit(X, sample_weight=halves).__dict__.copy()
    model.fit(X, sample_weight=2.0**-900 * halves)
    for name in ("means_", "covariances_", "lower_bounds_"):
        assert_allclose(getattr(model, name), plain[name], rtol=1e-9)


@pytest.mark.parametrize("init_params", STARTS)
def test_counts_may_be_huge(init_params):
    """To draw for each of 150 billion rows would take the memory of many machines."""
    X = iris()
    given = {"init_params": init_params, "random_state": 0, "max_iter": 200}
    model = KeOpsGaussianMixture(3, **given).fit(X, sample_weight=np.full(len(X), 1e9))
    assert model.converged_
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize(
    ("dtype", "huge"), [(np.float64, 2.0**1018), (np.float32, 2.0**124)]
)
def test_weights_may_be_beyond_what_can_be_squared(dtype, huge, counts):
    X, weights = iris().astype(dtype), (0.3 * counts).astype(dtype)
    model = KeOpsGaussianMixture(3, random_state=0)
    expected = model.fit(X, sample_weight=weights).means_
    found = model.fit(X, sample_weight=dtype(huge) * weights).means_
    rounding = 100 * np.finfo(dtype).eps
    assert_allclose(found, expected, rtol=rounding)
    chosen = KeOpsGaussianMixtureCV(random_state=0)
    expected = chosen.fit(X, sample_weight=weights).means_
    found = chosen.fit(X, sample_weight=dtype(huge) * weights).means_
    assert_allclose(found, expected, rtol=1e3 * rounding)


def test_fractions_in_random_starts(counts):
    """Any weights start: rows are chosen in proportion to them."""
    weights = counts * 0.3
    for init_params in ("random", "random_from_data"):
        model = KeOpsGaussianMixture(3, init_params=init_params, random_state=0)
        assert np.isfinite(model.fit(iris(), sample_weight=weights).cost_)
    heavy = np.full(len(iris()), 1e-9)
    heavy[[3, 60, 140]] = 0.5
    model = KeOpsGaussianMixture(
        3, init_params="random_from_data", max_iter=0, random_state=0
    ).fit(iris(), sample_weight=heavy)
    chosen = np.sort(model.means_, axis=0)
    assert_allclose(chosen, np.sort(iris()[[3, 60, 140]], axis=0), rtol=1e-12)


def test_scores(counts):
    X = iris()
    repeated = np.repeat(X, counts, axis=0)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    for method in ("score", "bic", "aic"):
        weighted = getattr(model, method)(X, sample_weight=counts)
        assert weighted == pytest.approx(getattr(model, method)(repeated), rel=1e-12)
    labels = model.fit_predict(X, sample_weight=counts)
    assert_allclose(labels, model.predict(X))


@pytest.mark.parametrize("in_pieces", [False, True])
def test_rows_without_weight_have_no_say_in_scores(in_pieces):
    """Not even those whose density is 0."""
    X = iris()
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    far = np.concatenate([X, np.full((1, 4), 1e200)])
    weights = np.append(np.ones(len(X)), 0.0)
    assert model.score_samples(far)[-1] == -np.inf
    given = far, weights
    if in_pieces:
        given = [far[:100], far[100:]], [weights[:100], weights[100:]]
    found = model.score(given[0], sample_weight=given[1])
    assert found == pytest.approx(model.score(X), rel=1e-12)


def test_scores_in_float32_have_a_mean_if_not_a_sum():
    X = iris().astype(np.float32)
    model = KeOpsGaussianMixture(1, covariance_type="spherical").fit(X)
    far = np.full((100, 4), 2e18, np.float32)
    scores = model.score_samples(far)
    assert np.isfinite(scores).all()
    assert model.score(far) == pytest.approx(float(scores[0]), rel=1e-6)


def test_refused():
    X = iris()
    model = KeOpsGaussianMixture(3)
    with pytest.raises(ValueError, match="Negative values in data passed to"):
        model.fit(X, sample_weight=np.full(len(X), -1.0))
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(7,\)"):
        model.fit(X, sample_weight=np.ones(7))
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        model.fit(X, sample_weight=np.full(len(X), np.nan))
    two = np.zeros(len(X))
    two[:2] = 1.0
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        model.fit(X, sample_weight=two)
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 .*MixtureCV: .*wei"):
        KeOpsGaussianMixtureCV().fit(X, sample_weight=np.arange(len(X)) == 7)


@new_scikit_learn
def test_routing():
    weights = np.random.default_rng(0).random(len(iris()))
    with sklearn.config_context(enable_metadata_routing=True):
        model = KeOpsGaussianMixture(3, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        search = GridSearchCV(
            make_pipeline(scaler, model),
            {"keopsgaussianmixture__sparsity": [0.0, 1.0]},
            cv=2,
        ).fit(iris(), sample_weight=weights)
        scaled = scaler.fit_transform(iris(), sample_weight=weights)
        weighted = search.score(iris(), sample_weight=weights)
        assert weighted != search.score(iris())
    best = search.best_estimator_[-1]
    alone = KeOpsGaussianMixture(**best.get_params()).fit(scaled, sample_weight=weights)
    assert_allclose(best.means_, alone.means_)
    assert weighted == pytest.approx(alone.score(scaled, sample_weight=weights))
