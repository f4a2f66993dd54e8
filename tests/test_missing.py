"""Fits to samples with missing values, and what they answer about such samples."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.impute import SimpleImputer

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureClustering,
)
from tests import missing, reference
from tests.common import DENSE_BACKENDS, SOLVERS, blobs, iris, mixture_of, start, wine
from tests.reference import COVARIANCE_TYPES

INITS = ["kmeans", "k-means++", "random", "random_from_data"]
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture
def gaps(rng):
    """Blobs of which a quarter of the numbers is missing, and all of two rows."""
    X = missing.with_gaps(rng, blobs(), 0.25)
    X[[3, 77]] = np.nan
    return X


def reference_em(X, covariance_type, given, n_steps):
    """Return the mixture after some steps of EM by dense formulas, and its costs."""
    X = X[~np.isnan(X).all(axis=1)]
    covariances = {
        "full": np.tile(np.eye(2), (3, 1, 1)),
        "tied": np.eye(2),
        "diag": np.ones((3, 2)),
        "spherical": np.ones(3),
        "tied_diag": np.ones(2),
        "tied_spherical": np.ones(1),
    }[covariance_type]
    mixture = reference.Mixture(given["weights_init"], given["means_init"], covariances)
    costs = []
    for _ in range(n_steps):
        structure, *parts = reference.components_of(covariance_type, mixture)
        matrices = reference.as_matrices(structure, parts[2], mixture.means)
        sums = missing.moments(X, None, "full", parts[0], parts[1], matrices)
        costs.append(-sums.log_likelihood / len(X))
        mixture = reference.m_step(covariance_type, sums, mixture.means, 1e-6)
    return mixture, costs


@every_type
@pytest.mark.parametrize("backend", DENSE_BACKENDS)
@pytest.mark.fast(2)
def test_em_is_that_of_dense_formulas(covariance_type, backend, gaps):
    given = start(blobs(), covariance_type, 3)
    expected, costs = reference_em(gaps, covariance_type, given, 6)
    model = KeOpsGaussianMixture(**given, backend=backend, max_iter=6, tol=0)
    with pytest.warns(match="did not converge"):
        model.fit(gaps)
    assert_allclose(model.costs_, costs, rtol=1e-10)
    for found, array in zip(mixture_of(model), expected, strict=True):
        assert_allclose(found, array, rtol=1e-8, atol=1e-10)


@every_type
@pytest.mark.fast(2)
def test_solvers_end_alike(covariance_type, gaps):
    given = start(blobs(), covariance_type, 3) | {"tol": 1e-9, "max_iter": 2000}
    costs = {
        solver: KeOpsGaussianMixture(**given, solver=solver).fit(gaps).cost_
        for solver in SOLVERS
    }
    assert costs["lbfgs"] == pytest.approx(costs["em"], abs=1e-5)
    assert costs["adam"] == pytest.approx(costs["em"], abs=1e-3)


@every_type
@pytest.mark.fast(2)
def test_costs_fall(covariance_type, gaps):
    given = start(blobs(), covariance_type, 3) | {"tol": 1e-8, "max_iter": 2000}
    for sparsity in (0.0, 1.0):
        model = KeOpsGaussianMixture(**given, sparsity=sparsity, reg_covar=0.0)
        assert (np.diff(model.fit(gaps).costs_) <= 1e-12).all()


def test_less_is_lost_than_by_means_in_their_place(rng):
    """What is left out at random: the fit comes near that to the complete data."""
    X = missing.with_gaps(rng, wine(), 0.3)
    given = {"covariance_type": "tied", "random_state": 0}
    whole = KeOpsGaussianMixture(3, **given).fit(wine()).score(wine())
    found = KeOpsGaussianMixture(3, **given).fit(X).score(wine())
    filled = SimpleImputer().fit_transform(X)
    by_means = KeOpsGaussianMixture(3, **given).fit(filled).score(wine())
    assert whole - found < 0.6 * (whole - by_means)


# -- rows of which nothing is observed -----------------------------------------------


def test_empty_rows_do_not_count(gaps):
    given = {"n_components": 3, "random_state": 0}
    empty = np.isnan(gaps).all(axis=1)
    model = KeOpsGaussianMixture(**given).fit(gaps)
    other = KeOpsGaussianMixture(**given).fit(gaps[~empty])
    assert_array_equal(model.means_, other.means_)
    assert_array_equal(model.score_samples(gaps)[empty], 0)
    assert_array_equal(
        model.score_samples(gaps)[~empty], model.score_samples(gaps[~empty])
    )
    assert_allclose(model.predict_proba(gaps)[empty], [model.weights_] * 2, rtol=1e-12)
    assert (model.predict(gaps)[empty] == model.weights_.argmax()).all()
    assert model.score(gaps) == pytest.approx(model.score_samples(gaps).mean())
    for criterion in (model.bic, model.aic):
        assert criterion(gaps) == pytest.approx(criterion(gaps[~empty]), rel=1e-12)
    means = model.weights_ @ model.means_
    assert_allclose(model.impute(gaps)[empty], [means] * 2, rtol=1e-10)


def test_nothing_but_empty_rows():
    X = np.full((10, 2), np.nan)
    with pytest.raises(ValueError, match=r"no samples that count: .* nothing is"):
        KeOpsGaussianMixture().fit(X)
    model = KeOpsGaussianMixture().fit(blobs())
    assert model.score(X) == 0
    with pytest.raises(ValueError, match="no sample of which something is observed"):
        model.bic(X)
    before = model.means_.copy()
    with pytest.raises(ValueError, match="no samples that count"):
        model.partial_fit(X)
    assert_array_equal(model.means_, before)


def test_features_without_a_value():
    frame = pd.DataFrame(blobs(), columns=["a", "b"]).assign(c=np.nan)
    with pytest.raises(ValueError, match=r"no value is observed: 'c'\. Leave them out"):
        KeOpsGaussianMixture().fit(frame)


def test_a_batch_may_miss_a_feature(gaps):
    model = KeOpsGaussianMixture(3, random_state=0).partial_fit(gaps)
    batch = blobs().copy()
    batch[:, 1] = np.nan
    model.partial_fit(batch)
    assert np.isfinite(model.means_).all()


# -- weights, starts, dtypes -----------------------------------------------------------


@every_type
def test_a_weight_is_a_number_of_rows(covariance_type, gaps, rng):
    weights = rng.integers(0, 3, len(gaps))
    given = start(blobs(), covariance_type, 3) | {"max_iter": 300}
    one = KeOpsGaussianMixture(**given).fit(gaps, sample_weight=weights)
    other = KeOpsGaussianMixture(**given).fit(np.repeat(gaps, weights, axis=0))
    assert_allclose(one.means_, other.means_, rtol=1e-8)
    repeated = np.repeat(gaps, weights, axis=0)
    assert one.bic(gaps, weights) == pytest.approx(other.bic(repeated), rel=1e-10)


@pytest.mark.parametrize("init_params", INITS)
@every_type
@pytest.mark.fast(8)
def test_every_start(init_params, covariance_type, gaps):
    given = {
        "covariance_type": covariance_type,
        "init_params": init_params,
        "max_iter": 500,
    }
    model = KeOpsGaussianMixture(3, random_state=0, **given).fit(gaps)
    again = KeOpsGaussianMixture(3, random_state=0, **given).fit(gaps)
    assert_array_equal(again.means_, model.means_)
    assert np.isfinite(model.cost_)


def test_starts_find_the_clusters(rng):
    """Draws, as means in their place would not, leave clusters where they are."""
    truth = rng.integers(3, size=600)
    X = rng.normal(size=(600, 4)) + 6 * np.eye(4)[truth]
    X = missing.with_gaps(rng, X, 0.2)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    table = np.zeros((3, 3))
    np.add.at(table, (truth, model.predict(X)), 1)
    assert table.max(axis=1).sum() > 0.93 * 600


@pytest.mark.parametrize("n_features", [1, 8])
@every_type
def test_few_samples_with_many_gaps(n_features, covariance_type, rng):
    X = missing.with_gaps(rng, rng.normal(size=(12, n_features)), 0.7)
    X[0] = 0.5
    model = KeOpsGaussianMixture(
        2, covariance_type=covariance_type, reg_covar=1e-3, random_state=0, max_iter=500
    ).fit(X)
    assert np.isfinite(model.score(X))


def test_single_precision(gaps):
    given = start(blobs(), "full", 3) | {"tol": 1e-5, "max_iter": 300}
    one = KeOpsGaussianMixture(**given).fit(gaps.astype(np.float32))
    other = KeOpsGaussianMixture(**given).fit(gaps)
    assert one.means_.dtype == np.float32
    assert one.impute(gaps.astype(np.float32)).dtype == np.float32
    assert_allclose(one.means_, other.means_, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e120), (0, 1e-120), (1e9, 1.0)])
def test_units(offset, scale, gaps):
    given = {"random_state": 0, "reg_covar": "auto", "max_iter": 300}
    plain = KeOpsGaussianMixture(3, **given).fit(gaps)
    model = KeOpsGaussianMixture(3, **given).fit(offset + scale * gaps)
    means = (model.means_ - offset) / scale
    assert_allclose(means, plain.means_, rtol=1e-3, atol=1e-3)


# -- how missing values are written ----------------------------------------------------


def written():
    """Return one table in all ways in which libraries write missing values."""
    polars = pytest.importorskip("polars")
    X = blobs().round(2)
    gaps = np.abs(X) > 5
    plain = np.where(gaps, np.nan, X)
    columns = [
        [None if gap else value for value, gap in zip(*column, strict=True)]
        for column in zip(X.T, gaps.T, strict=True)
    ]
    objects = np.array(columns, dtype=object).T
    unknown = np.where(gaps, pd.NA, objects)
    return plain, {
        "masked": np.ma.array(X, mask=gaps),
        "masked rows": list(np.ma.array(X, mask=gaps)),
        "None": objects.tolist(),
        "objects": objects,
        "NA": unknown,
        "pandas": pd.DataFrame(plain),
        "pandas objects": pd.DataFrame(unknown),
        "pandas nullable": pd.DataFrame(unknown).astype("Float64"),
        "polars": polars.DataFrame({"0": columns[0], "1": columns[1]}),
    }


@pytest.mark.parametrize(
    "how",
    [
        "masked",
        "masked rows",
        "None",
        "objects",
        "NA",
        "pandas",
        "pandas objects",
        "pandas nullable",
        "polars",
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_however_missing_values_are_written(how):
    plain, others = written()
    expected = KeOpsGaussianMixture(2, random_state=0).fit(plain)
    model = KeOpsGaussianMixture(2, random_state=0).fit(others[how])
    assert_array_equal(model.means_, expected.means_)
    for name in ("score_samples", "predict", "predict_proba", "impute"):
        found = getattr(model, name)(others[how])
        assert_array_equal(found, getattr(expected, name)(plain))


def test_integers_that_are_masked():
    X = np.ma.array((10 * blobs()).astype(int), mask=blobs() > 6)
    model = KeOpsGaussianMixture(2, random_state=0).fit(X)
    plain = np.where(blobs() > 6, np.nan, X.data)
    assert_array_equal(model.predict(X), model.predict(plain))


def test_infinity_is_no_missing_value(gaps):
    model = KeOpsGaussianMixture(3, random_state=0).fit(gaps)
    gaps[0] = np.inf
    for ask in (model.predict, model.score, model.impute, model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="contains infinity"):
            ask(gaps)


# -- the number of components, and clusters --------------------------------------------


@pytest.mark.parametrize(
    "criterion", ["lic", "bic", "icl", pytest.param("cv", marks=pytest.mark.slow)]
)
def test_the_number_of_components(criterion, rng):
    X = rng.normal(size=(900, 4)) + 7 * np.eye(4)[rng.integers(3, size=900)]
    X = missing.with_gaps(rng, X, 0.2)
    X[[5, 600]] = np.nan
    model = KeOpsGaussianMixtureCV(8, criterion=criterion, random_state=0).fit(X)
    assert model.n_components_ == 3


def test_folds_are_of_the_rows_that_were_given(gaps):
    """As if the empty rows were not there, but for the folds that they are in."""
    folds = [
        (np.arange(100, 400), np.arange(100)),
        (np.arange(200), np.arange(200, 400)),
    ]
    one = KeOpsGaussianMixtureCV(4, criterion="cv", cv=folds, random_state=0).fit(gaps)
    kept = ~np.isnan(gaps).all(axis=1)
    places = np.cumsum(kept) - 1
    folds = [tuple(places[rows[kept[rows]]] for rows in fold) for fold in folds]
    other = KeOpsGaussianMixtureCV(4, criterion="cv", cv=folds, random_state=0)
    assert_array_equal(one.scores_, other.fit(gaps[kept]).scores_)


def test_entropy_is_that_of_the_components_alone(gaps):
    """What is missing is no doubt about components."""
    model = KeOpsGaussianMixtureCV(3, criterion="icl", random_state=0).fit(gaps)
    kept = gaps[~np.isnan(gaps).all(axis=1)]
    for k, mixture in enumerate(model.path_.mixtures):
        shares = mixture.predict_proba(kept)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum()
        difference = model.criterion_[k] - mixture.bic(gaps)
        assert difference == pytest.approx(2 * entropy, rel=1e-6, abs=1e-6)


def test_values_on_a_lattice(rng):
    """Steps between values are seen among those that are observed."""
    X = missing.with_gaps(rng, iris(), 0.3)
    whole = KeOpsGaussianMixtureCV(random_state=0).fit(iris())
    model = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert_allclose(model.reg_covar_, whole.reg_covar_, rtol=1e-3)


def test_clusters(gaps):
    model = MixtureClustering(3, random_state=0).fit(gaps)
    assert model.n_clusters_ == 3
    assert_array_equal(model.labels_, model.predict(gaps))
    assert_allclose(model.predict_proba(gaps).sum(axis=1), 1)
    some = MixtureClustering(3, contamination=0.1, random_state=0).fit(gaps)
    assert 0.05 < (some.labels_ == -1).mean() < 0.15


# -- filling in ------------------------------------------------------------------------


@every_type
@pytest.mark.fast(2)
def test_conditional_means(covariance_type, gaps):
    model = KeOpsGaussianMixture(3, covariance_type=covariance_type, random_state=0)
    model.fit(gaps)
    given = reference.components_of(covariance_type, mixture_of(model))
    terms, completed, _ = missing.terms(
        gaps,
        "full",
        *given[1:3],
        reference.as_matrices(covariance_type, given[3], given[2]),
    )
    shares = np.exp(terms - reference.log_sum_exp(terms)[:, None])
    expected = np.einsum("nj,njd->nd", shares, completed + model.means_)
    found = model.impute(gaps)
    assert_allclose(found, expected, rtol=1e-9)
    assert_array_equal(found[~np.isnan(gaps)], gaps[~np.isnan(gaps)])
    assert_array_equal(model.impute(blobs()), blobs())
    means = model.conditional_mean([0], blobs()[:, :1])
    beside = np.column_stack((blobs()[:, 0], np.full(400, np.nan)))
    assert_allclose(model.impute(beside)[:, 1:], means, rtol=1e-9)


@every_type
def test_draws(covariance_type, rng):
    """Their means and covariances are those given what is observed."""
    X = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + 3
    model = KeOpsGaussianMixture(2, covariance_type=covariance_type, random_state=0)
    model.fit(X)
    sample = np.tile([X[0, 0], np.nan, np.nan], (3000, 1))
    draws = model.impute(sample, n_draws=2, random_state=0)
    assert draws.shape == (2, 3000, 3)
    conditional = model.condition([0], X[0, :1])
    w, m = conditional.weights_, conditional.means_
    covariances = reference.as_matrices(
        conditional.covariance_type, conditional.covariances_, m
    )
    mean = w @ m
    expected = np.einsum("j,jab->ab", w, covariances)
    expected += np.einsum("j,ja,jb->ab", w, m - mean, m - mean)
    found = draws[:, :, 1:].reshape(-1, 2)
    scale = np.sqrt(np.diag(expected))
    assert_allclose((found.mean(axis=0) - mean) / scale, 0, atol=0.06)
    assert_allclose(
        np.cov(found.T) / np.outer(scale, scale),
        expected / np.outer(scale, scale),
        atol=0.1,
    )
    assert_array_equal(draws[:, :, 0], [sample[:, 0]] * 2)
    assert_array_equal(draws, model.impute(sample, 2, random_state=0))
    assert not np.array_equal(draws, model.impute(sample, 2, random_state=1))


@pytest.mark.parametrize("n_draws", [0, -1, 2.0, "2"])
def test_no_draws(n_draws, gaps):
    model = KeOpsGaussianMixture(3, random_state=0).fit(gaps)
    with pytest.raises(ValueError, match=f"'n_draws' must be .*; got {n_draws!r}"):
        model.impute(gaps, n_draws=n_draws)


def test_given_features_may_miss_too(rng):
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    model = KeOpsGaussianMixture(2, random_state=0).fit(X)
    given = missing.with_gaps(rng, X[:, [2, 0]], 0.4, empty=True)
    found = model.conditional_mean([2, 0], given)
    whole = np.column_stack((given[:, 1], np.full(300, np.nan), given[:, 0]))
    assert_allclose(found[:, 0], model.impute(whole)[:, 1], rtol=1e-12)
    complete = ~np.isnan(given).any(axis=1)
    expected = model.conditional_mean([2, 0], given[complete])
    assert_allclose(found[complete], expected, rtol=1e-9, atol=1e-12)
