"""scikit-learn's callbacks: what they receive of a fit, and when."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import SOLVERS, iris

callback = pytest.importorskip(
    "sklearn.callback", reason="scikit-learn has callbacks since 1.9"
)


class Witness:
    """A callback that writes down what it receives."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []
        self.ends = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.events.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(
        self,
        estimator,
        context,
        *,
        X=None,
        y=None,
        metadata=None,
        fitted_estimator=None,
    ):
        self.events.append(f"end {context.task_name} {context.task_id}")
        assert X is not None
        assert len(y) == len(X)
        score = fitted_estimator.score(X, **(metadata or {}))
        self.ends.append((context.task_name, score, fitted_estimator))
        return context.task_name == "iteration" and context.task_id == self.stop_after

    def scores(self, task):
        return [score for name, score, _ in self.ends if name == task]


def likelihood(estimator, X, y=None):
    """In the form that ScoringMonitor takes, a dictionary."""
    return {"score": estimator.score(X)}


def fit(witness, X=None, sample_weight=None, **parameters):
    given = {"n_components": 3, "random_state": 0, "init_params": "random"} | parameters
    model = KeOpsGaussianMixture(**given)
    model.set_callbacks(witness)
    return model.fit(iris() if X is None else X, sample_weight=sample_weight)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("max_iter", [5, 100])
