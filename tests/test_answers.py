"""The number of components: in data that nobody drew, in every unit, at every size."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from tests.common import iris, wine
from tests.reference import COVARIANCE_TYPES

SEEDS = range(5)
every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def found(X, seed=0, **how):
    """The number of components in X."""
    weights = how.pop("sample_weight", None)
    model = KeOpsGaussianMixtureCV(random_state=seed, **how)
    return model.fit(X, sample_weight=weights).n_components_


def three(rng, widths=(1.0, 1.0, 1.0), n=150):
    """Three clusters in the plane."""
    centres = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    parts = zip(centres, widths, strict=True)
    return np.concatenate([rng.normal(c, width, (n, 2)) for c, width in parts])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.fast(3)
def test_iris_has_three_kinds(seed, standardised):
    X = StandardScaler().fit_transform(iris()) if standardised else iris()
    model = KeOpsGaussianMixtureCV(random_state=seed).fit(X)
    assert model.n_components_ == 3
    assert adjusted_rand_score(load_iris().target, model.predict(X)) >= 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_wine_has_three_kinds(seed):
    model = KeOpsGaussianMixtureCV(random_state=seed).fit(wine())
    assert model.n_components_ == 3
    assert adjusted_rand_score(load_wine().target, model.predict(wine())) >= 0.9


def test_wine_in_its_own_units():
    """Proline is in hundreds, hue near one: k-means sees each in its own spread."""
    X, y = load_wine(return_X_y=True)
    model = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert model.n_components_ == 3
    assert adjusted_rand_score(y, model.predict(X)) >= 0.9


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_units_of_features_do_not_matter(structure):
    X = load_wine().data[:, :6]
    units = 2.0 ** np.array([-9, 7, 0, 12, -3, 5])
    first, second = (
        KeOpsGaussianMixtureCV(5, covariance_type=structure, random_state=0).fit(Z)
        for Z in (X, X * units)
    )
    scaled = second.criterion_ - 2 * len(X) * np.log(units).sum()
    # Each has converged when less than one nat is left to gain.
    assert scaled.min() == pytest.approx(first.criterion_.min(), abs=0.1)
    np.testing.assert_allclose(scaled, first.criterion_, atol=2.0)


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_neither_the_seed_nor_the_order_matters(name):
    X = {"iris": iris, "wine": wine}[name]()
    values, labels = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(X))
        model = KeOpsGaussianMixtureCV(random_state=seed).fit(X[order])
        values.append(model.criterion_.min())
        labels.append(model.predict(X))
    assert max(values) - min(values) < 1e-6 * abs(values[0])
    assert adjusted_rand_score(labels[0], labels[1]) == 1.0
    assert adjusted_rand_score(labels[0], labels[2]) == 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.fast(1)
def test_narrow_clusters_beside_wide_ones(seed, rng):
    X = three(rng, (1.0, 0.1, 0.01), 100)
    model = KeOpsGaussianMixtureCV(random_state=seed).fit(X)
    assert model.n_components_ == 3
    assert adjusted_rand_score(np.repeat([0, 1, 2], 100), model.predict(X)) == 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.fast(1)
def test_waiting_times_in_whole_minutes(seed, rng):
    short, long = rng.normal(54, 6, 97), rng.normal(80, 6, 175)
    minutes = np.concatenate([short, long]).round()[:, None]
    assert found(minutes, seed) == 2
    assert found(minutes / 60, seed) == 2


def turned(angle):
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [0.1, 0.01])
@pytest.mark.fast(1)
def test_thin_clusters_of_several_orientations(seed, width, rng):
    """A round shape that is common to all would widen each tenfold."""
    centres = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    sticks = [
        rng.normal(size=(200, 2)) * [1.0, width] @ turned(j * np.pi / 3) + centres[j]
        for j in range(3)
    ]
    assert found(np.concatenate(sticks), seed) == 3


def test_clusters_in_planes_of_their_own(rng):
    """Features depend on each other within each, and not together."""
    planes = [
        rng.normal(size=(150, 2)) @ rng.normal(size=(2, 5)) + 6.0 * rng.normal(size=5)
        for _ in range(4)
    ]
    X = np.concatenate(planes)
    assert found(X + 0.01 * rng.normal(size=X.shape)) == 4


@pytest.mark.parametrize("n_samples", [50, 100, 300])
@pytest.mark.fast(1)
def test_one_gaussian_is_one(n_samples, rng):
    numbers = [found(rng.normal(size=(n_samples, 2))) for _ in range(3)]
    assert numbers == [1] * 3


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.slow
def test_many_samples_of_two_that_overlap(seed, rng):
    X = np.concatenate([rng.normal(0, 1, 50_000), rng.normal(3, 1, 50_000)])
    assert found(X[:, None], seed) == 2


@every_structure
@pytest.mark.fast(2)
def test_any_unit(structure, rng):
    X = three(rng)
    how = {"n_components": 10, "covariance_type": structure}
    assert found(X, **how) == found(X * 1e-6, **how) == found(X * 1e6, **how) == 3
    assert found(X + 1e4, **how) == found(X.astype(np.float32), **how) == 3


def test_features_of_different_units(rng):
    X = three(rng)
    assert found(X * [1e-3, 1e3]) == 3


@every_structure
@pytest.mark.fast(1)
def test_any_unit_of_the_weights(structure, rng):
    X = three(rng)
    how = {"covariance_type": structure, "n_components": 10, "random_state": 0}
    plain = KeOpsGaussianMixtureCV(**how).fit(X)
    for unit in (1e-6, 0.3, 1.7e5 + 0.5):
        model = KeOpsGaussianMixtureCV(**how).fit(X, sample_weight=np.full(450, unit))
        assert model.n_components_ == plain.n_components_ == 3
        np.testing.assert_allclose(model.criterion_, plain.criterion_, rtol=1e-6)


def test_counts_are_rows(rng):
    X, counts = three(rng, n=60), rng.integers(1, 4, 180)
    rows = KeOpsGaussianMixtureCV(10, random_state=0).fit(np.repeat(X, counts, axis=0))
    weighted = KeOpsGaussianMixtureCV(10, random_state=0).fit(X, sample_weight=counts)
    np.testing.assert_allclose(weighted.criterion_, rows.criterion_, rtol=1e-6)


def test_no_more_components_than_distinct_rows(rng):
    X = np.repeat(rng.normal(size=(4, 2)), 50, axis=0)
    path = sparsity_path(X, 10, random_state=0)
    assert path.n_components[0] <= 4
    with pytest.warns(UserWarning, match="all but equal|largest that was tried"):
        assert found(X) <= 4


# -- what a user can read of it ------------------------------------------------------


def test_reg_covar_of_the_data(rng):
    X = three(rng) * [1.0, 1e3]
    model = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    np.testing.assert_allclose(model.reg_covar_, 1e-6 * X.var(axis=0))
    again = clone(model.mixture_).fit(X)
    np.testing.assert_allclose(again.reg_covar_, model.reg_covar_)
    assert again.covariance_pooling_ == model.covariance_pooling_ == 1.5
    assert again.n_components_ == model.n_components_


def test_values_on_a_lattice_stand_for_what_rounds_to_them(rng):
    X = np.stack([rng.normal(scale=5, size=300).round(), rng.normal(size=300)], axis=1)
    model = KeOpsGaussianMixture(1, covariance_pooling=1.0, reg_covar=0.0).fit(X)
    np.testing.assert_allclose(model.reg_covar_, [1 / 12, 0.0])
    expected = np.cov(X.T, bias=True) + np.diag([1 / 12, 0.0])
    np.testing.assert_allclose(model.covariances_[0], expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["log", "precise"])
def test_values_of_which_most_were_rounded(rng, kind):
    """Logarithms of whole minutes, and minutes of which a tenth is more precise."""
    exact = np.r_[rng.normal(54, 6, 97), rng.normal(80, 6, 175)]
    minutes = exact.round()
    few = np.arange(272) % 10 == 0
    X = np.log(minutes) if kind == "log" else np.where(few, exact, minutes)
    orders = (np.arange(272), rng.permutation(272))
    assert [found(X[order, None], n_components=20) for order in orders] == [2, 2]


@pytest.mark.parametrize("criterion", ["lic", "bic", "icl"])
@pytest.mark.parametrize("scale", [1.0, 2.0, 5.0, 10.0])
def test_no_component_for_each_rounded_value(scale, criterion):
    rng = np.random.default_rng(0)
    exact = rng.normal(50, scale, size=2000)
    rounded = exact.round()[:, None]
    assert found(rounded, criterion=criterion) == 1
    # Nor where another feature was not rounded.
    beside = np.stack([exact.round(), rng.normal(size=2000)], axis=1)
    assert found(beside, criterion=criterion) == 1


@pytest.mark.parametrize("n_features", [1, 2])
def test_rounded_clusters(n_features, rng):
    centres = np.array([50.0, 60.0, 85.0])[:, None]
    X = np.concatenate([rng.normal(c, 2, (700, n_features)) for c in centres])
    assert [found(Y) for Y in (X, X.round())] == [3, 3]


@pytest.mark.parametrize("n_bins", [20, 30, 50, 100])
def test_a_histogram(n_bins, rng):
    sample = np.r_[rng.normal(0, 1, 60_000), rng.normal(6, 2, 40_000)]
    counts, edges = np.histogram(sample, bins=n_bins)
    middles = (edges[1:] + edges[:-1])[:, None] / 2
    model = KeOpsGaussianMixtureCV(random_state=0).fit(middles, sample_weight=counts)
    assert model.n_components_ == 2
    np.testing.assert_allclose(np.sort(model.means_.ravel()), [0, 6], atol=0.1)


def test_held_out_values_that_were_rounded(rng):
    X = rng.normal(50, 2, size=(1000, 1)).round()
    model = KeOpsGaussianMixtureCV(8, criterion="cv", random_state=0).fit(X)
    assert model.n_components_ == 1


def test_many_components_on_rounded_values(rng):
    """Some that are not needed lose all samples on the way down."""
    X = np.where(rng.random(2000) < 0.5, rng.normal(35, 6, 2000), 70)
    X = np.where(X == 70, rng.normal(70, 9, 2000), X).round()[:, None]
    model = KeOpsGaussianMixtureCV(criterion="icl", random_state=0).fit(X)
    assert np.isfinite(model.criterion_).all()
    assert model.n_components_ == 2


def test_what_rounding_takes_off(rng):
    """Criteria are means over what rounds to values; scores are at these."""
    X = np.r_[rng.normal(50, 1, 300), rng.normal(57, 2, 300)].round()[:, None]
    settings = {"criterion": "bic", "reg_covar": 0.0, "random_state": 0}
    model = KeOpsGaussianMixtureCV(6, **settings).fit(X)
    for k, mixture in enumerate(model.path_.mixtures):
        assert mixture.score(X) == pytest.approx(model.path_.scores[k])
        # The mean of a quadratic function over one step.
        means, deviations = mixture.means_.T, np.sqrt(mixture.covariances_[:, 0].T)
        shifts = np.array([-1, 1])[:, None, None] / np.sqrt(12)
        terms = norm.logpdf(X + shifts, means, deviations).mean(axis=0)
        terms += np.log(mixture.weights_)
        expected = np.logaddexp.reduce(terms, axis=1).sum()
        taken_off = mixture.score_samples(X).sum() - expected
        assert taken_off > 0
        criterion = mixture.bic(X) + 2 * taken_off
        assert model.criterion_[k] == pytest.approx(criterion, rel=1e-9)


@pytest.mark.slow
def test_the_best_covariance_type(rng):
    X = three(rng)
    model = KeOpsGaussianMixtureCV(covariance_type="auto", random_state=0).fit(X)
    assert model.covariance_type_ == model.mixture_.covariance_type
    assert model.covariance_type_ == "tied_spherical"
    table = model.results_
    assert set(table["covariance_type"]) == set(COVARIANCE_TYPES)
    best = table["rank"].argmin()
    assert table["covariance_type"][best] == model.covariance_type_
    assert table["n_components"][best] == model.n_components_ == 3
    assert table["criterion"][best] == model.criterion_.min()
    assert len({len(column) for column in table.values()}) == 1
    np.testing.assert_allclose(model.score(X), model.mixture_.score(X))


def test_a_list_of_types(rng):
    X = three(rng) @ np.array([[1.0, 0.9], [0.0, 0.5]])
    types = ["spherical", "full"]
    model = KeOpsGaussianMixtureCV(covariance_type=types, random_state=0).fit(X)
    assert model.covariance_type_ == "full"
    assert model.get_params()["covariance_type"] is types
    for wrong in ([], ["full", "round"]):
        with pytest.raises(ValueError, match="'covariance_type' must be"):
            KeOpsGaussianMixtureCV(covariance_type=wrong).fit(X)


# -- warnings ------------------------------------------------------------------------


def test_warns_where_the_bound_is_reached(rng):
    with pytest.warns(UserWarning, match="increase n_components") as record:
        KeOpsGaussianMixtureCV(2, random_state=0).fit(three(rng))
    assert [warning.filename for warning in record] == [__file__]


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6])
def test_a_constant_feature_is_no_spike(rng, value):
    X = np.column_stack([three(rng), np.full(450, value)])
    model = KeOpsGaussianMixtureCV(5, random_state=0).fit(X)  # no warning
    assert model.n_components_ == 3
    assert "samples rather" not in str(model.summary(X))


def test_a_sparse_fit_warns_of_spikes():
    with pytest.warns(UserWarning, match="covariance_pooling") as record:
        KeOpsGaussianMixture(10, sparsity=0.1, moves=False, random_state=0).fit(iris())
    assert [warning.filename for warning in record] == [__file__]


@pytest.mark.parametrize("sparsity", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.fast(1)
def test_pooled_sparse_fits_leave_no_spikes(sparsity, seed):
    """Without pooling some component is as thin as the ridge lets it be."""
    sparse = KeOpsGaussianMixture(10, sparsity=sparsity, random_state=seed)
    spiky = clone(sparse).fit(iris())
    pooled = clone(sparse).set_params(covariance_pooling="auto").fit(iris())
    assert np.linalg.eigvalsh(spiky.covariances_).min() < 1e-4
    assert np.linalg.eigvalsh(pooled.covariances_).min() > 1e-3


def test_a_plain_fit_warns_of_a_large_ridge(rng):
    X = three(rng) * 1e-3
    X = np.column_stack([X, np.ones(len(X))])
    with pytest.warns(UserWarning, match="reg_covar=0.01 is more than") as record:
        KeOpsGaussianMixture(3, reg_covar=0.01, random_state=0).fit(X)
    assert [warning.filename for warning in record] == [__file__]
