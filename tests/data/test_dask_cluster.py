"""Fits on two processes of dask, and what happens when one of them dies."""

import os
import signal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data._dask_source import ReadPartitions
from tests.common import blobs, start
from tests.data.sources import assert_same_fit

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow

CHUNKS = (500, 2)


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process with one thread."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def in_memory(**parameters):
    X = blobs(4000)
    given = start(X, "full", 3) | {"tol": 0.0, "max_iter": 12} | parameters
    return KeOpsGaussianMixture(**given).fit(X)


@pytest.mark.parametrize(
    "parameters", [{}, {"solver": "lbfgs"}, {"sparsity": 4.0, "tol": 1e-6}]
)
def test_two_workers(parameters, client):
    X = blobs(4000)
    whole = in_memory(**parameters)
    parts = da.from_array(X, chunks=CHUNKS).persist()
    model = KeOpsGaussianMixture(**whole.get_params()).fit(parts)
    assert_same_fit(model, whole, 1e-5 if parameters.get("solver") else 1e-8)
    assert_array_equal(model.predict(parts).compute(), whole.predict(X))
    found = model.predict_proba(parts).compute()
    assert_allclose(found, whole.predict_proba(X), atol=1e-8)
    assert model.bic(parts) == pytest.approx(whole.bic(X))


def test_starts_that_see_some_rows(client):
    X = blobs(4000)
    model = KeOpsGaussianMixture(3, init_size=100, random_state=0)
    one = model.fit(da.from_array(X, chunks=CHUNKS)).means_
    other = model.fit(da.from_array(X, chunks=(999, 1))).means_
    assert_allclose(one, other, rtol=1e-8)


def test_errors_name_the_partition(client):
    X = blobs(4000).copy()
    X[700] = np.inf
    with pytest.raises(ValueError, match=r"^X, partition 1: Input X contains infinity"):
        KeOpsGaussianMixture(3).fit(da.from_array(X, chunks=CHUNKS))


def processes(client):
    return set(client.run(os.getpid).values())


def at_third_step(monkeypatch, action):
    """Let something happen when the third sum of a fit is asked for."""
    total, steps = ReadPartitions.total, []

    def spy(self, function):
        steps.append(1)
        if len(steps) == 3:
            action()
        return total(self, function)

    monkeypatch.setattr(ReadPartitions, "total", spy)
    return steps


def test_a_worker_that_dies_within_a_step(client, monkeypatch, tmp_path):
    """It is killed while it reads a partition, others being summed already."""
    signed = tmp_path / "death warrant"

    def load(block, block_id):
        if block_id[0] == 5 and signed.exists():
            signed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    whole = in_memory()
    parts = da.from_array(blobs(4000), chunks=CHUNKS)
    parts = parts.map_blocks(load, dtype=float, meta=np.empty((0, 2)))
    before = processes(client)
    steps = at_third_step(monkeypatch, signed.touch)
    model = KeOpsGaussianMixture(**whole.get_params()).fit(parts)
    assert len(steps) > 5
    assert not signed.exists()
    assert len(processes(client) & before) == 1
    assert_same_fit(model, whole)


def test_a_worker_that_dies_with_its_partitions(client, monkeypatch):
    """What was persisted there is made again."""
    whole = in_memory()
    parts = da.from_array(blobs(4000), chunks=CHUNKS).persist()
    distributed.wait(parts)
    before = processes(client)
    steps = at_third_step(monkeypatch, lambda: os.kill(min(before), signal.SIGKILL))
    model = KeOpsGaussianMixture(**whole.get_params()).fit(parts)
    assert len(steps) > 5
    client.wait_for_workers(2)
    assert min(before) not in processes(client)
    assert_same_fit(model, whole)
