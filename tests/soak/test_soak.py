"""The soak sees what it is there to see, and some fits of it hold."""

import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs
from tests.soak import cases, fits, invariants, workers
from tests.soak.fits import Outcome
from tests.soak.invariants import Violation


def fake(seed):
    """Crash, hang or fail, as the seed says."""
    if seed == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if seed == 2:
        time.sleep(600)
    if seed == 3:
        os._exit(5)
    return Outcome(seed, "violated: costs never rise" if seed == 4 else "fitted")


@pytest.mark.slow
def test_crashes_hangs_and_violations_are_seen():
    """Each is attributed to its case, and those after it run."""
    found = workers.outcomes(fake, range(7), jobs=2, timeout=2.0)
    kinds = {outcome.seed: outcome.kind for outcome in found}
    assert kinds == {
        0: "fitted",
        1: "crash: SIGSEGV",
        2: "hang",
        3: "crash: exit code 5",
        4: "violated: costs never rise",
        5: "fitted",
        6: "fitted",
    }


def failing_fit(error):
    """Return what a case becomes whose fit raises `error`."""

    def fit(*_, **__):
        raise error

    return fit


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (np.linalg.LinAlgError("Singular matrix"), "LinAlgError"),
        (ValueError("Input X contains infinity"), "ValueError"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
        (ValueError("X[3]: Expected n_samples >= n_components but got"), "refused"),
    ],
)
def test_errors_that_are_not_documented_fail(monkeypatch, error, kind):
    monkeypatch.setattr(fits, "draw", lambda seed: tame_case())
    monkeypatch.setattr(KeOpsGaussianMixture, "fit", failing_fit(error))
    outcome = fits.run(0)
    assert outcome.kind.startswith(kind)
    assert outcome.failed == (kind != "refused")


def tame_case(**parameters):
    given = {"n_components": 3, "random_state": 0, "reg_covar": 0.0, **parameters}
    return cases.Case(0, "fit", "blobs", "plain", blobs(), None, given)


def fitted(case):
    model = KeOpsGaussianMixture(**case.parameters)
    return model.fit(case.points)


def check(model, case):
    """All that is checked of a fit."""
    fits._check_fit(model, case)


def nan_in_means(model):
    model.means_[1, 0] = np.nan


def heavier(model):
    model.weights_ = model.weights_ * (1 + 1e-9)


def indefinite(model):
    model.covariances_[0] = [[1.0, 2.0], [2.0, 1.0]]


def other_factor(model):
    model.precisions_cholesky_ = model.precisions_cholesky_ * (1 + 1e-6)


def other_precision(model):
    model.precisions_ = model.precisions_ * (1 + 1e-6)


def rising(model):
    model.costs_[1] = model.costs_[0] + 1e-6


def above_the_last(model):
    model.cost_ = model.costs_[-1] + 1e-6


def wrong_cost(model):
    model.cost_ -= 1e-6


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (nan_in_means, "means_ finite"),
        (heavier, "weights sum to 1"),
        (indefinite, "covariances positive definite"),
        (other_factor, "precisions are A A^T"),
        (other_precision, "precisions are A A^T"),
        (rising, "costs never rise"),
        (above_the_last, "cost_ not above the last"),
        (wrong_cost, "cost_ is the cost"),
    ],
)
def test_spoiled_attributes_are_seen(spoil, name):
    case = tame_case()
    model = fitted(case)
    check(model, case)
    spoil(model)
    with pytest.raises(Violation) as caught:
        check(model, case)
    assert caught.value.name == name


def altered(method, change):
    """Return a method whose answers are changed."""
    plain = getattr(KeOpsGaussianMixture, method)
    return lambda self, X, *args, **kwargs: change(plain(self, X, *args, **kwargs))


@pytest.mark.parametrize(
    ("method", "change", "name"),
    [
        ("score_samples", lambda x: x * np.nan, "score_samples not NaN"),
        ("score_samples", lambda x: x + 1e-7, "score_samples as in the reference"),
        ("score", lambda x: x + 1e-7, "score is the mean"),
        ("predict", lambda x: (x + 1) % 3, "labels the most probable"),
        ("predict_proba", lambda x: x * (1 - 1e-9), "probabilities sum to 1"),
        ("predict_proba", lambda x: x[:, ::-1], "probabilities as in the reference"),
    ],
)
def test_wrong_answers_are_seen(monkeypatch, method, change, name):
    case = tame_case()
    model = fitted(case)
    monkeypatch.setattr(KeOpsGaussianMixture, method, altered(method, change))
    with pytest.raises(Violation) as caught:
        invariants.check_answers(model, case)
    assert caught.value.name == name


def test_a_change_by_a_refused_fit_is_seen():
    model = SimpleNamespace(weights_=np.ones(2), cost_=1.0)
    before = invariants.snapshot(model)
    invariants.check_unchanged(model, before)
    model.cost_ = 2.0
    with pytest.raises(Violation, match="changes nothing"):
        invariants.check_unchanged(model, before)


def test_a_case_is_its_seed():
    """Drawn twice it is the same, said in the same words."""
    for seed in range(20):
        first, second = cases.draw(seed), cases.draw(seed)
        np.testing.assert_array_equal(first.points, second.points)
        assert first.described() == second.described()


def test_cases_are_of_all_kinds():
    drawn = [cases.draw(seed) for seed in range(300)]
    histories = {case.history for case in drawn}
    assert histories == {"fit", "refit", "warm start", "partial fit", "path", "cv"}
    assert {case.points.dtype.name for case in drawn} == {"float64", "float32", "int64"}
    assert {case.parameters["covariance_type"] for case in drawn} == set(
        cases.COVARIANCE_TYPES
    )
    assert {case.layout for case in drawn} >= {"chunks", "dask", "frame", "strided"}


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.fast(8)
def test_fits(seed):
    outcome = fits.run(seed)
    assert not outcome.failed, f"python -m tests.soak --case {seed}: {outcome.detail}"
