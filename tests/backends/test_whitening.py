"""The basis of the torch backend in which most points are white."""

import torch

from sklearn_keops_gmm.backends._torch._whitening import whitening


def test_basis_and_inverse_leave_constant_features_alone(rng):
    """Of the others they get no rounding.

    Constant features have the size of the frame, which components may be far narrower
    than.
    """
    sizes = torch.logspace(-8, -10, 30, dtype=torch.float64)
    sizes[::10] = 0.0
    mixing = torch.from_numpy(rng.normal(size=(30, 30)))
    points = torch.from_numpy(rng.standard_t(2, size=(600, 30))) @ mixing * sizes
    basis, inverse = whitening(points)
    back = points @ (basis @ inverse)
    assert float(back[:, sizes == 0].abs().max()) == 0.0
    spread = points.std(0).clamp_min(1e-300)
    torch.testing.assert_close(back / spread, points / spread, rtol=0, atol=1e-9)


def test_constant_points(rng):
    basis, inverse = whitening(torch.ones(5, 3, dtype=torch.float64))
    torch.testing.assert_close(basis @ inverse, torch.eye(3, dtype=torch.float64))
