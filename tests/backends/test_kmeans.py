"""k-means of the compiled module against scikit-learn's, and against all distances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm.backends import _kmeans, choose_seeds, find_clusters
from sklearn_keops_gmm.backends._native import (
    _blocks,
    native_kmeans,
    native_kmeans_plusplus,
)
from sklearn_keops_gmm.backends._native import _kmeans as native
from sklearn_keops_gmm.backends._native._blocks import in_blocks
from tests.backends.cases import MODULES, compiled_module
from tests.backends.cluster_arguments import wrong_cluster_arguments
from tests.common import needs_compiled

pytestmark = needs_compiled

# Samples, features, centres: in one block and many, of all sizes of registers.
SHAPES = [(40, 1, 3), (64, 2, 5), (700, 3, 40), (500, 8, 7), (900, 19, 30)]

every_shape = pytest.mark.parametrize("shape", SHAPES)


def blobs(shape, seed=0):
    n_samples, n_features, n_clusters = shape
    rng = np.random.default_rng(seed)
    middles = 3 * rng.normal(size=(n_clusters, n_features))
    return middles[rng.integers(n_clusters, size=n_samples)] + rng.normal(
        size=(n_samples, n_features)
    )


def both(X, n_clusters, weights=None, seed=0, tol=1e-4):
    """Return scikit-learn's clusters and ours, and see to it that they draw alike."""
    theirs, ours = np.random.RandomState(seed), np.random.RandomState(seed)
    expected = KMeans(n_clusters, n_init=1, tol=tol, random_state=theirs)
    expected.fit(X, sample_weight=weights)
    found = native_kmeans(X, n_clusters, weights, tol, ours)
    assert theirs.randint(2**31) == ours.randint(2**31)
    return expected, found


def inertia(X, labels, weights=None):
    weights = np.ones(len(X)) if weights is None else weights
    total = 0.0
    for label in np.unique(labels):
        mine, share = X[labels == label], weights[labels == label]
        if share.sum() > 0:
            squares = (mine - np.average(mine, axis=0, weights=share)) ** 2
            total += (share[:, None] * squares).sum()
    return total


