"""One row, however far away, changes the answers about no other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data._frame import Extent
from sklearn_keops_gmm._model._frame import frame_of_mixture
from sklearn_keops_gmm._model._parameters import Frame
from tests import reference
from tests.backends.cases import (
    PLAIN,
    assert_same_moments,
    every_backend,
    every_backend_but_keops,
    every_dtype,
    every_structure,
    frame_of,
    make_case,
    tolerance,
)
from tests.common import needs_compiled
from tests.reference import COVARIANCE_TYPES

# How far, for each dtype: near the ends of what squares, and numbers, can be.
FAR = {
    np.float32: [1e3, 1e7, 1e18, 1e20, 1e30, 3e38],
    np.float64: [1e3, 1e7, 1e20, 1e100, 1e154, 1e200, 1.7e308],
}
WAYS = {
    "one row": lambda far, D: np.full((1, D), far),
    "one feature": lambda far, D: far * np.eye(D)[:1],
    "the last feature": lambda far, D: -far * np.eye(D)[-1:],
    "both signs": lambda far, D: far * np.concatenate([np.eye(D), -np.eye(D)])[-3:],
    "up and down": lambda far, D: far * np.resize([1.0, -1.0], (1, D)),
}
every_way = pytest.mark.parametrize("way", WAYS)


def with_far(case, far):
    """Return the case with far rows at its front, of weight 1."""
    points = np.concatenate([far.astype(case.points.dtype), case.points])
    weights = case.sample_weight
    if weights is not None:
        weights = np.concatenate([np.ones(len(far), weights.dtype), weights])
    return replace(case, points=points, sample_weight=weights)


def of_points(points):
    """Return the frame in which a fit would compute."""
    points = torch.from_numpy(points)
    return Extent.of(points).frame(points)


class Others:
    """What is right about the rows that are not far, by the reference."""

    def __init__(self, case, rtol):
        self.case, self.rtol = case, rtol
        self.density, self.shares = (
            ask(case.points, *case.mixture).astype(float)
            for ask in (reference.log_density, reference.responsibilities)
        )

    def check(self, far, name, frame):
        """Compare what is said with that, and with what is said without the far."""
        more, k, rtol = with_far(self.case, far), len(far), self.rtol
        components = self.case.components()
        found, alone = more.reductions(name, frame), self.case.reductions(name, frame)
        density = found.log_density(components)[k:]
        assert_allclose(density, self.density, rtol=rtol, atol=rtol)
        assert_allclose(density, alone.log_density(components), rtol=rtol, atol=rtol)
        shares = found.responsibilities(components)[k:]
        assert_allclose(shares, self.shares, rtol=0, atol=20 * rtol)
        labels = found.labels(components)[k:].numpy()
        chosen = self.shares[np.arange(len(labels)), labels]
        assert_allclose(chosen, self.shares.max(axis=1), rtol=0, atol=20 * rtol)


@every_backend
@every_structure
@every_dtype
@every_way
@pytest.mark.parametrize("own_frame", [False, True], ids=["plain", "own frame"])
@pytest.mark.fast(48)
def test_answers(name, structure, dtype, way, own_frame, rng):
    case = make_case(rng, structure, dtype, n_samples=300)
    others = Others(case, 3 * tolerance(dtype))
    for distance in FAR[dtype]:
        far = WAYS[way](distance, 2)
        frame = of_points(with_far(case, far).points) if own_frame else PLAIN
        others.check(far, name, frame)


@every_backend_but_keops
@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 5, 20])
@pytest.mark.slow
def test_other_dimensions(name, structure, dtype, n_features, rng):
    case = make_case(rng, structure, dtype, n_samples=200, n_features=n_features)
    others = Others(case, 5 * tolerance(dtype))
    for distance in FAR[dtype]:
        for way in WAYS.values():
            others.check(way(distance, n_features), name, frame_of(n_features))


@every_backend
@every_structure
@every_dtype
def test_moments_without_a_share(name, structure, dtype, rng):
    """A row of no weight, or of no density, adds nothing to the sums of any."""
    case = make_case(rng, structure, dtype)
    for distance in FAR[dtype]:
        far = WAYS["both signs"](distance, 2)
        more = with_far(case, far)
        nowhere = distance > np.finfo(dtype).max ** 0.5
        if not nowhere:
            more.sample_weight[: len(far)] = 0
        for frame in (PLAIN, of_points(more.points)):
            found = more.reductions(name, frame).moments(case.components())
            if nowhere:
                assert found.log_likelihood == -np.inf
                found = replace(found, log_likelihood=case.expected().log_likelihood)
            assert_same_moments(found, case.expected(), 5 * tolerance(dtype))


@every_backend
@every_structure
@every_dtype
def test_overflow_in_the_frame(name, structure, dtype, rng):
    """Rows that no number can stand for there are infinitely unlikely, no more."""
    case = make_case(rng, structure, dtype, weighted=False)
    far = np.concatenate([way(0.9 * np.finfo(dtype).max, 2) for way in WAYS.values()])
    more = with_far(case, far)
    found = more.reductions(name, Frame(PLAIN.centre, 2.0**-20))
    density = found.log_density(case.components())
    assert_array_equal(density[: len(far)], -np.inf)
    expected = reference.log_density(case.points, *case.mixture).astype(float)
    assert_allclose(density[len(far) :], expected, rtol=5 * tolerance(dtype))
    sums = found.moments(case.components())
    assert sums.log_likelihood == -np.inf
    sums = replace(sums, log_likelihood=case.expected().log_likelihood)
    assert_same_moments(sums, case.expected(), 5 * tolerance(dtype))


@every_backend_but_keops
@every_structure
@every_dtype
def test_moments_with_a_share(name, structure, dtype, rng):
    """Sums that a far row adds to do not take the digits off others."""
    case = make_case(rng, structure, dtype, n_features=3)
    for distance in (1e3, 1e6):
        more = with_far(case, distance * np.eye(3)[:1])
        sums = reference.moments(more.points, more.sample_weight, *more.mixture)
        frame = of_points(more.points)
        found = more.reductions(name, frame).moments(more.components())
        assert_same_moments(found, sums, 5 * tolerance(dtype))
        if structure in ("full", "diag"):
            rest = (..., slice(1, None), slice(1, None))
            rest = rest if structure == "full" else rest[1:]
            rest = found.second[rest], sums.second[rest].astype(float)
            assert_allclose(*rest, rtol=1e-3, atol=1e-3 * np.abs(rest[1]).max())


@every_backend_but_keops
@every_structure
@every_dtype
def test_far_rows_themselves(name, structure, dtype, rng):
    """What can be said about them is as good as about any."""
    case = make_case(rng, structure, dtype, n_features=3)
    for distance in (1e3, 1e7, 1e15):
        points = [way(distance, 3) for way in WAYS.values()]
        far = replace(case, points=np.concatenate(points).astype(dtype))
        both = replace(case, points=np.concatenate([case.points, far.points]))
        both = replace(both, sample_weight=None)
        for frame in (frame_of(3), of_points(both.points)):
            found = both.reductions(name, frame).log_density(case.components())
            expected = reference.log_density(far.points, *case.mixture).astype(float)
            assert_allclose(found[-len(expected) :], expected, rtol=tolerance(dtype))


@every_backend_but_keops
@every_dtype
def test_many_rows(name, dtype, many_threads, rng):
    """Far rows here and there among tiles, and in parts made by a factory."""
    case = make_case(rng, "full", dtype, n_samples=20_003, n_features=3)
    more = replace(case, points=case.points.copy())
    far = rng.choice(20_003, size=50, replace=False)
    more.points[far] = FAR[dtype][-2] * rng.choice([-1, 1], size=(50, 3))
    more.sample_weight[far] = case.sample_weight[far] = 0
    whole = more.reductions(name, of_points(more.points))
    factory = whole.factory("full")
    pieces = [
        factory(torch.from_numpy(points), torch.from_numpy(weights))
        for points, weights in zip(
            np.array_split(more.points, 3),
            np.array_split(more.sample_weight, 3),
            strict=True,
        )
    ]
    components = case.components()
    for _ in range(2):
        found = whole.moments(components)
        assert_same_moments(found, case.expected(), tolerance(dtype))
        first, second, third = (piece.moments(components) for piece in pieces)
        total = first + second + third
        assert_same_moments(total, case.expected(), tolerance(dtype))


@every_dtype
def test_frame(dtype, rng):
    """The unit lets most points keep their squares, and a far row stay finite."""
    points = rng.normal(size=(500, 3)).astype(dtype)
    room = np.finfo(dtype)
    for distance in [*FAR[dtype], 10.0]:
        points[7, 1] = distance
        frame = of_points(points)
        assert frame.scale >= 1
        assert distance / frame.scale < room.max / 4
        assert frame.scale**-2 > 2**20 * room.tiny


def test_frame_of_a_mixture_with_a_far_component():
    weights = torch.tensor([0.5, 0.499, 0.001], dtype=torch.float64)
    means = torch.tensor([[0.0], [5.0], [1e30]], dtype=torch.float64)
    covariances = torch.tensor([1.0, 1.0, 1e50], dtype=torch.float64)
    near = frame_of_mixture(weights, means[:2], covariances[:2])
    assert isinstance(near, Frame)
    frame = frame_of_mixture(weights, means, covariances)
    assert near.scale <= frame.scale <= 1e16


# -- estimators ------------------------------------------------------------------------


def two_blobs(rng, dtype, n_features=2):
    """Return 200 points in each of two blobs, 0.5 wide, 5 apart, and which is whose."""
    truth = np.repeat([0, 1], 200)
    X = 0.5 * rng.normal(size=(400, n_features))
    X[:, 0] += 5 * truth
    return X.astype(dtype), truth


def start_of_blobs(n_features):
    means = np.zeros((2, n_features))
    means[1, 0] = 5
    return means


def fitted(X, name, covariance_type):
    """Return a mixture that was fitted to the blobs, and whatever is far of them."""
    n_features = X[0].shape[-1]
    return KeOpsGaussianMixture(
        2,
        covariance_type=covariance_type,
        means_init=start_of_blobs(n_features),
        backend=name,
        max_iter=50,
    ).fit(X)


@every_backend_but_keops
@every_dtype
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.slow
def test_predictions(name, dtype, covariance_type, n_features, rng):
    X, truth = two_blobs(rng, dtype, n_features)
    model = fitted(X, name, covariance_type)
    scores, shares = model.score_samples(X), model.predict_proba(X)
    rtol = 10 * tolerance(dtype)
    for distance in FAR[dtype]:
        for way in WAYS.values():
            far = way(distance, n_features).astype(dtype)
            both = np.concatenate([far, X])
            assert_array_equal(model.predict(both)[len(far) :], truth)
            assert not np.isnan(model.score_samples(both)).any()
            assert_allclose(model.score_samples(both)[len(far) :], scores, rtol, rtol)
            found = model.predict_proba(both)[len(far) :]
            assert_allclose(found, shares, rtol=0, atol=rtol)


@every_dtype
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_conditional_means(dtype, covariance_type, rng):
    X, _ = two_blobs(rng, dtype)
    model = fitted(X, "torch", covariance_type)
    expected = model.conditional_mean([0], X[:, :1])
    for distance in FAR[dtype]:
        both = np.concatenate([[[distance]], X[:, :1]]).astype(dtype)
        found = model.conditional_mean([0], both)[1:]
        assert_allclose(found, expected, atol=10 * tolerance(dtype))


@needs_compiled
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("distance", [1e3, 1e7, 1e20])
@pytest.mark.fast(12)
def test_fits_of_two_backends(covariance_type, n_features, distance, rng):
    """The far row has its say in a fit, and it is the same one."""
    X, _ = two_blobs(rng, np.float32, n_features)
    far = distance * np.eye(n_features, dtype=np.float32)[:1]
    both = np.concatenate([X, far])
    models = [fitted(both, name, covariance_type) for name in ("native", "torch")]
    scores = [model.score(X) for model in models]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)


@every_backend_but_keops
@every_dtype
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("distance", [1e3, 1e7, 1e15])
def test_a_component_of_its_own(name, dtype, covariance_type, distance, rng):
    """It leaves the others to the blobs, as they are without the far row."""
    X, truth = two_blobs(rng, dtype)
    alone = fitted(X, name, covariance_type)
    both = np.concatenate([X, [[distance, distance]]]).astype(dtype)
    precise = {"full": np.tile(np.eye(2), (3, 1, 1)), "diag": np.ones((3, 2))}
    model = KeOpsGaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=np.full(3, 1 / 3),
        means_init=[*start_of_blobs(2), both[-1].astype(float)],
        precisions_init=precise.get(covariance_type, np.ones(3)),
        backend=name,
        tol=1e-6,
    ).fit(both)
    assert_array_equal(model.predict(both), [*truth, 2])
    assert_allclose(model.means_[:2], alone.means_, atol=1e-3)
    assert_allclose(model.covariances_[:2], alone.covariances_, atol=1e-3)


@needs_compiled
@every_dtype
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_pieces_and_batches(dtype, covariance_type, rng):
    """Samples in arrays, and one batch after the other."""
    X, truth = two_blobs(rng, dtype)
    X, truth = X[::-1].copy(), truth[::-1]
    X[200, 0] = 1e7
    pieces = np.array_split(X, 3)
    found = []
    for name in ("native", "torch"):
        of_pieces = fitted(pieces, name, covariance_type)
        near = np.delete(X, 200, axis=0)
        online = KeOpsGaussianMixture(
            2,
            covariance_type=covariance_type,
            means_init=start_of_blobs(2),
            backend=name,
            random_state=0,
        )
        for piece in pieces:
            online.partial_fit(piece)
        found.append([of_pieces.score(near), online.score(near)])
    assert_allclose(found[1], found[0], atol=1e-3)
