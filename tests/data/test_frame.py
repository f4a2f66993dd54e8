"""How far samples reach, and the frame that suits them, against numpy's own."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_keops_gmm._data._frame import Extent

# Rows that are read one by one and several at once, with and without some left over.
SHAPES = [(1, 1), (7, 3), (1000, 3), (1003, 5), (2048, 1), (1501, 20), (1200, 70)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [False, True])
def test_extent(shape, dtype, missing, rng):
    X = rng.normal(size=shape).astype(dtype)
    X[-1] *= 100.0
    if missing:
        X[rng.random(shape) < 0.1] = np.nan
        X[0, -1] = np.nan
    found = Extent.of(torch.from_numpy(X))
    assert found.incomplete == missing
    with np.errstate(invalid="ignore"):
        low = np.where(np.isnan(X), np.inf, X).min(axis=0)
        high = np.where(np.isnan(X), -np.inf, X).max(axis=0)
    assert_array_equal(found.low, low)
    assert_array_equal(found.high, high)


@pytest.mark.parametrize("shape", SHAPES[:-1])  # of the last some rows are read
@pytest.mark.parametrize("missing", [False, True])
def test_centre_is_the_lower_median(shape, missing, rng):
    X = rng.normal(size=shape)
    if missing:
        X[rng.random(shape) < 0.1] = np.nan
        X[0] = 0.0
    points = torch.from_numpy(X)
    expected = points.nanmedian(0).values
    assert_array_equal(Extent.of(points).frame(points).centre, expected)


def test_centre_of_many_samples_is_about_a_median(rng):
    """Some thousands of numbers tell it."""
    points = torch.from_numpy(rng.normal(size=(20_000, 40)))
    frame = Extent.of(points).frame(points)
    # Of 1,600 samples: four standard errors.
    assert (frame.centre - points.median(0).values).abs().max() < 4 * 1.25 / 40
    assert frame.scale == 4.0
