"""The sparsity path: every size once, and where each costs least."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_keops_gmm import KeOpsGaussianMixture, sparsity_path
from sklearn_keops_gmm._model import lower_envelope
from tests.common import blobs, every_backend, spiral
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)

# What a path otherwise does in another way than a fit.
LIKE_A_FIT = {"covariance_pooling": 0.0, "reg_covar": 1e-6}


def cost_at(path, sparsity):
    """What each mixture of a path costs at a sparsity."""
    M = path.n_components.max()
    roots = np.array([np.sqrt(m.weights_).sum() for m in path.mixtures])
    at_zero = [
        m.cost_ - m.sparsity / M * np.sqrt(m.weights_).sum() for m in path.mixtures
    ]
    return sparsity / M * roots + np.array(at_zero)


@every_backend
@every_structure
@pytest.mark.fast(4)
def test_path_has_every_size_once(backend, structure):
    X = blobs()
    path = sparsity_path(
        X, 6, covariance_type=structure, backend=backend, random_state=0
    )
    assert_array_equal(path.n_components, np.arange(6, 0, -1))
    for mixture, K, score in zip(
        path.mixtures, path.n_components, path.scores, strict=True
    ):
        assert len(mixture.means_) == mixture.n_components_ == K
        assert mixture.score(X) == pytest.approx(score, abs=1e-10)
    mixture = path.mixtures[-1]
    best = KeOpsGaussianMixture(1, covariance_type=structure).fit(X)
    assert mixture.means_ == pytest.approx(best.means_)
    assert mixture.covariances_ == pytest.approx(best.covariances_)


def test_intervals_are_where_a_mixture_costs_least():
    path = sparsity_path(blobs(), 6, random_state=0)
    for s in (0.0, 0.01, 0.3, 1.0, 5.0, 30.0, 1e4):
        cheapest = path.n_components[cost_at(path, s).argmin()]
        assert path.at(s).n_components_ == cheapest
    seen = np.isfinite(path.sparsities[:, 0])
    ends = path.sparsities[seen]
    assert ends[0, 0] == 0
    assert_array_equal(ends[1:, 0], ends[:-1, 1])
    assert ends[-1, 1] == np.inf
    for i in np.flatnonzero(seen):
        cost = cost_at(path, path.sparsities[i, 0])[i]
        assert path.costs[i] == pytest.approx(cost)
        assert path.mixtures[i].cost_ == pytest.approx(cost)
    assert np.isnan(path.costs[~seen]).all()


@pytest.mark.parametrize("sparsity", [2.0, 10.0])
def test_a_fit_is_near_a_point_of_the_path(sparsity):
    """From the path's mixture, penalised EM ends no higher than from the start."""
    X = spiral(500)
    path = sparsity_path(X, 12, random_state=0, tol=1e-6, **LIKE_A_FIT)
    fit = KeOpsGaussianMixture(
        12, sparsity=sparsity, random_state=0, tol=1e-6, moves=False
    ).fit(X)
    point = clone(path.at(sparsity)).set_params(
        sparsity=sparsity, warm_start=True, moves=False
    )
    point.__dict__.update(
        {k: v for k, v in vars(path.at(sparsity)).items() if k.endswith("_")}
    )
    assert point.fit(X).cost_ <= fit.cost_ + 1e-3


def test_path_goes_down_to_better_mixtures_than_a_fresh_start():
    X = spiral(500)
    path = sparsity_path(X, 12, random_state=0, **LIKE_A_FIT)
    for K in (2, 4, 6):
        fresh = KeOpsGaussianMixture(K, random_state=0).fit(X)
        assert path.scores[path.n_components == K][0] > fresh.score(X) - 1e-2


@pytest.mark.slow
def test_many_components_some_of_them_equal():
    """Of more than 64 components only neighbours are looked at, never one twice."""
    X = np.repeat(blobs(200), 2, axis=0)
    path = sparsity_path(
        X, 70, init_params="random_from_data", random_state=0, reg_covar=1e-2, tol=1.0
    )
    assert_array_equal(path.n_components, np.arange(70, 0, -1))


def test_envelope():
    values = np.array([0.0, 1.0, 2.0, 5.0])
    slopes = np.array([4.0, 3.5, 2.0, 1.0])
    expected = [[0, 1], [np.nan, np.nan], [1, 3], [3, np.inf]]
    assert lower_envelope(values, slopes) == pytest.approx(
        np.array(expected), nan_ok=True
    )


def test_envelope_of_lines_that_meet_or_coincide():
    values, slopes = np.array([1.0, 1.0, 1.0]), np.array([2.0, 1.0, 1.0])
    intervals = lower_envelope(values, slopes)
    assert np.isfinite(intervals[:, 0]).sum() == 1
    assert intervals[1, 0] == 0


def test_weights_count_as_rows(rng):
    X, counts = blobs(120), rng.integers(1, 4, size=120)
    weighted = sparsity_path(X, 5, sample_weight=counts, random_state=0)
    repeated = sparsity_path(np.repeat(X, counts, axis=0), 5, random_state=0)
    assert weighted.scores == pytest.approx(repeated.scores, abs=1e-8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sparsity": 2.0}, "takes no 'sparsity' but 0.0, got 2.0"),
        ({"solver": "adam"}, "takes no 'solver' but 'em', got 'adam'"),
        ({"prior": torch.sum}, "takes no 'prior' but None"),
        ({"n_init": 9}, "takes no 'n_init' but 1, got 9"),
        ({"moves": True}, "takes no 'moves' but 'auto', got True"),
        ({"acceleration": "squarem"}, "takes no 'acceleration' but None"),
        ({"verbose": 2}, "takes no 'verbose' but 0, got 2"),
        ({"tol": -1}, "'tol' parameter"),
    ],
)
def test_bad_parameters(given, message):
    with pytest.raises(ValueError, match=message):
        sparsity_path(blobs(), 3, **given)


@pytest.mark.parametrize("sparsity", [-1.0, np.nan, np.inf, "few", None])
def test_bad_sparsity(sparsity):
    path = sparsity_path(blobs(), 3, random_state=0)
    with pytest.raises(
        ValueError, match="'sparsity' must be a finite number >= 0; got"
    ):
        path.at(sparsity)
