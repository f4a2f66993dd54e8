"""Fits in which it is known which component some samples are of."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import ChunkSource, _chunks
from sklearn_keops_gmm._data._chunks import chunks_of
from tests import reference
from tests.common import blobs, every_backend, mixture_of, start
from tests.data.sources import KINDS, assert_same_fit
from tests.extending.priors import DirichletPrior
from tests.reference import COVARIANCE_TYPES, STRUCTURES

# Overlap, so that labels say something.
X = blobs(150) * [0.4, 1.0]


def some_labels(n_samples=150, n_components=3):
    """Labels of a third of the samples, which no fit would find by itself."""
    rng = np.random.default_rng(1)
    labels = rng.integers(n_components, size=n_samples)
    return np.where(rng.random(n_samples) < 0.3, labels, -1)


LABELS = some_labels()


def likelihoods(points, structure, mixture, labels):
    """log p(x_i), or log W_j p_j(x_i) with a label; and responsibilities."""
    terms = reference.pair_terms(
        points, *reference.components_of(structure, mixture)
    ).astype(float)
    others = np.arange(terms.shape[1]) != labels[:, None]
    terms = np.where(others & (labels >= 0)[:, None], -np.inf, terms)
    totals = reference.log_sum_exp(terms)
    return totals, np.exp(terms - totals[:, None])


def dense_em(structure, mixture, n_steps, labels=LABELS, weights=None, ridge=1e-6):
    """EM with responsibilities of 0 and 1 where labels are known, on all pairs."""
    weights = np.ones(len(X)) if weights is None else weights
    bounds = []
    for _ in range(n_steps):
        totals, shares = likelihoods(X, structure, mixture, labels)
        bounds.append(np.average(totals, weights=weights))
        shares = shares * weights[:, None]
        differences = X[:, None, :] - mixture.means
        sums = reference.Sums(
            shares.sum(0),
            np.einsum("nj,nja->ja", shares, differences),
            np.einsum("nj,nja,njb->jab", shares, differences, differences),
            0.0,
        )
        mixture = reference.m_step(structure, sums, mixture.means, ridge)
    return mixture, np.array(bounds)


def started(structure="full", **how):
    given = start(X, structure, 3) | {"tol": 0.0, "max_iter": 7} | how
    model = KeOpsGaussianMixture(**given)
    covariances = given["precisions_init"]
    return model, reference.Mixture(
        given["weights_init"], given["means_init"], covariances
    )


@every_backend
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.filterwarnings("ignore:Best performing")
def test_em_is_that_of_fixed_responsibilities(backend, structure, weighted):
    weights = np.random.default_rng(0).uniform(size=150) if weighted else None
    model, first = started(structure, backend=backend)
    model.fit(X, sample_weight=weights, component_labels=LABELS)
    expected, bounds = dense_em(structure, first, 7, weights=weights)
    for name, array in expected._asdict().items():
        assert_allclose(getattr(model, f"{name}_"), array, rtol=1e-7, atol=1e-9)
    assert_allclose(model.lower_bounds_, bounds, rtol=1e-10)


@pytest.mark.parametrize("structure", ["tied_diag", "tied_spherical"])
@pytest.mark.filterwarnings("ignore:Best performing")
def test_shared_types_of_our_own(structure):
    model, first = started(structure)
    model.fit(X, component_labels=LABELS)
    expected, _ = dense_em(structure, first, 7)
    assert_allclose(model.covariances_, expected.covariances, rtol=1e-9)


@pytest.mark.parametrize(
    "how",
    [
        {"acceleration": "squarem"},
        {"solver": "lbfgs"},
        {"prior": DirichletPrior(0.0)},
    ],
    ids=["squarem", "lbfgs", "prior"],
)
@pytest.mark.filterwarnings("ignore:Best performing")
def test_solvers_end_alike(how):
    rest = {"tol": 1e-11, "max_iter": 3000, "reg_covar": 0.0}
    em, other = started(**rest)[0], started(**rest | how)[0]
    em.fit(X, component_labels=LABELS)
    other.fit(X, component_labels=LABELS)
    assert other.cost_ == pytest.approx(em.cost_, abs=1e-7)
    totals, _ = likelihoods(X, "full", mixture_of(em), LABELS)
    assert em.cost_ == pytest.approx(-totals.mean(), rel=1e-10)


@pytest.mark.filterwarnings("ignore:Best performing")
@pytest.mark.parametrize("batch_size", [None, 40])
def test_adam_sees_labels_in_every_batch(batch_size):
    """At a rate of nothing the mean over batches is the cost of all."""
    model, first = started(solver="adam", batch_size=batch_size, max_iter=1)
    model.set_params(learning_rate=1e-12, random_state=0)
    model.fit(X, component_labels=LABELS)
    first = first._replace(covariances=np.linalg.inv(first.covariances))
    totals, _ = likelihoods(X, "full", first, LABELS)
    assert model.costs_[0] == pytest.approx(-totals.mean(), rel=1e-9)


def test_missing_values_and_single_precision():
    """Labelled rows may miss features; what all miss is left out."""
    gaps = X.astype(np.float32)
    gaps[::4, 0] = np.nan
    gaps[8] = np.nan
    model = KeOpsGaussianMixture(3, random_state=0).fit(gaps, component_labels=LABELS)
    native = KeOpsGaussianMixture(3, random_state=0, backend="torch")
    native.fit(np.delete(gaps, 8, 0), component_labels=np.delete(LABELS, 8))
    assert model.means_.dtype == np.float32
    assert_allclose(model.means_, native.means_, rtol=1e-3, atol=1e-3)


# -- where it starts -------------------------------------------------------------------

INITS = ["kmeans", "k-means++", "random", "random_from_data"]


@pytest.mark.parametrize("init_params", INITS)
@pytest.mark.parametrize("init_size", ["auto", 60])
def test_label_j_is_component_j(init_params, init_size):
    points = blobs(300)
    truth = KeOpsGaussianMixture(3, random_state=0).fit_predict(points)
    order = np.array([2, 0, 1])
    few = np.full(300, -1)
    for j in range(3):
        few[np.flatnonzero(truth == j)[:5]] = order[j]
    model = KeOpsGaussianMixture(
        3, init_params=init_params, init_size=init_size, random_state=0, max_iter=300
    )
    found = model.fit_predict(points, component_labels=few)
    assert np.mean(found == order[truth]) > 0.99


@pytest.mark.parametrize("init_params", INITS[:3])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.filterwarnings("ignore:Initialization did not converge:UserWarning")
def test_one_component_is_known(init_params, covariance_type):
    points = blobs(300)
    truth = KeOpsGaussianMixture(3, random_state=0).fit_predict(points)
    few = np.where((truth == 1) & (np.arange(300) < 60), 2, -1)
    model = KeOpsGaussianMixture(
        3,
        covariance_type=covariance_type,
        init_params=init_params,
        random_state=0,
        max_iter=300,
    )
    found = model.fit_predict(points, component_labels=few)
    assert np.mean(found[truth == 1] == 2) > 0.99


def test_all_known_is_one_step():
    """Then the fit is that of a Gaussian for each class."""
    labels = np.arange(150) % 3
    weights = np.random.default_rng(0).uniform(0.1, 0.2, size=150)
    model = KeOpsGaussianMixture(3, reg_covar=0.0)
    model.fit(X, sample_weight=weights, component_labels=labels)
    for j in range(3):
        own, some = X[labels == j], weights[labels == j]
        assert_allclose(model.means_[j], np.average(own, axis=0, weights=some))
        expected = np.cov(own.T, aweights=some, ddof=0)
        assert_allclose(model.covariances_[j], expected, rtol=1e-9)
    expected = np.bincount(labels, weights) / weights.sum()
    assert_allclose(model.weights_, expected)


def test_start_of_random_responsibilities_keeps_weights_that_sum_to_one():
    weights = np.where(LABELS >= 0, 0.01, 0.5)
    model = KeOpsGaussianMixture(3, init_params="random", max_iter=0, random_state=0)
    model.fit(X, sample_weight=weights, component_labels=LABELS)
    assert model.weights_.sum() == pytest.approx(1.0, abs=1e-9)


def test_a_warm_start():
    model = KeOpsGaussianMixture(3, warm_start=True, random_state=0, tol=1e-9)
    model.set_params(max_iter=1000).fit(X, component_labels=LABELS)
    cost = model.cost_
    model.fit(X, component_labels=LABELS)
    assert model.n_iter_ == 1
    assert model.cost_ <= cost + 1e-9


def test_unknown_labels_change_nothing():
    plain = KeOpsGaussianMixture(3, random_state=0).fit(X)
    model = KeOpsGaussianMixture(3, random_state=0, sparsity=0.0)
    model.fit(X, component_labels=np.full(150, -1))
    assert_array_equal(model.means_, plain.means_)


@pytest.mark.parametrize("kind", [list, pd.Series, lambda a: a.astype(float)])
def test_labels_of_other_kinds(kind):
    model = KeOpsGaussianMixture(3, random_state=0).fit(X, component_labels=LABELS)
    again = KeOpsGaussianMixture(3, random_state=0)
    again.fit(X, component_labels=kind(LABELS))
    assert_array_equal(again.means_, model.means_)


# -- metadata --------------------------------------------------------------------------


def test_routed_by_pipelines_and_searches():
    with sklearn.config_context(enable_metadata_routing=True):
        model = KeOpsGaussianMixture(3, random_state=0)
        model.set_fit_request(component_labels=True)
        pipeline = make_pipeline(StandardScaler(), model)
        pipeline.fit(X, component_labels=LABELS)
        scaled = StandardScaler().fit_transform(X)
        expected = KeOpsGaussianMixture(3, random_state=0)
        expected.fit(scaled, component_labels=LABELS)
        assert_array_equal(pipeline[-1].means_, expected.means_)
        search = GridSearchCV(model, {"tol": [1e-3, 1e-5]}, cv=3)
        search.fit(X, component_labels=LABELS)
        own = KeOpsGaussianMixture(3, random_state=0, **search.best_params_)
        own.fit(X, component_labels=LABELS)
        assert_array_equal(search.best_estimator_.means_, own.means_)
        model.set_fit_request(component_labels=None)
        with pytest.raises(ValueError, match="component_labels"):
            make_pipeline(model).fit(X, component_labels=LABELS)


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], r"shape \(149,\), but X has 150"),
        (np.where(LABELS == 2, 3, LABELS), "from -1 to 3, but the 3 components"),
        (np.where(LABELS < 0, -2, LABELS), "from -2 to 2"),
        (np.where(LABELS < 0, np.nan, LABELS), "no integers.*-1 where"),
        (LABELS + 0.5, "no integers, of type float64"),
        (LABELS.astype(str), "no integers, of type <U"),
        (np.zeros(150, dtype=int), r"none is of \[1, 2\]"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(X, component_labels=labels)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sparsity": 1.0}, "component_labels.*sparsity=1.0.*Use sparsity=0"),
        ({"moves": True}, "moves=True.*Use moves=False"),
        ({"init_params": "merge"}, "init_params='merge'"),
        ({"solver": "lbfgs", "prior": lambda w, m, f: w.sum()}, "Use prior=None"),
    ],
)
def test_what_does_not_go_together(how, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3, **how).fit(X, component_labels=LABELS)


MANY = blobs() * [0.4, 1.0]
MANY_LABELS = some_labels(len(MANY))


@pytest.fixture
def small_blocks(monkeypatch):
    """Read maps of files in several blocks."""
    monkeypatch.setattr(_chunks, "_BYTES", 8 * 2 * 40)


@pytest.mark.usefixtures("small_blocks", "one_thread")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("how", ["plain", "weighted", "missing", "noise", "sampled"])
@pytest.mark.fast(5)
def test_samples_in_parts(name, how, rng):
    """Labels travel as weights do: those of rows without weight are left out, too."""
    kind, points = KINDS[name], MANY.copy()
    weights = None
    settings = {"n_components": 3, "random_state": 0, "tol": 1e-6, "max_iter": 30}
    if how == "weighted":
        weights = rng.integers(0, 3, size=len(points)).astype(float)
    if how == "missing":
        points[rng.random(points.shape) < 0.2] = np.nan
    if how == "noise":
        settings["noise"] = "uniform"
    if how == "sampled":
        settings |= start(points, "full", 3)
        settings["init_size"] = 50
    expected = KeOpsGaussianMixture(**settings).fit(
        points, sample_weight=weights, component_labels=MANY_LABELS
    )
    found = KeOpsGaussianMixture(**settings).fit(
        kind.hold(points),
        sample_weight=kind.weights(weights),
        component_labels=kind.weigh(MANY_LABELS),
    )
    assert_same_fit(found, expected)


@pytest.mark.parametrize("name", ["list", "dask array"])
def test_wrong_labels_in_parts(name):
    kind = KINDS[name]
    points = kind.hold(MANY)
    for labels, message in (
        (np.where(MANY_LABELS < 0, 3, MANY_LABELS), "from 0 to 3"),
        (MANY_LABELS + 0.5, "no integers, of type float64"),
        (np.zeros(400, dtype=int), r"none is of \[1, 2\]"),
        (np.full(399, -1), "component_labels"),
    ):
        with pytest.raises(ValueError, match=message):
            KeOpsGaussianMixture(3).fit(points, component_labels=kind.weigh(labels))
    with pytest.raises(ValueError, match=r"component_labels (must be|is)"):
        KeOpsGaussianMixture(3).fit(points, component_labels=[MANY_LABELS])


def test_a_source_whose_chunks_have_no_labels():
    class Unlabelled(ChunkSource):
        def chunks(self):
            return chunks_of(self.X, self.sample_weight)

    source = Unlabelled(np.split(MANY, 4)).labelled(np.split(MANY_LABELS, 4))
    with pytest.raises(ValueError, match="Unlabelled reads no component_labels"):
        source.read(KeOpsGaussianMixture(3), 3)
