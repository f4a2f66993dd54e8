"""No step, move or extinction that is kept ends above where it started."""

from pathlib import Path

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs, needs_compiled
from tests.reference import COVARIANCE_TYPES
from tests.solvers.test_em import error_of_fit

STARTS = ["kmeans", "k-means++", "random", "random_from_data"]
# Where each component has a covariance of its own.
OWN = ["full", "diag", "spherical"]
N_DRAWS = 75


def bits():
    """Samples of 24 bits each, on which a move and its opposite once took turns."""
    with np.load(Path(__file__).parents[1] / "cases" / "bits.npz") as file:
        shape = file["shape"]
        return np.unpackbits(file["bits"])[: np.prod(shape)].reshape(shape)


def draw(rng):
    """A few blobs, some of them on a lattice or with equal rows."""
    n, d, k = rng.integers((10, 1, 1), (150, 5, 5))
    centres = rng.normal(size=(k, d)) * rng.choice([0, 1, 3, 10])
    widths = np.exp(rng.normal(size=d) * rng.choice([0, 1]))
    X = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d)) * widths
    kind = rng.integers(4)
    if kind == 1:
        return X.round(1)
    return np.concatenate([X, X[: n // 4]]) if kind == 2 else X


def draw_parameters(rng, n_samples):
    return {
        "n_components": int(rng.integers(1, min(9, n_samples))),
        "covariance_type": str(rng.choice(COVARIANCE_TYPES)),
        "sparsity": float(rng.choice([0.1, 1, 5, 20, 100, 1e3, 1e6])),
        "random_state": int(rng.integers(2**31)),
        "init_params": str(rng.choice(STARTS)),
        "tol": float(rng.choice([1e-3, 1e-6])),
        "acceleration": rng.choice([None, "squarem"]),
    }


def rises(model, dtype):
    """The rises of the recorded costs beyond what rounding explains."""
    costs = np.array([*model.costs_, model.cost_])
    allowed = 1e5 * np.finfo(dtype).eps * np.maximum(1, np.abs(costs[1:]))
    found = np.diff(costs)
    return found[found > allowed]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "part"),
    [pytest.param("native", part, marks=needs_compiled) for part in range(4)]
    + [("torch", 0)],
)
def test_cost_never_rises(backend, part):
    """Not in hundreds of draws, of all parts, whatever becomes of components."""
    rng = np.random.default_rng([part, len(backend)])
    n_errors = 0
    for _ in range(N_DRAWS):
        X = draw(rng)
        given = draw_parameters(rng, len(X))
        model = KeOpsGaussianMixture(**given, reg_covar=0, backend=backend)
        error = error_of_fit(model, X)
        n_errors += error is not None
        if error is None:
            assert not rises(model, X.dtype).size, given
        else:
            assert "ill-defined" in error, given
    # Half of the data are lattices or have equal rows.
    assert n_errors < 0.25 * N_DRAWS


def start_of(given, reg_covar, X):
    """Arrays to start from where a fit with moves would have a 'kmeans' of its own."""
    if given["init_params"] != "kmeans":
        return {}
    start = KeOpsGaussianMixture(
        **given, reg_covar=reg_covar, moves=False, max_iter=0
    ).fit(X.astype(np.float64))
    return {
        "weights_init": start.weights_ / start.weights_.sum(),
        "means_init": start.means_,
        "precisions_init": start.precisions_,
    }


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("reg_covar", [1e-6, 1e-2, 1.0])
@pytest.mark.slow
def test_moves_never_end_above(structure, reg_covar):
    """Where a ridge lets EM raise the cost: what moves reach is below EM's end.

    But for ends with components on so few samples that a covariance is singular without
    a ridge: moves leave these out.
    """
    rng = np.random.default_rng(0)
    n_compared = 0
    for _ in range(16):
        X = draw(rng)
        given = draw_parameters(rng, len(X)) | {"covariance_type": structure}
        given |= {"reg_covar": reg_covar} | start_of(given, reg_covar, X)
        plain, moved = (
            KeOpsGaussianMixture(**given, moves=moves).fit(X) for moves in (False, True)
        )
        fewest = X.shape[1] + 1 if structure == "full" else 2
        if structure in OWN and plain.predict_proba(X).sum(0).min() < fewest:
            continue
        n_compared += 1
        assert moved.cost_ <= plain.cost_ + 1e-12 * max(1, abs(plain.cost_)), given
        after = [*moved.costs_[len(plain.costs_) :], moved.cost_]
        assert (np.diff(after) <= 1e-12 * np.maximum(1, np.abs(after[1:]))).all()
    assert n_compared >= 8


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [1.0, 1e3, 1e6])
@pytest.mark.fast(3)
def test_moves_come_to_an_end(structure, sparsity):
    X = bits()[:: 1 if (structure, sparsity) == ("spherical", 1e6) else 5]
    model = KeOpsGaussianMixture(
        4,
        covariance_type=structure,
        sparsity=sparsity,
        random_state=729,
        init_size=1256,
    ).fit(X)
    assert model.converged_
    assert model.cost_ <= min(model.costs_) + 1e-9 * abs(model.cost_)


@pytest.mark.parametrize("structure", ["full", "tied", "diag"])
@pytest.mark.parametrize("distance", [1e6, 1e7])
@pytest.mark.slow
def test_a_singular_merger_is_no_candidate(structure, distance):
    """A component of one far sample is left where it is, or goes as a whole."""
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + 8]
    X = np.r_[X, [[distance] * 3]]
    for seed in range(6):
        model = KeOpsGaussianMixture(
            6, covariance_type=structure, sparsity=1.0, random_state=seed
        ).fit(X)
        assert model.n_components_ >= 2
        assert np.isfinite(model.score(X))


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_weights_of_a_start_are_penalised_as_they_are_used(structure):
    """Those of scikit-learn's start at single samples sum to M / N."""
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        sparsity=100.0,
        init_params="k-means++",
        random_state=0,
    ).fit(blobs())
    assert not rises(model, float).size
