"""scikit-learn's callbacks of a choice: paths, their mixtures, and folds."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_keops_gmm import KeOpsGaussianMixtureCV
from tests.common import blobs

callback = pytest.importorskip(
    "sklearn.callback", reason="scikit-learn has callbacks since 1.9"
)


class Witness:
    """A callback that writes down what it receives, and may stop at a task."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.begun, self.ended, self.found = [], [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        task = context.task_name, context.task_id
        self.ended.append(task)
        if fitted_estimator is not None and task[0] in ("mixture", "path", "fit"):
            marginal = fitted_estimator.marginal([0])
            assert np.isfinite(marginal.score(X[:, :1]))
            self.found.append(fitted_estimator.n_components_)
        return task == self.stop_at


def choice(witness, **parameters):
    model = KeOpsGaussianMixtureCV(5, random_state=0, **parameters)
    model.set_callbacks(witness)
    return model.fit(blobs())


def test_tasks():
    witness = Witness()
    model = choice(witness, covariance_type=["full", "diag"])
    counts = Counter(name for name, _ in witness.begun)
    # So few samples have paths from four starts.
    n_mixtures = 4 * len(model.results_["rank"])
    assert counts == {"fit": 1, "path": 2, "mixture": n_mixtures}
    assert sorted(witness.ended) == sorted(witness.begun)
    assert witness.begun[:3] == [("fit", 0), ("path", 0), ("mixture", 0)]
    assert witness.ended[-2:] == [("path", 1), ("fit", 0)]
    assert witness.found[:3] == [5, 4, 3]
    assert witness.found[-1] == model.n_components_ == 3


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.slow
def test_folds(n_jobs):
    witness = Witness()
    choice(witness, criterion="cv", cv=3, n_jobs=n_jobs)
    counts = Counter(name for name, _ in witness.ended)
    assert counts == {"fit": 1, "path": 1, "mixture": 5, "folds": 1, "fold": 3}
    assert sorted(witness.ended) == sorted(witness.begun)


def test_watching_changes_nothing():
    plain = KeOpsGaussianMixtureCV(5, random_state=0).fit(blobs())
    watched = choice(Witness())
    assert_array_equal(watched.means_, plain.means_)
    assert_array_equal(watched.criterion_, plain.criterion_)


def test_stop_on_the_path():
    """A path that is ended has the mixtures so far; the best of them is found."""
    model = choice(Witness(stop_at=("mixture", 1)))
    assert_array_equal(model.path_.n_components, [5, 4])
    assert model.n_components_ in (4, 5)


def test_stop_after_a_path():
    model = choice(Witness(stop_at=("path", 0)), covariance_type=["full", "diag"])
    assert set(model.results_["covariance_type"]) == {"full"}


def test_progress_bar(capsys):
    pytest.importorskip("rich")
    model = clone(KeOpsGaussianMixtureCV(4, random_state=0))
    model.set_callbacks(callback.ProgressBar()).fit(blobs())
    assert "path" in capsys.readouterr().out
