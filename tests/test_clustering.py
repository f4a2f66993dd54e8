"""Clusters out of components: what is merged, and what can be asked of the result."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureClustering,
)
from sklearn_keops_gmm._clustering import _without_empty
from sklearn_keops_gmm._data import GroupMeans, as_source, fitted_model
from sklearn_keops_gmm._model import MergeTree, label_shares
from tests import reference
from tests.common import blobs, every_backend, mixture_of

LINKAGES = ["confusion", "misclassification", "entropy", "saddle"]
METHODS = ["predict", "predict_proba", "score_samples"]
slow = pytest.mark.slow


def moons(n_samples=600, seed=0):
    return make_moons(n_samples, noise=0.07, random_state=seed)


@pytest.fixture(scope="module")
def of_moons():
    """Clusters of `moons()`, for tests that ask and change nothing."""
    return MixtureClustering(random_state=0).fit(moons()[0])


def core_with_halo(seed=0):
    """Two clusters, each of a narrow and a wide component with one mean."""
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.3, 1.5], size=(800, 1))
    labels = rng.integers(0, 2, size=800)
    centres = np.array([[0.0, 0.0], [9.0, 0.0]])
    return centres[labels] + scale * rng.normal(size=(800, 2)), labels


@parametrize_with_checks(
    [
        MixtureClustering(),
        MixtureClustering(linkage="misclassification", covariance_type="auto"),
        MixtureClustering(contamination=0.1, backend="torch"),
    ]
)
@pytest.mark.fast(27)
def test_conformance(estimator, check):
    check(estimator)


# -- what is found --------------------------------------------------------------------


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.fast(1)
def test_moons(linkage):
    X, y = moons()
    clustering = MixtureClustering(2, linkage=linkage, random_state=0).fit(X)
    assert clustering.mixture_.n_components_ > 4
    assert adjusted_rand_score(y, clustering.labels_) > 0.98


@pytest.mark.parametrize("linkage", ["confusion", "misclassification", "saddle"])
@pytest.mark.fast(1)
def test_the_number_of_cores_with_halos(linkage):
    X, y = core_with_halo()
    clustering = MixtureClustering(linkage=linkage, random_state=0).fit(X)
    assert clustering.mixture_.n_components_ == 4
    assert clustering.n_clusters_ == 2
    assert adjusted_rand_score(y, clustering.labels_) == 1


def arc(rng, angle):
    t = rng.uniform(0, angle, size=1000)
    return np.stack((np.cos(t), np.sin(t)), axis=1) + 0.1 * rng.normal(size=(1000, 2))


def disc(rng):
    X = rng.uniform(-1, 1, size=(1500, 2))
    return X[(X**2).sum(axis=1) < 1]


def three_blobs(rng):
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [3.0, 5.0]])
    return centres[rng.integers(3, size=600)] + rng.normal(size=(600, 2))


@pytest.mark.parametrize(
    ("draw", "n_clusters"),
    [
        pytest.param(lambda rng: arc(rng, 2 * np.pi), 1, id="ring"),
        pytest.param(lambda rng: arc(rng, np.pi), 1, id="banana"),
        pytest.param(lambda rng: rng.normal(size=(500, 2)), 1, id="Gaussian"),
        pytest.param(lambda rng: rng.uniform(size=(1000, 2)), 1, id="square"),
        pytest.param(disc, 1, id="disc"),
        pytest.param(lambda rng: rng.uniform(size=(2000, 6)), 1, id="box"),
        pytest.param(lambda rng: moons(1000, rng.integers(99))[0], 2, id="moons"),
        pytest.param(three_blobs, 3, id="blobs"),
    ],
)
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=slow) for s in (1, 2))])
@pytest.mark.fast(2)
def test_the_number_of_clusters_of_any_shape(draw, n_clusters, seed):
    X = draw(np.random.default_rng(seed))
    assert MixtureClustering(random_state=seed).fit(X).n_clusters_ == n_clusters


def test_one_cluster(rng):
    X = rng.normal(size=(500, 2))
    clustering = MixtureClustering(random_state=0).fit(X)
    assert clustering.n_clusters_ == 1
    assert not clustering.labels_.any()
    assert clustering.children_.shape == (0, 2)


@pytest.mark.slow
def test_the_mixture_is_that_of_the_choice(of_moons):
    X, _ = moons()
    clustering = of_moons
    mixture = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert_array_equal(clustering.mixture_.means_, mixture.means_)
    assert_array_equal(clustering.score_samples(X), mixture.score_samples(X))
    assert clustering.n_iter_ == len(mixture.path_.mixtures)


@pytest.mark.slow
def test_more_clusters_than_the_criterion_keeps():
    X = blobs()
    few = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert few.n_components_ == 3
    clustering = MixtureClustering(5, random_state=0).fit(X)
    enough = few.path_.n_components >= 5
    best = np.flatnonzero(enough)[few.criterion_[enough].argmin()]
    assert_array_equal(clustering.mixture_.means_, few.path_.mixtures[best].means_)
    assert set(clustering.labels_) == set(range(5))


def test_more_clusters_than_a_choice_has_components():
    """So many features that no choice is made among two components."""
    X, y = load_breast_cancer(return_X_y=True)
    X = pd.DataFrame(StandardScaler().fit_transform(X)[:120]).add_prefix("x")
    few = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert few.path_.n_components.max() == 1
    clustering = MixtureClustering(2, random_state=0).fit(X)
    assert clustering.mixture_.n_components_ == clustering.n_clusters_ == 2
    assert list(clustering.mixture_.feature_names_in_) == list(X.columns)
    assert adjusted_rand_score(y[:120], clustering.labels_) > 0.2


@pytest.mark.filterwarnings("ignore:Component")
def test_fewer_distinct_samples_than_clusters():
    X = np.repeat([[0.0], [1.0]], 10, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"Only 2 clusters .*n_clusters=3"):
        clustering = MixtureClustering(3, random_state=0).fit(X)
    assert clustering.n_clusters_ == 2
    assert set(clustering.labels_) == {0, 1}


def test_clusters_that_no_sample_is_most_probably_of():
    """The middle of three equal Gaussians so close that it never is the first."""
    X = np.linspace(-3, 3, 200)[:, None]
    model = fitted_model(
        KeOpsGaussianMixture(
            3,
            max_iter=0,
            means_init=[[-1.0], [0.0], [1.0]],
            weights_init=[0.45, 0.1, 0.45],
            precisions_init=np.ones((3, 1, 1)),
        ).fit(X)
    )
    data = as_source(X).read(MixtureClustering(), 1)
    means = GroupMeans(data, model, "auto")
    tree = MergeTree(np.array([[0, 1], [2, 3]]), np.array([1.0, 2.0]))
    assert means(label_shares, np.eye(3)).tolist() == [0.5, 0, 0.5]
    assert_array_equal(_without_empty(tree, 3, means), [0, 0, 1])


# -- the tree -------------------------------------------------------------------------


def dense_confusion_tree(probabilities, weights):
    """Merge two clusters after another, from their N x K probabilities each time."""
    clusters = {j: probabilities[:, j] for j in range(probabilities.shape[1])}
    children, heights = [], []
    while len(clusters) > 1:
        shares = {a: weights @ p / weights.sum() for a, p in clusters.items()}
        alike = {}
        for a in clusters:
            for b in clusters:
                if a < b:
                    both = weights @ (clusters[a] * clusters[b]) / weights.sum()
                    low, high = sorted((shares[a], shares[b]))
                    alike[a, b] = both / (low * np.sqrt(high))
        a, b = max(alike, key=alike.get)
        children.append((a, b))
        heights.append(-np.log(np.clip(float(alike[a, b]), 1e-9, 1)))
        clusters[probabilities.shape[1] + len(heights) - 1] = clusters.pop(
            a
        ) + clusters.pop(b)
    return np.array(children), np.maximum.accumulate(heights)


@every_backend
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.fast(1)
def test_confusions_agree_with_a_dense_reference(backend, weighted, rng):
    X, _ = moons()
    weights = rng.uniform(0.5, 2, size=len(X)) if weighted else np.ones(len(X))
    clustering = MixtureClustering(backend=backend, random_state=0)
    clustering.fit(X, sample_weight=weights if weighted else None)
    components = reference.components_of("full", mixture_of(clustering.mixture_))
    probabilities = reference.responsibilities(X, *components)
    children, distances = dense_confusion_tree(probabilities, weights)
    assert_array_equal(clustering.children_, children)
    assert_allclose(clustering.distances_, distances, rtol=1e-6)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.fast(1)
def test_scipy_draws_the_tree(linkage):
    X, _ = moons()
    clustering = MixtureClustering(linkage=linkage, random_state=0).fit(X)
    n = clustering.mixture_.n_components_
    assert clustering.children_.shape == (n - 1, 2)
    assert (np.diff(clustering.distances_) >= 0).all()
    assert (clustering.distances_ >= 0).all()
    tree = np.column_stack(
        (clustering.children_, clustering.distances_, np.zeros(n - 1))
    )
    assert is_valid_linkage(tree)
    assert sorted(dendrogram(tree, no_plot=True)["leaves"]) == list(range(n))


def test_cuts_of_the_tree(of_moons):
    X, _ = moons()
    clustering = of_moons
    n = clustering.mixture_.n_components_
    assert_array_equal(clustering.cut_tree(), clustering.component_labels_)
    assert_array_equal(clustering.cut_tree(n_clusters=n), np.arange(n))
    assert not clustering.cut_tree(n_clusters=1).any()
    finer = clustering.cut_tree(n_clusters=4)
    for k in (3, 2):
        coarser = clustering.cut_tree(n_clusters=k)
        assert set(coarser) == set(range(k))
        assert len(set(zip(finer, coarser, strict=True))) == 4  # clusters are nested
    threshold = clustering.distances_[-2]
    by_distance = clustering.cut_tree(distance_threshold=threshold)
    assert_array_equal(by_distance, clustering.cut_tree(n_clusters=3))
    again = MixtureClustering(distance_threshold=threshold, random_state=0).fit(X)
    assert_array_equal(again.component_labels_, by_distance)


def test_the_number_found_does_not_depend_on_what_was_asked_for(of_moons):
    asked = MixtureClustering(5, random_state=0).fit(moons()[0])
    assert asked.n_clusters_ == 5
    assert_array_equal(asked.cut_tree(), of_moons.component_labels_)
    del asked._n_found  # as in files of older versions
    assert_array_equal(asked.cut_tree(), asked.component_labels_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_clusters": 99}, r"integer from 1 to \d+.*got 99"),
        ({"n_clusters": 0}, "got 0"),
        ({"n_clusters": 1.5}, r"got 1\.5"),
        ({"n_clusters": True}, "got True"),
        ({"distance_threshold": np.nan}, "'distance_threshold' .*got nan"),
        ({"distance_threshold": -1.0}, r"number >= 0; got -1\.0"),
        ({"distance_threshold": "far"}, "got 'far'"),
        ({"n_clusters": 2, "distance_threshold": 1.0}, "n_clusters or distance_thr"),
    ],
)
def test_cuts_that_there_are_not(arguments, message, of_moons):
    with pytest.raises(ValueError, match=message):
        of_moons.cut_tree(**arguments)


def test_two_numbers_of_clusters_are_refused():
    clustering = MixtureClustering(2, distance_threshold=1.0)
    with pytest.raises(ValueError, match=r"n_clusters=2 and distance_threshold=1\.0"):
        clustering.fit(blobs())


# -- answers --------------------------------------------------------------------------


def test_probabilities_are_sums_of_those_of_components(of_moons):
    X, _ = moons()
    clustering = of_moons
    components = clustering.mixture_.predict_proba(X)
    probabilities = clustering.predict_proba(X)
    assert probabilities.shape == (len(X), clustering.n_clusters_)
    for k in range(clustering.n_clusters_):
        wanted = components[:, clustering.component_labels_ == k].sum(axis=1)
        assert_allclose(probabilities[:, k], wanted, atol=1e-12)
    assert_array_equal(clustering.labels_, probabilities.argmax(axis=1))
    assert_array_equal(clustering.labels_, clustering.predict(X))
    assert clustering.labels_.dtype == np.int64


def test_a_cluster_can_be_where_its_largest_component_is_not(of_moons):
    """The most probable component is not of the most probable cluster."""
    clustering = of_moons
    grid = np.random.default_rng(0).uniform(-2, 3, size=(50_000, 2))
    of_component = clustering.component_labels_[clustering.mixture_.predict(grid)]
    assert (of_component != clustering.predict(grid)).any()


def test_samples_have_the_labels_of_clusters(of_moons):
    X, _ = moons()
    clustering = of_moons
    points, labels = clustering.sample(2000, random_state=1)
    assert points.shape == (2000, 2)
    assert (clustering.predict(points) == labels).mean() > 0.98
    shares = np.bincount(labels) / 2000
    assert_allclose(shares, clustering.predict_proba(X).mean(axis=0), atol=0.04)
    assert_array_equal(clustering.sample(9)[0], clustering.sample(9)[0])


@pytest.mark.parametrize("contamination", [0.05, 0.3])
@pytest.mark.fast(1)
def test_contamination(contamination, of_moons):
    X, _ = moons()
    clustering = MixtureClustering(contamination=contamination, random_state=0).fit(X)
    out = clustering.labels_ == -1
    assert out.sum() == contamination * len(X)
    scores = clustering.score_samples(X)
    assert scores[out].max() < clustering.offset_ <= scores[~out].min()
    assert_array_equal(clustering.predict(X), clustering.labels_)
    plain = of_moons
    assert plain.offset_ == -np.inf
    assert_array_equal(clustering.labels_[~out], plain.labels_[~out])
    assert_array_equal(clustering.predict_proba(X), plain.predict_proba(X))
    far = clustering.predict([[100.0, 100.0]])
    assert_array_equal(far, [-1])


@pytest.mark.slow
def test_contamination_counts_weights():
    X, counts = blobs(), np.random.default_rng(0).integers(0, 4, size=400)
    clustering = MixtureClustering(3, contamination=0.1, random_state=0)
    weighted = clone(clustering).fit(X, sample_weight=counts)
    repeated = clone(clustering).fit(np.repeat(X, counts, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_)
    assert_array_equal(np.repeat(weighted.labels_, counts), repeated.labels_)


def test_the_same_seed_gives_the_same_clusters():
    X, _ = moons()
    one, two = (MixtureClustering(random_state=3).fit(X) for _ in range(2))
    assert_array_equal(one.labels_, two.labels_)
    assert_array_equal(one.distances_, two.distances_)
    assert_array_equal(one.predict(X[::-1]), one.labels_[::-1])


def test_a_copy_answers_alike():
    X, _ = moons()
    clustering = MixtureClustering(contamination=0.1, random_state=0).fit(X)
    twin = pickle.loads(pickle.dumps(clustering))
    for method in METHODS:
        assert_array_equal(getattr(twin, method)(X), getattr(clustering, method)(X))
    assert_array_equal(twin.cut_tree(3), clustering.cut_tree(3))
    assert type(clustering).__module__ == "sklearn_keops_gmm"


@pytest.mark.slow
def test_a_fit_that_fails_changes_nothing():
    X, _ = moons()
    clustering = MixtureClustering(random_state=0).fit(X)
    before = clustering.labels_
    clustering.set_params(linkage="entropy", n_clusters=101)
    with pytest.raises(ValueError, match=r"at most 100 of them; the mixture has"):
        clustering.fit(np.repeat(X, 2, axis=0) + np.linspace(0, 1e-3, 1200)[:, None])
    assert clustering.labels_ is before
    assert clustering.n_clusters_ == 2


@slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_skewed_cluster_in_many_dimensions(seed):
    """Its twenty components are each confused a little with all others."""
    X = np.random.default_rng(seed).exponential(size=(3000, 10))
    clustering = MixtureClustering().fit(X)
    assert clustering.mixture_.n_components_ > 10
    assert clustering.n_clusters_ == 1
