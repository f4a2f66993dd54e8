"""Sums in which each sample has a few candidates."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model import Components, Frame
from sklearn_keops_gmm.backends import NearestMeans, TruncatedReductions, get_backend
from sklearn_keops_gmm.backends._native import _candidates, _nearest
from tests import reference
from tests.backends.cases import every_dtype, every_structure
from tests.common import needs_compiled

pytestmark = needs_compiled


def mixture(rng, structure, n_components, n_features):
    """Return structure, offsets, means and factors."""
    shape = reference.shape_of_factors(structure, n_components, n_features)
    factors = rng.uniform(0.5, 2.0, size=shape)
    if structure in ("full", "tied"):
        factors = 0.2 * np.triu(factors, 1) + np.eye(n_features)
    means = 3 * rng.normal(size=(n_components, n_features))
    return structure, rng.normal(size=n_components), means, factors


def components_of(structure, *arrays):
    return Components(structure, *(torch.tensor(array) for array in arrays))


def bound(points, weights, candidates, given):
    """Return the truncated log-likelihood and masses, by numpy, (N, M) and all."""
    log_joint = reference.pair_terms(points, *given).astype(float)
    kept = np.full_like(log_joint, -np.inf)
    np.put_along_axis(kept, candidates, np.take_along_axis(log_joint, candidates, 1), 1)
    top = kept.max(1, keepdims=True)
    shares = np.exp(kept - top)
    sums = shares.sum(1, keepdims=True)
    shares = weights[:, None] * shares / sums
    return weights @ (top + np.log(sums))[:, 0], shares


@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 3, 4, 17])
def test_all_candidates_make_all_sums(module, structure, dtype, n_features):
    rng = np.random.default_rng(n_features)
    given = mixture(rng, structure, 20, n_features)
    points = torch.tensor(rng.normal(size=(203, n_features)).astype(dtype))
    weights = torch.tensor(rng.uniform(size=203).astype(dtype))
    frame = Frame(torch.tensor(rng.normal(size=n_features)), 0.5)
    components = components_of(*given)
    found = TruncatedReductions(points, weights, frame, truncation=20)
    expected = get_backend("native")(points, weights, frame).moments(components)
    moments = found.moments(components)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    for name in ("mass", "first", "second"):
        have, want = getattr(moments, name), getattr(expected, name)
        assert_allclose(have, want, rtol=rtol, atol=rtol * float(want.abs().max()))
    assert moments.log_likelihood == pytest.approx(expected.log_likelihood, rel=rtol)


@every_structure
@pytest.mark.parametrize("n_features", [3, 9, 17])
def test_sums_over_some_candidates(structure, n_features):
    """What the reference makes of the same candidates, which are the best here.

    In the first step these are three times as many. With many features components are
    left after some of these.
    """
    rng = np.random.default_rng(0)
    given = mixture(rng, structure, 25, n_features)
    points, weights = 3 * rng.normal(size=(300, n_features)), rng.uniform(size=300)
    frame = Frame(torch.zeros(n_features, dtype=torch.float64))
    reductions = TruncatedReductions(
        torch.tensor(points), torch.tensor(weights), frame, truncation=2
    )
    moments = reductions.moments(components_of(*given))
    log_joint = reference.pair_terms(points, *given).astype(float)
    best = np.argsort(-log_joint, 1)[:, :6]
    assert_array_equal(reductions.leaders(), best[:, 0])
    log_likelihood, shares = bound(points, weights, best, given)
    assert moments.log_likelihood == pytest.approx(log_likelihood, rel=1e-12)
    assert_allclose(moments.mass, shares.sum(0), rtol=1e-10, atol=1e-10)
    differences = points[:, None] - given[2]
    first = np.einsum("nm,nmd->md", shares, differences)
    assert_allclose(moments.first, first, rtol=0, atol=1e-9)


def test_what_was_found_is_kept():
    """With other neighbours, and far too many components to see them all, too."""
    rng = np.random.default_rng(1)
    points = torch.tensor(3 * rng.normal(size=(900, 4)))
    components = components_of(*mixture(rng, "full", 600, 4))
    frame = Frame(torch.zeros(4, dtype=torch.float64))
    reductions = TruncatedReductions(points, None, frame, truncation=3)
    bounds = [reductions.moments(components).log_likelihood for _ in range(8)]
    assert (np.diff(bounds) >= -1e-12 * abs(bounds[0])).all()
    exact = get_backend("native")(points, None, frame).moments(components)
    assert bounds[-1] <= exact.log_likelihood
    right = reductions.leaders() == reductions.labels(components)
    assert right.double().mean() > 0.98


def test_components_far_away_and_narrow():
    """Numbers of 24 bits would not tell such components from each other."""
    rng = np.random.default_rng(9)
    means = 1e6 * rng.normal(size=(4, 1, 3)) + 1e-3 * rng.normal(size=(4, 50, 3))
    means = means.reshape(-1, 3)
    factors = np.full((200, 3), 1e4)
    given = "diag", np.zeros(200), means, factors
    points = means.repeat(3, 0) + 1e-4 * rng.normal(size=(600, 3))
    frame = Frame(torch.zeros(3, dtype=torch.float64))
    reductions = TruncatedReductions(torch.tensor(points), None, frame, truncation=2)
    for _ in range(4):
        reductions.moments(components_of(*given))
    log_joint = reference.pair_terms(points, *given).astype(float)
    assert (reductions.leaders() == log_joint.argmax(1)).double().mean() > 0.98


def test_candidates_are_lost_where_the_likelihood_does_not_fall():
    """Not of the same components, and all but two of ever better ones."""
    rng = np.random.default_rng(7)
    points = torch.tensor(3 * rng.normal(size=(400, 4)))
    structure, offsets, means, factors = mixture(rng, "full", 60, 4)
    frame = Frame(torch.zeros(4, dtype=torch.float64))
    same, better = (
        TruncatedReductions(points, None, frame, truncation=2) for _ in range(2)
    )
    for step in range(15):
        first = components_of(structure, offsets, means, factors)
        kept = same.moments(first).log_likelihood
        raised = components_of(structure, offsets + 9 * step, means, factors)
        found = better.moments(raised).log_likelihood
    log_joint = reference.pair_terms(points.numpy(), structure, offsets, means, factors)
    best = -np.sort(-log_joint.astype(float), 1)
    assert kept == pytest.approx(np.logaddexp.reduce(best[:, :6], 1).sum(), rel=1e-6)
    two = np.logaddexp.reduce(best[:, :2] + 9 * 14, 1).sum()
    assert found == pytest.approx(two, rel=1e-6)


def test_sums_in_pieces_of_rows(monkeypatch):
    rng = np.random.default_rng(8)
    points = torch.tensor(rng.normal(size=(300, 3)))
    components = components_of(*mixture(rng, "full", 40, 3))
    frame = Frame(torch.zeros(3, dtype=torch.float64))
    weights = torch.tensor(rng.uniform(size=300))
    found = []
    for items in (2**22, 200):
        monkeypatch.setattr(_candidates, "_ITEMS", items)
        reductions = TruncatedReductions(points, weights, frame, truncation=2)
        found.append(reductions.moments(components))
    whole, pieces = found
    assert pieces.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
    assert_allclose(pieces.second, whole.second, rtol=1e-9, atol=1e-9)
    assert_allclose(pieces.mass, whole.mass, rtol=1e-10)


def test_components_of_no_weight():
    rng = np.random.default_rng(2)
    given = list(mixture(rng, "diag", 30, 2))
    given[1][::2] = -np.inf
    points = torch.tensor(rng.normal(size=(50, 2)))
    frame = Frame(torch.zeros(2, dtype=torch.float64))
    moments = TruncatedReductions(points, None, frame, truncation=2).moments(
        components_of(*given)
    )
    assert moments.mass[::2].sum() == 0
    assert float(moments.mass.sum()) == pytest.approx(50, rel=1e-12)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("n_means", [1, 2, 30, 1000])
def test_nearest_means(n_means):
    rng = np.random.default_rng(3)
    means = torch.tensor(rng.normal(size=(n_means, 3)))
    points = torch.tensor(rng.normal(size=(400, 3)))
    count = min(20, n_means)
    distances, indices = NearestMeans(means).find(points, count)
    squares = ((points[:, None] - means[indices]) ** 2).sum(2)
    assert_allclose(distances, squares, atol=1e-10)
    nearest = torch.cdist(points, means).argmin(1)
    assert (indices[:, 0] == nearest).double().mean() > 0.95


@pytest.mark.usefixtures("module")
def test_nearest_of_means_that_coincide():
    """Groups of such means are empty, and what is found in them would be anywhere."""
    means = torch.zeros(400, 2, dtype=torch.float64)
    means[-5:] = torch.arange(10.0).view(5, 2)
    points = torch.tensor(np.random.default_rng(4).normal(size=(50, 2)))
    distances, indices = NearestMeans(means).find(points, 6)
    squares = ((points[:, None] - means[indices]) ** 2).sum(2)
    assert_allclose(distances, squares, atol=1e-10)


@pytest.mark.usefixtures("module")
def test_nearest_means_of_all_groups(monkeypatch):
    """They are the nearest of all means, in order."""
    monkeypatch.setattr(_nearest, "_PROBES", 30)
    rng = np.random.default_rng(5)
    means = torch.tensor(rng.normal(size=(700, 6)))
    points = torch.tensor(rng.normal(size=(90, 6)))
    distances, indices = NearestMeans(means).find(points, 40)
    expected, nearest = (torch.cdist(points, means) ** 2).topk(40, largest=False)
    assert_array_equal(indices, nearest)
    assert_allclose(distances, expected, rtol=1e-10)
    assert_array_equal(NearestMeans(means).find(points, 1)[1][:, 0], nearest[:, 0])


@pytest.mark.usefixtures("module")
def test_nearest_of_points_beyond_all_numbers():
    """Some mean, and no square that is less than infinite."""
    means = torch.tensor(np.random.default_rng(6).normal(size=(50, 2)))
    points = torch.tensor([[1e300, 0.0], [torch.inf, 0.0], [torch.nan, 1.0]])
    for count in (1, 3):
        distances, indices = NearestMeans(means).find(points.double(), count)
        assert distances.isinf().all()
        assert ((indices >= 0) & (indices < 50)).all()


def search_arguments():
    """What `search` takes, all as it should be."""
    return {
        "structure": "diag",
        "rows": np.ones((4, 2)),
        "weights": np.ones(4),
        "packed": np.ones((3, 5)),
        "rough": np.ones((3, 5), np.float32),
        "means": np.ones((3, 2)),
        "order": np.arange(4),
        "bounds": np.array([0, 2, 4, 4]),
        "neighbours": np.zeros((3, 2), np.int32),
        "candidates": np.zeros((4, 2), np.int32),
        "renewed": np.zeros((3, 2), np.int32),
        "begin": 0,
        "end": 3,
        "n_hops": 2,
        "step": 1,
        "fewer": 1,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("structure", "tied"),
        ("packed", np.ones((3, 5), np.float32)),
        ("rows", np.ones(7)),
        ("weights", np.ones(3)),
        ("packed", np.ones((3, 4))),
        ("rough", np.ones((3, 5))),
        ("means", np.ones((3, 3))),
        ("order", np.array([0, 1, 2, 4])),
        ("bounds", np.array([0, 2, 1, 4])),
        ("bounds", np.array([0, 2, 4, 5])),
        ("neighbours", np.full((3, 2), 3, np.int32)),
        ("candidates", np.full((4, 2), 3, np.int32)),
        ("candidates", np.full((4, 2), -2, np.int32)),
        ("renewed", np.zeros((3, 2), np.int64)),
        ("end", 4),
        ("fewer", 3),
    ],
)
def test_no_wrong_search(module, name, value):
    given = search_arguments()
    module.search(*given.values())
    with pytest.raises(ValueError, match=rf"{name}.*: expected .+, got ."):
        module.search(*(given | {name: value}).values())


def share_arguments():
    """What `share` takes, all as it should be."""
    return {
        "structure": "spherical",
        "rows": np.ones((4, 2)),
        "weights": np.ones(4),
        "packed": np.ones((3, 4)),
        "candidates": np.array([[0, 1], [2, -1], [1, 2], [0, 2]], np.int32),
        "shares": np.zeros((4, 2)),
        "keys": np.zeros((4, 2), np.int32),
        "n_samples": 4,
        "n_components": 3,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("structure", "tied"),
        ("rows", np.ones(7)),
        ("weights", np.ones(4, np.float32)),
        ("packed", np.ones((3, 5))),
        ("candidates", np.full((4, 2), 3, np.int32)),
        ("shares", np.zeros((4, 2), np.float32)),
        ("keys", np.zeros((4, 2), int)),
    ],
)
def test_no_wrong_shares(module, name, value):
    given = share_arguments()
    module.share(*given.values())
    with pytest.raises(ValueError, match=rf"{name}.*: expected .+, got ."):
        module.share(*(given | {name: value}).values())


def pack_arguments():
    """What `pack` takes, all as it should be."""
    return {
        "structure": "diag",
        "offsets": np.ones(3),
        "means": np.ones((3, 2)),
        "factors": np.ones((3, 2)),
        "order": np.array([2, 0, 1]),
        "out": np.empty((3, 5)),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("structure", "tied"),
        ("means", np.ones(7)),
        ("factors", np.ones((3, 3))),
        ("order", np.array([3, 0, 1])),
        ("out", np.empty((3, 4))),
        ("out", np.empty((3, 5), int)),
    ],
)
def test_no_wrong_components(module, name, value):
    given = pack_arguments()
    module.pack(*given.values())
    with pytest.raises(ValueError, match=rf"{name}.*: expected .+, got ."):
        module.pack(*(given | {name: value}).values())


def test_no_wrong_groups(module):
    keys, bounds = np.array([1, 0, -1, -1], np.int32), np.zeros(3, int)
    order = np.zeros(4, int)
    module.group(keys, bounds, order)
    assert_array_equal(bounds, [0, 1, 2])
    assert_array_equal(order[:2], [1, 0])
    with pytest.raises(ValueError, match=r"^keys: expected numbers from .+, got 2"):
        module.group(keys + np.int32(1), bounds, order)
    keys[:] = 0
    with pytest.raises(ValueError, match=r"^order: expected memory of its own"):
        module.group(keys[:2], bounds, keys.view(int))
