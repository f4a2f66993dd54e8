"""The step to which the values of a feature were rounded."""

import numpy as np
import pytest

from sklearn_keops_gmm._fit._lattice import rounding_step

N = 600


def step(samples, weights=None, per_row=1.0):
    return rounding_step(np.asarray(samples, dtype=float), weights, per_row)


@pytest.fixture
def minutes(rng):
    """Waiting times in whole minutes."""
    return rng.normal(70, 12, size=N).round()


def test_of_a_lattice(minutes):
    assert step(minutes) == 1.0
    assert step(0.1 * minutes) == pytest.approx(0.1)
    assert step(1e6 + 1e-3 * minutes) == pytest.approx(1e-3, rel=1e-3)


def test_of_nothing(rng):
    assert step(rng.normal(size=N)) == 0.0
    assert step(np.ones(N)) == 0.0
    # Nearly all samples are where few others are.
    assert step(np.r_[np.zeros(N), rng.normal(size=N)]) < 0.01


def test_of_two_values():
    assert step([0.0, 0.0, 1.0, 1.0, 1.0]) == 1.0


@pytest.mark.parametrize("elsewhere", ["precise", "filled in", "means of three"])
def test_where_a_tenth_lies_elsewhere(minutes, rng, elsewhere):
    some = np.arange(N) % 10 == 0
    others = {
        "precise": rng.normal(70, 12, size=N),
        "filled in": np.full(N, minutes.mean() + 1e-3),
        "means of three": minutes + rng.choice([-1 / 3, 1 / 3], size=N),
    }
    assert step(np.where(some, others[elsewhere], minutes)) == pytest.approx(1.0)


@pytest.mark.parametrize("liked", [2.0, 5.0])
def test_of_numbers_that_people_like(minutes, rng, liked):
    samples = np.where(rng.random(N) < 0.7, liked * (minutes / liked).round(), minutes)
    assert step(samples) == liked


@pytest.mark.parametrize("transformed", [np.log, np.sqrt, np.square])
def test_of_transformed_values(minutes, transformed):
    low, high = transformed(minutes.mean() + 15 * np.array([[-1], [1]]) + [0, 1])
    least, most = sorted([low[1] - low[0], high[1] - high[0]])
    assert least < step(transformed(minutes)) < most


def test_clusters_without_a_width_are_no_lattice(rng):
    """Two thirds of the samples are at single values, far apart."""
    near = rng.normal(25, 3, size=N).round()
    assert step(np.r_[np.ones(N), near, np.full(N, 60.0)]) == 1.0


def test_values_that_rounding_tells_apart(minutes, rng):
    noisy = 0.1 * minutes * (1 + 1e-16 * rng.integers(-3, 4, size=N))
    assert step(np.r_[noisy, noisy, noisy]) == pytest.approx(0.1)


def test_weights_stand_for_rows(minutes, rng):
    values, counts = np.unique(minutes, return_counts=True)
    values = np.log(values)
    rows = step(np.repeat(values, counts))
    assert step(values, counts.astype(float), N / len(values)) == rows
    assert step(values, 1e-8 * counts, N / len(values)) == pytest.approx(rows)