@pytest.mark.fast(2)
def test_tasks(solver, max_iter):
    """Starts are tasks of the fit, iterations those of a start; each ends once."""
    witness = Witness()
    model = fit(witness, solver=solver, n_init=2, max_iter=max_iter, tol=1e-2)
    counts = Counter(event.rpartition(" ")[0] for event in witness.events)
    assert counts["begin fit"] == counts["end fit"] == 1
    assert counts["begin start"] == counts["end start"] == 2
    assert counts["begin iteration"] == counts["end iteration"] > model.n_iter_
    assert (witness.events[0], witness.events[-1]) == ("setup", "teardown")
    inner = [event for event in witness.events if not event.endswith("teardown")]
    first = inner.index("end start 0")
    assert inner[:4] == ["setup", "begin fit 0", "begin start 0", "begin iteration 0"]
    assert inner[first + 1 : first + 3] == ["begin start 1", "begin iteration 0"]
    assert inner[-2:] == ["end start 1", "end fit 0"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_fitted_estimators(solver):
    """After each iteration the mixture is the one that the next iteration scores."""
    witness = Witness()
    model = fit(witness, solver=solver, max_iter=8, tol=0)
    scores = witness.scores("iteration")
    assert_allclose(scores[:-1], model.lower_bounds_[1:], rtol=1e-6)
    assert witness.scores("start") == [pytest.approx(model.score(iris()), rel=1e-9)]
    assert witness.scores("fit") == [pytest.approx(model.score(iris()), rel=1e-9)]
    assert len(scores) == model.n_iter_ == 8


def test_attributes_follow_what_lives():
    witness = Witness()
    fit(witness, n_components=20, sparsity=50.0, reg_covar=0.1, max_iter=200)
    alive = [len(mixture.means_) for _, _, mixture in witness.ends]
    assert min(alive) < 20
    assert alive == [mixture.n_components_ for _, _, mixture in witness.ends]


def test_watching_changes_nothing():
    expected = KeOpsGaussianMixture(3, random_state=0, init_params="random", n_init=3)
    expected.fit(iris())
    model = fit(Witness(), n_init=3)
    assert_array_equal(model.means_, expected.means_)
    assert model.costs_ == expected.costs_
    assert set(vars(model)) - set(vars(expected)) == {"_skl_callbacks"}


def test_sample_weight_and_names():
    weights = np.linspace(0, 1, 150)
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    witness = Witness()
    model = fit(witness, frame, sample_weight=weights)
    expected = model.score(frame, sample_weight=weights)
    assert witness.scores("fit") == [pytest.approx(expected, rel=1e-12)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_can_stop(solver, recwarn):
    witness = Witness(stop_after=3)
    model = fit(witness, solver=solver, tol=0, n_init=2)
    assert model.n_iter_ == 4
    assert len(witness.scores("iteration")) == 2 * 4
    assert not model.converged_
    assert not recwarn.list


def test_moves_are_iterations():
    """Those that lead to what is kept; a callback can stop among them."""
    given = {"n_components": 10, "sparsity": 10.0, "reg_covar": 0.05, "max_iter": 500}
    alone = fit(Witness(), **given, moves=False)
    witness = Witness()
    model = fit(witness, **given)
    assert model.n_iter_ > alone.n_iter_ + 2
    scores = witness.scores("iteration")
    assert_allclose(scores[:-1], model.lower_bounds_[1:], rtol=1e-9)
    assert scores[-1] == pytest.approx(model.score(iris()), rel=1e-9)
    stopped = fit(Witness(stop_after=alone.n_iter_), **given)
    assert stopped.n_iter_ == alone.n_iter_ + 1
    assert stopped.score(iris()) == pytest.approx(scores[alone.n_iter_], rel=1e-9)
    assert not stopped.converged_


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_no_iterations(sparsity):
    witness = Witness()
    fit(witness, max_iter=0, sparsity=sparsity)
    assert [name for name, _, _ in witness.ends] == ["start", "fit"]


def test_warm_start():
    witness = Witness()
    model = fit(Witness(), n_init=2, tol=1e-1)
    model.set_callbacks(witness).set_params(warm_start=True, tol=1e-4).fit(iris())
    assert len(witness.scores("start")) == 1
    assert len(witness.scores("iteration")) == model.n_iter_


def test_teardown_after_a_failure():
    witness = Witness()
    with pytest.raises(ValueError, match="infinity"):
        fit(witness, np.full((10, 2), np.inf))
    assert witness.events == ["setup", "teardown"]


def test_scoring_monitor():
    monitor = callback.ScoringMonitor(scoring=likelihood)
    model = fit(monitor, max_iter=5, tol=0)
    log = monitor.get_logs().data_as_pandas
    steps = log[log.task_name == "iteration"].score
    assert_allclose(steps.iloc[:-1], model.lower_bounds_[1:], rtol=1e-9)
    assert log[log.task_name == "fit"].score.item() == pytest.approx(
        model.score(iris()), rel=1e-12
    )


def test_scoring_monitor_in_a_pipeline_in_a_search():
    monitor = callback.ScoringMonitor(scoring=likelihood)
    model = KeOpsGaussianMixture(random_state=0, max_iter=4, tol=0)
    pipeline = make_pipeline(StandardScaler(), model.set_callbacks(monitor))
    grid = {"keopsgaussianmixture__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(iris())
    (log,) = monitor.get_logs(select="all")
    rows = log.data_as_pandas
    # Two candidates on three folds, and the best one on all data.
    assert (rows.task_name == "iteration").sum() == 7 * 4
    assert rows.score.notna().all()
    fits = rows[rows.task_name == "fit"].score
    assert len(fits) == 7
    assert np.isclose(fits, search.best_estimator_.score(iris()), rtol=1e-12).any()


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_progress_bar(n_jobs, capsys):
    pytest.importorskip("rich", reason="ProgressBar needs rich")
    bar = callback.ProgressBar(max_propagation_depth=None)
    model = KeOpsGaussianMixture(random_state=0, n_init=2, max_iter=5, tol=0)
    pipeline = make_pipeline(StandardScaler(), model)
    grid = {"keopsgaussianmixture__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(bar).fit(iris())
    printed = capsys.readouterr().out
    assert "KeOpsGaussianMixture" in printed
    assert "start" in printed
    assert "100%" in printed
    assert clone(model).fit(iris()).n_iter_ == 5


def test_refused():
    with pytest.raises(TypeError, match="must be instances"):
        KeOpsGaussianMixture().set_callbacks("print")
