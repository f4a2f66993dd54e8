"""What a few samples tell of the features."""

import numpy as np
import pytest
import torch

from sklearn_keops_gmm._fit._sample import Sample


def n_dependent(X, amounts=0.0, weights=None):
    centre = torch.from_numpy(np.where(np.isnan(X), 0.0, X).mean(0))
    return Sample(torch.from_numpy(X), weights, centre).n_dependent(amounts)


@pytest.fixture(name="X")
def features(rng):
    """Four features in units that are far apart."""
    units, far = np.array([[1e-150, 1.0, 1e3, 1e150], [0.0, 50.0, 0.0, 0.0]])
    return far + units * rng.normal(size=(300, 4))


def test_linear_functions(X):
    assert n_dependent(X) == 0
    both = X[:, 1] - 3.0 * X[:, 2]
    assert n_dependent(np.column_stack((X, X[:, 0]))) == 1
    assert n_dependent(np.column_stack((X, X[:, 0] + 1e-149))) == 1
    assert n_dependent(np.column_stack((X, both, 1e-9 * both, X[:, 3]))) == 3
    assert n_dependent(np.column_stack((both, np.ones(300)))) == 0


def test_nearly_is_not_enough(X, rng):
    close = X[:, 1] + 1e-3 * rng.normal(size=300)
    assert n_dependent(np.column_stack((X, close))) == 0
    # What is rare varies little, but no other feature tells where.
    assert n_dependent(np.column_stack((X, np.arange(300) == 7))) == 0


def test_single_precision(X):
    narrow = X[:, 1:3].astype(np.float32)
    assert n_dependent(np.column_stack((narrow, narrow.sum(1)))) == 1


def test_rounded_values(X, rng):
    """Percentages of a whole: their sum is off by what was rounded."""
    parts = rng.dirichlet(np.ones(4), size=300)
    rounded = (100.0 * parts).round(1)
    assert n_dependent(rounded) == 0
    assert n_dependent(rounded, np.full(4, 0.1**2 / 12)) == 1
    # A step that is not small beside a feature explains no function of others.
    assert n_dependent(X[:, 1:3], np.full(2, 10.0)) == 0


def test_what_is_missing_or_far(X):
    wide = np.column_stack((X, X[:, 1]))
    wide[:30, 2] = np.nan
    assert n_dependent(wide) == 1
    # A value that stands for a missing one, and would make all others alike.
    filled = X[:, 1:3].copy()
    filled[0] = -999_999.0
    assert n_dependent(filled) == 0
    wide[:, 2] = np.nan
    assert n_dependent(wide) == 0


def test_fewer_samples_than_features(X):
    assert n_dependent(X[:3]) == 0
    assert n_dependent(X[:5]) == 0


def test_weights(X):
    """Rows of next to no weight are no evidence."""
    wide = np.column_stack((X, X[:, 1]))
    wide[:5, 4] = 7.0
    weights = torch.ones(len(X)).double()
    assert n_dependent(wide, weights=weights) == 0
    weights[:5] = 1e-13
    assert n_dependent(wide, weights=weights) == 1
    assert n_dependent(wide, weights=1e200 * weights) == 1
    weights[:5] = 1e-320
    wide[:, 4] = np.arange(len(X)) < 5
    assert n_dependent(wide, weights=weights) == 1


@pytest.mark.parametrize("scale", [1e-153, 1.0, 6e152])
def test_variances_of_any_unit(scale, rng):
    """Sums of squares overflow long before variances do."""
    X = rng.normal(size=(300, 2))
    sample = Sample(torch.from_numpy(scale * X), None, torch.zeros(2))
    np.testing.assert_allclose(sample.variances() / scale / scale, X.var(0), rtol=1e-12)
    assert not sample.too_narrow().any()


def test_variances_that_no_number_holds(rng):
    X = rng.normal(size=(300, 3)) * [1e-300, 1.0, 0.0]
    sample = Sample(torch.from_numpy(X), None, torch.zeros(3))
    np.testing.assert_array_equal(sample.too_narrow(), [True, False, False])
    seen = torch.from_numpy(1.0 * (np.arange(300) < 1))
    alone = Sample(torch.from_numpy(X), seen, torch.zeros(3))
    assert not alone.too_narrow().any()
