"""scikit-learn's searches, spread by each of joblib's backends."""

import joblib
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs


@pytest.fixture(
    scope="module",
    params=[
        "threading",
        pytest.param("loky", marks=pytest.mark.slow),
        pytest.param("dask", marks=pytest.mark.slow),
    ],
)
def two_workers(request):
    """What has joblib spread its work over two threads or processes."""
    if request.param != "dask":
        yield {"backend": request.param, "n_jobs": 2}
        return
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    )
    # joblib finds the client by itself.
    with cluster, distributed.Client(cluster):
        yield {"backend": "dask"}


def search(model, X):
    grid = {"n_components": [2, 3], "sparsity": [0.0, 1.0]}
    found = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X)
    return [found.cv_results_[f"split{i}_test_score"] for i in range(2)]


def cross_validate(model, X):
    return cross_val_score(model, X, cv=4, error_score="raise")


@pytest.mark.parametrize("task", [search, cross_validate])
def test_scores_do_not_depend_on_the_workers(task, two_workers, many_threads):
    model = KeOpsGaussianMixture(3, random_state=0)
    X = blobs()
    alone = task(model, X)
    with joblib.parallel_config(**two_workers):
        assert_allclose(task(model, X), alone, rtol=1e-12)
    assert torch.get_num_threads() == 3
