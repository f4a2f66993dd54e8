"""Linkages against what they say they are, and trees against merging by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.sparse.csgraph import connected_components

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._model import LINKAGES, MergeTree, products
from sklearn_keops_gmm._model._linkage import indicators
from sklearn_keops_gmm._model._merge_tree import more_alike_than, widest_gap
from tests.common import blobs
from tests.reference import COVARIANCE_TYPES


def mixture(n_components=5, **given):
    return KeOpsGaussianMixture(n_components, random_state=0, **given).fit(blobs())


class Means:
    """Weighted means over samples that are held as a dense matrix."""

    def __init__(self, probabilities):
        self.probabilities = probabilities
        self.n_passes = 0

    def __call__(self, function, groups):
        self.n_passes += 1
        found = function(torch.from_numpy(self.probabilities @ groups), None)
        return found.numpy() / len(self.probabilities)

    @property
    def confusions(self):
        return self(products, np.eye(self.probabilities.shape[1]))


def linkage(name, model):
    means = Means(model.predict_proba(blobs()))
    return LINKAGES[name](fitted_model(model), means), means.probabilities


LABELS = [np.arange(5), np.array([0, 1, 0, 2, 2]), np.array([0, 1, 1, 1, 0])]
every_clustering = pytest.mark.parametrize("labels", LABELS)


def of_pairs(function, n):
    """A function of each two clusters, off the diagonal."""
    return np.array(
        [[function(a, b) if a != b else 0 for b in range(n)] for a in range(n)]
    )


def assert_same_pairs(found, expected):
    off = ~np.eye(len(expected), dtype=bool)
    assert_allclose(found[off], expected[off], rtol=1e-9, atol=1e-12)


@every_clustering
def test_confusion(labels):
    found, p = linkage("confusion", mixture())
    q = p @ indicators(labels)
    shares = q.mean(axis=0)

    def alike(a, b):
        low, high = sorted((shares[a], shares[b]))
        return (q[:, a] * q[:, b]).mean() / (low * np.sqrt(high))

    assert_same_pairs(found(labels), of_pairs(alike, q.shape[1]))


@every_clustering
def test_misclassification(labels):
    found, p = linkage("misclassification", mixture())
    q = p @ indicators(labels)
    answers = q.argmax(axis=1)

    def rate(a, b):  # of samples of a that are labelled as b
        return q[answers == b, a].sum() / q[:, a].sum()

    expected = of_pairs(lambda a, b: max(rate(a, b), rate(b, a)), q.shape[1])
    assert_same_pairs(found(labels), expected)


@every_clustering
def test_entropy(labels):
    found, p = linkage("entropy", mixture())
    q = p @ indicators(labels)

    def entropy(columns):
        with np.errstate(divide="ignore", invalid="ignore"):
            return -np.nansum(columns * np.log2(columns)) / len(columns)

    def removed(a, b):
        rest = np.delete(q, [a, b], axis=1)
        return entropy(q) - entropy(np.column_stack((rest, q[:, a] + q[:, b])))

    assert_same_pairs(found(labels), of_pairs(removed, q.shape[1]))


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_saddles_of_two_components(structure):
    """The lowest density on the way that Ray and Lindsay describe, found by hand."""
    model = mixture(2, covariance_type=structure)
    found, _ = linkage("saddle", model)
    matrices = fitted_model(model).matrices.numpy()
    first, second = np.linalg.inv(matrices)

    def height(share):
        matrix = (1 - share) * first + share * second
        vector = (1 - share) * first @ model.means_[0] + share * second @ model.means_[
            1
        ]
        return model.score_samples([np.linalg.solve(matrix, vector)])[0]

    lowest = minimize_scalar(height, bounds=(0, 1), method="bounded").fun
    peaks = model.score_samples(model.means_)
    alike = found(np.arange(2))[0, 1]
    # The points on the line are a fortieth of the way apart.
    assert alike == pytest.approx(np.exp(lowest - peaks.min()), rel=0.05)


def test_components_that_share_a_mode_have_no_saddle():
    model = KeOpsGaussianMixture(2)
    model.set_params(means_init=np.zeros((2, 2)), weights_init=[0.5, 0.5])
    model.set_params(precisions_init=[np.eye(2), 0.1 * np.eye(2)], max_iter=0)
    model.fit(blobs())
    found, _ = linkage("saddle", model)
    assert found(np.arange(2))[0, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "n_passes"),
    [("confusion", 1), ("misclassification", 4), ("entropy", 4), ("saddle", 0)],
)
def test_passes_through_the_samples(name, n_passes):
    model = mixture()
    means = Means(model.predict_proba(blobs()))
    MergeTree.of(LINKAGES[name](fitted_model(model), means), 5)
    assert means.n_passes == n_passes


def test_too_many_components_for_entropies():
    with pytest.raises(ValueError, match=r"at most 100 of them; the mixture has 101"):
        linkage("entropy", mixture(101, max_iter=1, covariance_type="tied_spherical"))


def test_components_without_samples_are_merged_first():
    p = np.zeros((10, 3))
    p[:5, 0] = p[5:, 1] = 1.0
    for name in ("confusion", "misclassification"):
        found = LINKAGES[name](fitted_model(mixture(3)), Means(p))
        alike = found(np.arange(3))
        assert alike[0, 1] == 0
        assert alike[0, 2] == alike[1, 2] == 1


# -- trees ----------------------------------------------------------------------------


def test_a_tree_merges_the_most_alike():
    places = np.array([0.0, 1.0, 10.0, 12.0, 100.0])

    def nearest(labels):
        """Single linkage of points on a line, as how alike they are."""
        gaps = np.abs(places[:, None] - places)
        n = labels.max() + 1
        closest = np.full((n, n), np.inf)
        np.minimum.at(closest, (labels[:, None], labels[None, :]), gaps)
        return np.exp(-closest / 10)

    tree = MergeTree.of(nearest, 5)
    assert_array_equal(tree.children, [[0, 1], [2, 3], [5, 6], [4, 7]])
    assert_allclose(tree.distances, [0.1, 0.2, 0.9, 8.8])
    assert_array_equal(tree.labels(3), [0, 0, 1, 1, 2])
    assert_array_equal(tree.labels(2), [0, 0, 0, 0, 1])
    assert [tree.n_clusters_at(d) for d in (0.0, 0.2, 0.21, 9.0)] == [5, 4, 3, 1]


def test_distances_never_fall_and_are_finite():
    def contrary(labels):
        return np.full((5, 5), [9.0, 0.5, 0.9, 0.0][5 - labels.max() - 1])

    tree = MergeTree.of(contrary, 5)
    assert_allclose(tree.distances, [0, np.log(2), np.log(2), 9 * np.log(10)])


def tree_with(alike):
    """A chain of mergers."""
    n = len(alike) + 1
    children = [[step + 1, n + step - 1 if step else 0] for step in range(n - 1)]
    return MergeTree(np.array(children), -np.log(alike))


def chain(links, shares=None):
    """Confusions of components of which each is linked to the next."""
    n = len(links) + 1
    shares = np.full(n, 1 / n) if shares is None else np.asarray(shares)
    confusions = np.zeros((n, n))
    for i, link in enumerate(links):
        both = link * min(shares[i], shares[i + 1])
        confusions[i, i + 1] = confusions[i + 1, i] = both
    return confusions + np.diag(shares - confusions.sum(axis=0))


def number_of(confusions):
    means = SimpleNamespace(confusions=confusions)
    tree = MergeTree.of(LINKAGES["confusion"](None, means), len(confusions))
    return widest_gap(tree, confusions), tree


@pytest.mark.parametrize(
    ("links", "n_clusters"),
    [
        ([], 1),
        ([0.3], 1),
        ([0.06], 2),  # two Gaussians that overlap by a tenth
        ([0.12] * 9, 1),  # a banana, whose halves are little alike
        ([0.12] * 4 + [0.001] + [0.12] * 4, 2),
        ([0.12] * 4 + [0.03] + [0.12] * 4, 2),
        ([0.001] * 3, 4),
        ([0.12, 0.12, 0.0, 0.12, 0.0, 0.12, 0.12], 3),
    ],
)
def test_the_cut_is_where_components_are_apart(links, n_clusters):
    assert number_of(chain(links))[0] == n_clusters


def test_parts_that_are_all_confused_a_little_are_one_cluster():
    # As those of a box in eight dimensions are.
    for n_parts in (5, 8, 13):
        confusions = np.full((n_parts, n_parts), 0.06 / n_parts)
        np.fill_diagonal(confusions, (1 - 0.06 * (n_parts - 1)) / n_parts)
        assert number_of(confusions)[0] == 1


def test_small_clusters_speak_against_a_cut():
    assert number_of(chain([0.05, 0.01], [0.34, 0.33, 0.33]))[0] == 3
    assert number_of(chain([0.05, 0.01], [0.004, 0.496, 0.5]))[0] == 2


def held_together_by(links):
    """The strongest of links without the weaker of which all stay connected."""
    for link in np.unique(links)[::-1]:
        if connected_components(links >= link)[0] == 1:
            return link
    raise AssertionError


def slow_widest_gap(tree, confusions):
    """The rule as docs/clusters.rst has it."""
    n, shares = len(confusions), confusions.sum(axis=0)
    links = confusions / np.minimum.outer(shares, shares)
    scores = {1: 1.5 * np.log(max(held_together_by(links), 0.0005) / 0.035)}
    for k in range(2, n + 1):
        before = 1.0 if k == n else np.exp(-tree.distances[n - k - 1])
        after = np.exp(-tree.distances[n - k])
        labels = tree.labels(k)
        within, between, sizes = 1.0, 0.0, []
        for c in range(k):
            inside, outside = labels == c, labels != c
            sizes.append(shares[inside].sum())
            between = max(between, links[np.ix_(inside, outside)].max())
            if inside.sum() > 1:
                within = min(within, held_together_by(links[np.ix_(inside, inside)]))
        drop = np.clip(before, 0.03, 0.6) / np.clip(after, 0.03, 0.6)
        gap = np.clip(within, 0.0005, 0.05) / np.clip(between, 0.0005, 0.05)
        scores[k] = np.log(drop) + 0.3 * np.log(gap)
        scores[k] += 0.3 * np.log(np.clip(k * min(sizes), 0.001, 1))
        same = sum(confusions[np.ix_(labels == c, labels == c)].sum() for c in range(k))
        scores[k] -= min(25 * np.log(same / confusions.sum()) ** 2, 2)
    scores[n] -= max(scores[1], 0) * min((n - 2) / 3, 3)
    return max(scores, key=scores.get)


@pytest.mark.slow
def test_the_cut_is_that_of_the_documented_rule():
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        n = rng.integers(3, 12)
        centres = rng.uniform(0, 4, size=(n, 2)) * rng.uniform(0.8, 3)
        X = np.repeat(centres, 30, axis=0) + rng.normal(size=(30 * n, 2))
        distances = ((X[:, None] - centres) ** 2).sum(axis=2)
        p = np.exp(-distances / 2)
        p /= p.sum(axis=1, keepdims=True)
        confusions = p.T @ p / len(p)
        n_clusters, tree = number_of(confusions)
        assert n_clusters == slow_widest_gap(tree, confusions)
        found.append(n_clusters)
    assert len(set(found)) > 4


def test_components_without_samples_do_not_count():
    confusions = np.zeros((4, 4))
    confusions[:3, :3] = chain([0.12, 0.12])
    assert number_of(confusions)[0] == 1


def test_a_cut_at_a_number():
    tree = tree_with([0.5, 0.1, 0.02])
    counts = [more_alike_than(least)(tree, np.eye(4) / 4) for least in (0.3, 0.05)]
    assert counts == [3, 2]
