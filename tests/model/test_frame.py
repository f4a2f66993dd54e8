"""The unit in which sums are taken."""

import numpy as np
import pytest
import torch

from sklearn_keops_gmm._model._frame import reach_of_most, unit_of, unit_of_points


@pytest.mark.parametrize("seed", range(40))
def test_unit_needs_no_order_where_it_is_plain(seed):
    """Shares of samples at the origin, near, and far, on both sides of a quarter."""
    rng = np.random.default_rng(seed)
    sizes = 1 + rng.integers(0, 8), *rng.integers(0, 8, size=2)
    scales = np.repeat([0.0, 1.0, 10.0 ** rng.uniform(0, 8)], sizes)
    reaches = torch.tensor(rng.permutation(scales * rng.uniform(1, 2, len(scales))))
    reach = float(reaches.max())
    most = reach_of_most(reaches, (reaches > 0).double())
    for dtype in (torch.float32, torch.float64):
        found = unit_of_points(reach, reaches.numpy(), dtype)
        assert found == unit_of(reach, most, dtype)


def test_unit_is_that_of_most():
    """One sample of a hundred lies so far away that most would have no digits."""
    reaches = torch.ones(100, dtype=torch.float64)
    reaches[0] = 1e20
    assert unit_of_points(1e20, reaches.numpy(), torch.float64) < 2.0**11
    reaches[:30] = 1e20
    assert unit_of_points(1e20, reaches.numpy(), torch.float64) > 1e19


def test_unit_where_it_would_overflow():
    """Neither would do for both: squares of the farthest are what is given up."""
    assert 1e157 < unit_of(1e300, 1e170, torch.float64) < 1e174
