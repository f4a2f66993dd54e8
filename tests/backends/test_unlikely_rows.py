"""Rows that are unlikely under all components belong to the nearest all the same."""

from dataclasses import replace
from fractions import Fraction
from math import exp, inf

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.backends.cases import (
    PLAIN,
    every_backend,
    every_backend_but_keops,
    every_dtype,
    every_structure,
    frame_of,
    make_case,
)
from tests.backends.test_far_rows import FAR, WAYS
from tests.reference import COVARIANCE_TYPES


def exact_responsibilities(case):
    """Return the responsibilities from squared distances in rational numbers."""
    matrices = reference.as_matrices(case.structure, case.factors, case.means)

    def numbers(array):
        return [Fraction(float(x)) for x in array]

    def of_one(point):
        logits = []
        for offset, mean, matrix in zip(
            case.offsets, case.means, matrices, strict=True
        ):
            shift = [x - m for x, m in zip(numbers(point), numbers(mean), strict=True)]
            whitened = [
                sum(a * d for a, d in zip(numbers(column), shift, strict=True))
                for column in matrix.T
            ]
            half = sum(z * z for z in whitened) / 2
            logits.append(None if offset == -inf else Fraction(float(offset)) - half)
        best = max(logit for logit in logits if logit is not None)
        shares = np.array(
            [0.0 if x is None or x < best - 800 else exp(x - best) for x in logits]
        )
        return shares / shares.sum()

    return np.array([of_one(point) for point in case.points])


def check(case, name, frame, device="cpu"):
    expected = exact_responsibilities(case)
    found = case.reductions(name, frame, device)
    components = case.components(device)
    shares = found.responsibilities(components)
    assert shares.dtype == torch.from_numpy(case.points).dtype
    assert_allclose(shares.cpu(), expected, rtol=0, atol=1e-5)
    labels = found.labels(components).cpu().numpy()
    chosen = expected[np.arange(len(labels)), labels]
    assert_allclose(chosen, expected.max(axis=1), rtol=0, atol=1e-5)


def far_points(dtype, n_features, least=1e7):
    """Return rows at all distances from `least` on, in all ways."""
    distances = [distance for distance in FAR[dtype] if distance >= least]
    rows = [way(far, n_features) for far in distances for way in WAYS.values()]
    return np.concatenate(rows).astype(dtype)


@every_backend
@every_structure
@every_dtype
@pytest.mark.fast(24)
def test_far_rows(name, structure, dtype, device, rng):
    case = make_case(rng, structure, dtype, weighted=False)
    least = {np.float32: 1e7, np.float64: 1e20}[dtype]
    case = replace(case, points=far_points(dtype, 2, least))
    check(case, name, PLAIN, device)


@every_backend_but_keops
@every_structure
@every_dtype
@pytest.mark.parametrize("n_features", [1, 5])
@pytest.mark.fast(12)
def test_equal_widths(name, structure, dtype, n_features, rng):
    """Differences of squared distances are as small as they get, and linear."""
    case = make_case(rng, structure, dtype, weighted=False, n_features=n_features)
    factors = case.factors
    if structure != "tied":
        factors = np.broadcast_to(factors[:1], factors.shape).copy()
    points = far_points(dtype, n_features)
    check(replace(case, factors=factors, points=points), name, frame_of(n_features))


@every_backend_but_keops
@every_structure
@every_dtype
def test_narrow_components(name, structure, dtype, rng):
    """Rows that are near, beside any number but the widths of the components."""
    width = {np.float32: 1e-25, np.float64: 1e-180}[dtype]
    case = make_case(rng, structure, dtype, weighted=False)
    far = rng.normal(scale=3, size=(20, 2)).astype(dtype)
    check(replace(case, factors=case.factors / width, points=far), name, PLAIN)


@every_backend_but_keops
@every_structure
@every_dtype
def test_dead_components(name, structure, dtype, rng):
    """The nearest of those alive."""
    case = make_case(rng, structure, dtype, weighted=False)
    offsets = case.offsets.copy()
    offsets[[0, 2]] = -inf
    case = replace(case, offsets=offsets, points=far_points(dtype, 2, 1e20))
    check(case, name, PLAIN)


@every_backend_but_keops
@every_dtype
def test_among_others(name, dtype, rng):
    """Here and there in many rows, whose own answers stay as they were."""
    case = make_case(rng, "full", dtype, n_samples=20_003, weighted=False)
    components, rows = case.components(), rng.choice(20_003, size=40, replace=False)
    alone = case.reductions(name)
    more = replace(case, points=case.points.copy())
    more.points[rows] = np.resize(far_points(dtype, 2, 1e20), (40, 2))
    found = more.reductions(name)
    shares = found.responsibilities(components).numpy()
    expected = alone.responsibilities(components).numpy()
    expected[rows] = exact_responsibilities(replace(more, points=more.points[rows]))
    assert_allclose(shares, expected, rtol=0, atol=1e-5)
    others = np.setdiff1d(np.arange(20_003), rows)
    labels = found.labels(components).numpy()
    assert_array_equal(labels[others], alone.labels(components).numpy()[others])
    assert_array_equal(labels[rows], expected[rows].argmax(axis=1))


@every_dtype
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_predictions(backend, dtype, covariance_type, rng):
    X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 5])
    model = KeOpsGaussianMixture(
        2, covariance_type=covariance_type, backend=backend, random_state=0
    ).fit(X.astype(dtype))
    # One covariance for all: the nearest is that of the blob on the same side.
    model.covariances_[:] = {
        "full": np.eye(2),
        "tied": np.eye(2),
    }.get(covariance_type, 1.0)
    model.precisions_cholesky_[:] = model.covariances_
    upper = int(model.means_[:, 0].argmax())
    far = far_points(dtype, 2, 1e20)[:, :1] * [1.0, 0.5]
    labels = np.where(far[:, 0] > 0, upper, 1 - upper)
    inside = far[:, 0] != 0  # the others are where both are as likely
    assert_array_equal(model.predict(far.astype(dtype))[inside], labels[inside])
    shares = model.predict_proba(far.astype(dtype))
    assert_allclose(shares.sum(axis=1), 1, rtol=4 * np.finfo(dtype).eps)
    assert_array_equal(shares.argmax(axis=1)[inside], labels[inside])


def test_conditional_means_follow_the_nearest(rng):
    """Shares of zero would predict zero, or the mean of no component."""
    slopes = np.array([2.0, -1.0])
    which = rng.integers(2, size=400)
    x = rng.normal(size=400) + 6 * which
    y = slopes[which] * x + 0.1 * rng.normal(size=400)
    model = KeOpsGaussianMixture(2, random_state=0).fit(np.stack([x, y], axis=1))
    far = np.array([[1e200], [-1e200]])
    shares = model.marginal([0]).predict_proba(far)
    assert_array_equal(shares.max(axis=1), 1)
    by_component = model.covariances_[:, 1, 0] / model.covariances_[:, 0, 0]
    expected = by_component[shares.argmax(axis=1)] * far[:, 0]
    assert_allclose(model.conditional_mean([0], far)[:, 0], expected, rtol=1e-9)