def nearest(X, centres):
    """The first of the nearest centres, by all distances."""
    return ((X[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)


@every_shape
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tol", [1e-4, 0.0])
def test_clusters_are_scikit_learns(shape, weighted, tol):
    X = blobs(shape)
    weights = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    if weighted:
        weights[::5] = 0.0
    for seed in range(3):
        expected, found = both(X, shape[2], weights, seed, tol)
        assert_array_equal(found.labels_, expected.labels_)
        assert found.n_iter_ == expected.n_iter_
        assert_allclose(found.cluster_centers_, expected.cluster_centers_, atol=1e-12)
        fresh = blobs(shape, seed=7)
        assert_array_equal(found.predict(fresh), expected.predict(fresh))


@every_shape
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_seeds_are_scikit_learns(shape, weighted, dtype):
    """In float32 those of the same numbers in float64."""
    X = blobs(shape).astype(dtype)
    weights = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    for seed in range(3):
        theirs, ours = np.random.RandomState(seed), np.random.RandomState(seed)
        _, expected = kmeans_plusplus(
            X.astype(float), shape[2], sample_weight=weights, random_state=theirs
        )
        found = native_kmeans_plusplus(X, shape[2], weights, ours)
        assert_array_equal(found, expected)
        assert theirs.randint(2**31) == ours.randint(2**31)


@every_shape
def test_float32(shape):
    """Sums do not lose digits: clusters are those in float64, but for near ties."""
    X = blobs(shape).astype(np.float32)
    found = native_kmeans(X, shape[2], None, 1e-4, np.random.RandomState(0))
    wide = native_kmeans(
        X.astype(float), shape[2], None, 1e-4, np.random.RandomState(0)
    )
    assert (found.labels_ == wide.labels_).mean() > 0.99
    centres = (found.cluster_centers_ - X.mean(axis=0, dtype=float)).astype(np.float32)
    exact = nearest(X - X.mean(axis=0, dtype=float), centres)
    assert (found.labels_ == exact).mean() > 0.999


@pytest.mark.parametrize("offset", [1e9, np.array([-1e9, 3.0, 0.0])])
def test_offsets(offset):
    X = blobs((400, 3, 8))
    far = X + offset
    near = far - offset
    _, found = both(far, 8)
    expected, _ = both(near, 8)
    assert_array_equal(found.labels_, expected.labels_)


def test_constant_features():
    X = blobs((300, 2, 6))
    wide = np.column_stack([np.full(300, 5.0), X, np.zeros(300)])
    expected, found = both(wide, 6)
    assert_array_equal(found.labels_, expected.labels_)


def test_as_many_centres_as_samples():
    X = blobs((70, 2, 5))
    expected, found = both(X, 70)
    assert_array_equal(found.labels_, expected.labels_)
    assert inertia(X, found.labels_) == 0.0


def test_duplicates():
    X = blobs((100, 2, 5)).repeat(4, axis=0)
    expected, found = both(X, 9)
    assert_array_equal(found.labels_, expected.labels_)


def test_fewer_distinct_rows_than_centres():
    X = np.repeat([[0.0, 0.0], [1.0, 0.0], [4.0, 2.0]], 50, axis=0)
    with pytest.warns(
        ConvergenceWarning, match=r"distinct clusters \(3\) found"
    ) as record:
        found = native_kmeans(X, 5, None, 1e-4, np.random.RandomState(0))
    assert record[0].filename == __file__
    assert inertia(X, found.labels_) == 0.0


def test_all_samples_the_same():
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        found = native_kmeans(np.ones((90, 3)), 4, None, 1e-4, np.random.RandomState(0))
    assert len(np.unique(found.labels_)) == 1
    assert_array_equal(found.cluster_centers_, np.ones((4, 3)))


@pytest.mark.parametrize("n_empty", [1, 3])
def test_clusters_that_become_empty(n_empty):
    """They move to the farthest samples, as scikit-learn's do."""
    X = blobs((300, 2, 5))
    far = 1e3 + np.arange(n_empty)[:, None] * [50.0, 0.0]
    start = np.concatenate([X[:5], far])
    expected = KMeans(5 + n_empty, init=start, n_init=1).fit(X)
    blocks = in_blocks(X)
    centres = (start - blocks.centre) / blocks.unit
    assignment = native._Assignment(blocks, np.ones(300), centres)
    assignment.run(1e-4 * blocks.variance)
    assert_array_equal(blocks.scattered(assignment.labels), expected.labels_)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mebibytes", [0, 64])
def test_ties_go_to_the_first_centre(dtype, mebibytes):
    """On a lattice, where all distances are exact, whatever is kept between steps."""
    lattice = np.stack(np.meshgrid(*[np.arange(8.0)] * 3), -1).reshape(-1, 3)
    rows = np.random.default_rng(0).permutation(lattice).astype(dtype)
    blocks = in_blocks(rows, centre=np.zeros(3), unit=1.0)
    rng = np.random.default_rng(1)
    centres = rng.integers(8, size=(30, 3)).astype(dtype)
    with config_context(working_memory=mebibytes):
        assignment = native._Assignment(blocks, np.ones(len(rows)), centres)
        moved = None
        for _ in range(6):
            sums, changed = assignment.step(moved)
            found = blocks.scattered(assignment.labels)
            assert_array_equal(found, nearest(rows, assignment.centres))
            assert_array_equal(sums[:, 3], np.bincount(found, minlength=30))
            assert changed
            new = np.clip(assignment.centres + rng.integers(-1, 2, size=(30, 3)), 0, 7)
            moved = np.sqrt(((new - assignment.centres) ** 2.0).sum(axis=1))
            assignment.centres = new.astype(dtype)
        assignment.step(moved)
        _, changed = assignment.step(np.zeros(30))
        assert not changed


def test_scales_without_squares():
    X = blobs((300, 2, 5))
    _, expected = both(X, 5)
    for unit in (2.0**500, 2.0**-500):
        found = native_kmeans(X * unit, 5, None, 1e-4, np.random.RandomState(0))
        assert_array_equal(found.labels_, expected.labels_)


def test_same_answer_on_any_number_of_threads(monkeypatch):
    X = blobs((700, 3, 40))
    found = []
    for n_threads in (1, 2):
        monkeypatch.setattr(native, "_GRAIN", 2**10)
        monkeypatch.setattr(
            "sklearn_keops_gmm.backends._threads.budget", lambda n=n_threads: n
        )
        found.append(native_kmeans(X, 40, None, 0.0, np.random.RandomState(0)))
    assert_array_equal(found[0].cluster_centers_, found[1].cluster_centers_)


def test_scikit_learns_below_a_size(monkeypatch):
    X = blobs((500, 2, 4))
    arguments = X, 4, None, 1e-4, np.random.RandomState(0)
    assert isinstance(find_clusters(*arguments), KMeans)
    monkeypatch.setattr(_kmeans, "NATIVE_FROM", 2000)
    assert isinstance(find_clusters(*arguments), native.NativeKMeans)
    monkeypatch.setattr(_kmeans, "native_is_available", lambda: False)
    assert isinstance(find_clusters(*arguments), KMeans)
    assert len(choose_seeds(X, 4, None, np.random.RandomState(0))) == 4


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++"])
def test_fits_above_that_size(init_params):
    """The start is scikit-learn's, but for rounding."""
    shape = (4000, 2, 60)
    assert shape[0] * shape[2] >= _kmeans.NATIVE_FROM
    X = blobs(shape)
    given = {"n_components": 60, "init_params": init_params, "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        expected = GaussianMixture(**given, max_iter=2).fit(X)
    with pytest.warns(ConvergenceWarning):
        found = KeOpsGaussianMixture(**given, max_iter=2).fit(X)
    assert_allclose(found.means_, expected.means_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODULES)
def test_every_module(name, monkeypatch):
    """Each that this processor can run finds the same clusters."""
    module = compiled_module(name)
    for used in (native, _blocks):
        monkeypatch.setattr(used, "native_module", lambda: module)
    for dtype in ("float32", "float64"):
        X = blobs((700, 19, 12)).astype(dtype)
        expected, found = both(X.astype(float), 12)
        found = native_kmeans(X, 12, None, 1e-4, np.random.RandomState(0))
        assert (found.labels_ == expected.labels_).mean() > 0.99


def test_wrong_arguments():
    module = native.native_module()
    for function, name, wrong in wrong_cluster_arguments():
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            getattr(module, function)(*wrong.values())


@pytest.mark.parametrize("weighted", [False, True])
def test_one_cluster_leaves_the_stream_as_scikit_learn_does(weighted, rng):
    X = rng.normal(size=(50, 3))
    weights = rng.uniform(size=50) if weighted else None
    streams = [np.random.RandomState(3) for _ in range(2)]
    found = find_clusters(X, 1, weights, 1e-4, streams[0])
    KMeans(1, n_init=1, random_state=streams[1]).fit(X, sample_weight=weights)
    assert not found.labels_.any()
    assert not found.predict(X[:7]).any()
    assert len(found.labels_) == 50
    assert streams[0].random_sample() == streams[1].random_sample()
