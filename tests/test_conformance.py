"""scikit-learn's own tools: its checks, pipelines, searches, clones and pickles."""

import copy
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import SOLVERS, blobs, every_backend, iris


@parametrize_with_checks(
    [
        KeOpsGaussianMixture(solver=solver, backend="torch", max_iter=50)
        for solver in SOLVERS
    ]
)
@pytest.mark.fast(25)
def test_checks_torch(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([KeOpsGaussianMixture(backend="keops", max_iter=50)])
def test_checks_keops(estimator, check):
    check(estimator)


@every_backend
@pytest.mark.parametrize("solver", SOLVERS)
def test_pipeline(backend, solver):
    X = blobs() * [1e3, 1e-3]
    model = KeOpsGaussianMixture(3, backend=backend, solver=solver, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model).fit(X)
    labels = pipeline.predict(X)
    assert set(labels) == {0, 1, 2}
    scaled = StandardScaler().fit_transform(X)
    assert_array_equal(labels, clone(model).fit(scaled).predict(scaled))
    assert np.isfinite(pipeline.score(X))


@pytest.mark.slow
def test_grid_search_sees_no_prior():
    """The scores of a search are the plain mean log-likelihood of held-out data."""
    X = blobs()
    model = KeOpsGaussianMixture(6, sparsity=20.0, max_iter=200, random_state=0)
    scores = cross_val_score(model, X, cv=2)
    halves = np.split(X, 2)
    for score, train, test in zip(scores, halves[::-1], halves, strict=True):
        fitted = clone(model).fit(train)
        assert score == pytest.approx(fitted.score_samples(test).mean(), rel=1e-12)


SEARCH = """
import os
from pathlib import Path
from sklearn.model_selection import GridSearchCV
from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs

KeOpsGaussianMixture(backend="torch", random_state=0).fit(blobs())
assert not Path(os.environ["KEOPS_CACHE_FOLDER"]).exists()
search = GridSearchCV(
    KeOpsGaussianMixture(backend="keops", random_state=0),
    {"sparsity": [0.0, 5.0], "n_components": [1, 3]},
    cv=2,
    n_jobs=2,
    error_score="raise",
).fit(blobs())
print(search.best_params_["n_components"], search.best_estimator_.backend)
"""


@pytest.mark.slow
def test_grid_search_in_processes_from_an_empty_cache(tmp_path):
    """Two processes that need the same formula for the first time both get it.

    And torch makes no cache.
    """
    cache = tmp_path / "keops"
    environment = os.environ | {"KEOPS_CACHE_FOLDER": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SEARCH],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 keops"]
    assert cache.exists()


def test_grid_search_over_solvers_and_structures():
    grid = {"solver": SOLVERS, "covariance_type": ["full", "tied", "diag", "spherical"]}
    model = KeOpsGaussianMixture(3, max_iter=20, random_state=0)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(iris())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    "copier", [pickle, joblib, copy], ids=lambda kind: kind.__name__
)
@every_backend
@pytest.mark.fast(2)
def test_a_copy_answers_alike(copier, backend, tmp_path):
    X = blobs()
    model = KeOpsGaussianMixture(3, sparsity=1.0, backend=backend, random_state=0)
    model.fit(X)
    if copier is copy:
        twin = copy.deepcopy(model)
    elif copier is pickle:
        twin = pickle.loads(pickle.dumps(model))
    else:
        joblib.dump(model, tmp_path / "model")
        twin = joblib.load(tmp_path / "model")
    assert_array_equal(twin.score_samples(X), model.score_samples(X))
    assert_array_equal(twin.sample(9)[0], model.sample(9)[0])
    assert_array_equal(twin.fit(X).means_, model.means_)


def test_clone_keeps_parameters_and_forgets_the_fit():
    model = KeOpsGaussianMixture(
        3,
        covariance_type="diag",
        sparsity=2.0,
        solver="adam",
        learning_rate=0.3,
        backend="torch",
        device="cpu",
        means_init=np.zeros((3, 4)),
    )
    twin = clone(model.fit(iris()))
    assert not hasattr(twin, "means_")
    for name, value in model.get_params().items():
        assert_array_equal(twin.get_params()[name], value)


def test_defaults_are_scikit_learns():
    from sklearn.mixture import GaussianMixture

    ours, theirs = KeOpsGaussianMixture().get_params(), GaussianMixture().get_params()
    assert theirs.items() <= ours.items()
    own = {"sparsity", "prior", "solver", "learning_rate", "batch_size"}
    own |= {"moves", "acceleration", "init_size", "backend", "device"}
    own |= {"learning_decay", "learning_offset", "covariance_pooling", "frozen"}
    own |= {"noise", "noise_volume", "truncation"}
    assert set(ours) - set(theirs) == own
    assert ours["prior"] is ours["batch_size"] is ours["acceleration"] is None
    assert (ours["sparsity"], ours["solver"]) == (0.0, "em")
    assert ours["covariance_pooling"] == 0.0
    assert ours["frozen"] is ours["noise"] is ours["truncation"] is None
    assert ours["backend"] == ours["device"] == "auto"
