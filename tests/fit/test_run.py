"""Which of several starts is kept."""

import pytest
import torch

from sklearn_keops_gmm._fit._run import _is_lower
from sklearn_keops_gmm._model._parameters import SolverResult


def ended_at(*costs):
    return SolverResult(None, costs, costs, True)


@pytest.mark.parametrize(
    ("cost", "least", "dtype", "lower"),
    [
        (1.0, 2.0, torch.float64, True),
        (2.0, 1.0, torch.float64, False),
        (-30.0, -29.99, torch.float32, True),
        # What float32 cannot tell apart, float64 can.
        (29.3045130, 29.3045131, torch.float32, False),
        (29.3045130, 29.3045131, torch.float64, True),
        (1.0, 1.0, torch.float64, False),
        (1.0, float("inf"), torch.float64, True),
        (float("inf"), float("inf"), torch.float64, False),
    ],
)
def test_the_first_of_equal_starts_is_kept(cost, least, dtype, lower):
    assert _is_lower(ended_at(5.0, cost), ended_at(5.0, least), dtype) == lower


def test_the_last_of_starts_without_a_step_is_kept():
    assert _is_lower(ended_at(), ended_at(), torch.float64)
