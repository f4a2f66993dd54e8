"""Samples in partitions of dask: what is special about them, beside the contract."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
)
from sklearn_keops_gmm._data import _dask, _dask_source
from sklearn_keops_gmm._data._dask_source import ReadPartitions
from tests.common import blobs, start
from tests.data.sources import assert_same_fit

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

pytestmark = pytest.mark.usefixtures("one_thread")

CUTS = ((130, 0, 1, 269), (2,))


def table(X=None, **columns):
    X = blobs() if X is None else X
    return pd.DataFrame(X, columns=["a", "b"]).assign(**columns)


def test_threads_are_given_back(many_threads):
    """Those of dask and those of tiles share the cores, and leave torch its own."""
    X = blobs(4000)
    whole = KeOpsGaussianMixture(3, random_state=0).fit(X)
    parts = da.from_array(X, chunks=(300, 2))
    with dask.config.set(scheduler="threads", num_workers=4):
        model = KeOpsGaussianMixture(3, random_state=0).fit(parts)
        assert_array_equal(model.predict(parts).compute(), whole.predict(X))
        assert model.score(parts) == pytest.approx(whole.score(X), rel=1e-9)
    assert torch.get_num_threads() == 3


cuts = st.lists(st.integers(0, 400), max_size=20).map(sorted)


@given(cuts=cuts, init_size=st.sampled_from(["auto", 50]), weighted=st.booleans())
@settings(max_examples=30)
@pytest.mark.slow
def test_no_chunking_changes_anything(cuts, init_size, weighted):
    """A start that sees fifty rows sees the same fifty."""
    X, weights = blobs(), np.arange(400.0) % 3 if weighted else None
    model = KeOpsGaussianMixture(3, random_state=0, init_size=init_size, max_iter=300)
    rows = tuple(np.diff([0, *cuts, 400]).tolist())
    parts = da.from_array(X, chunks=(rows, 2))
    expected = model.fit(da.from_array(X), sample_weight=weights)
    found = KeOpsGaussianMixture(**model.get_params())
    assert_same_fit(found.fit(parts, sample_weight=weights), expected)
    assert_array_equal(found.predict(parts).compute(), expected.predict(X))


def test_the_seed_draws_the_rows_of_the_start(monkeypatch):
    seen = []
    take = ReadPartitions.take

    def spy(self, rows):
        points, weights = take(self, rows)
        assert_array_equal(points, blobs()[rows])
        seen.append(rows.tolist())
        return points, weights

    monkeypatch.setattr(ReadPartitions, "take", spy)
    X = da.from_array(blobs(), chunks=CUTS)
    for seed in (0, 0, 1):
        KeOpsGaussianMixture(3, init_size=50, random_state=seed).fit(X)
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[0])) == 50


def test_chunks_along_features_and_of_unknown_length():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0)
    whole = model.fit(X)
    narrow = da.from_array(X, chunks=(130, 1))
    unknown = narrow[da.from_array(np.ones(400, bool), chunks=130)]
    assert np.isnan(unknown.shape[0])
    for parts in (narrow, unknown):
        twin = KeOpsGaussianMixture(**model.get_params()).fit(parts)
        assert_same_fit(twin, whole)
        assert_allclose(twin.score_samples(parts), whole.score_samples(X), rtol=1e-8)


# -- lazy answers ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
def test_answers_are_lazy(dtype):
    X = (10 * blobs()).astype(dtype)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    read = []

    def load(block):
        read.append(len(block))
        return block

    parts = da.from_array(X, chunks=CUTS).map_blocks(load, dtype=dtype, meta=X[:0])
    asked = {
        "score_samples": (),
        "predict": (),
        "predict_proba": (3,),
    }
    for name, columns in asked.items():
        expected = getattr(model, name)(X)
        found = getattr(model, name)(parts)
        assert isinstance(found, da.Array)
        assert not read
        assert found.dtype == expected.dtype
        assert found.chunks == (CUTS[0], *[(width,) for width in columns])
        assert type(found._meta) is np.ndarray
        answer = found.compute()
        assert answer.dtype == expected.dtype
        rtol = 1e-4 if dtype is np.float32 else 1e-9
        assert_allclose(answer, expected, rtol, atol=1e-30)
        assert read
        read.clear()
        # Blocks are answered alone, those without rows too.
        assert len(found.blocks[1].compute()) == 0
        assert_array_equal(found.blocks[2].compute(), answer[130:131])
        read.clear()


def test_later_fits_do_not_change_answers():
    X, parts = blobs(), da.from_array(blobs(), chunks=CUTS)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    expected = model.score_samples(X)
    found = model.score_samples(parts)
    model.set_params(n_components=1).fit(X)
    assert_allclose(found.compute(), expected)


def test_only_what_is_needed_is_sent(monkeypatch):
    """Of a mixture that was searched for its path stays here."""
    answers, sent = _dask_source._answers_of_block, []

    def spy(block, function, none, block_id):
        sent.append(function)
        return answers(block, function, none, block_id)

    monkeypatch.setattr(_dask_source, "_answers_of_block", spy)
    model = KeOpsGaussianMixtureCV(10, random_state=0).fit(blobs())
    labels = model.predict(da.from_array(blobs(), chunks=CUTS))
    assert_array_equal(labels.compute(), model.predict(blobs()))
    assert len(pickle.dumps(sent[0])) < 3000


def test_means_given_some_features():
    X = blobs()
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    found = model.conditional_mean([1], da.from_array(X[:, 1:], chunks=(130, 1)))
    assert isinstance(found, da.Array)
    assert found.shape == (400, 1)
    assert_allclose(found.compute(), model.conditional_mean([1], X[:, 1:]))


# -- what is sent ---------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_steps_send_nothing_that_grows_with_the_samples(structure, monkeypatch):
    """A step of 3 components sends, and gets from each partition, a few kB."""
    sizes = {}
    sent, returned = [], []
    on_partition = _dask._on_partition

    def spy(function, *arguments):
        answer = on_partition(function, *arguments)
        sent.append(len(pickle.dumps(function)))
        returned.append(len(pickle.dumps(answer)))
        return answer

    monkeypatch.setattr(_dask, "_on_partition", spy)
    for n_samples in (400, 4000):
        X = blobs(n_samples)
        model = KeOpsGaussianMixture(**start(X, structure, 3), max_iter=1)
        model.fit(da.from_array(X, chunks=(n_samples // 2, 2)))
        # Of two partitions: the check, the rows of the start, the step, the cost.
        assert len(sent) == len(returned) == 8
        sizes[n_samples] = max(sent[4:]), max(returned[4:])
        sent.clear()
        returned.clear()
    assert max(sizes[400]) < 6000
    assert_allclose(sizes[4000], sizes[400], atol=20)


def test_sums_are_taken_in_a_tree(monkeypatch):
    added = []
    total = _dask._sum

    def spy(parts):
        added.append(len(parts))
        return total(parts)

    monkeypatch.setattr(_dask, "_sum", spy)
    parts = _dask.partitions_of(da.arange(300, chunks=3).reshape(-1, 1))
    found = parts.total(lambda piece: int(piece.array.sum()))
    assert found == sum(range(300))
    assert max(added) == _dask.FAN_IN
    assert sum(added) - len(added) == 99


WITHOUT = """
import sys
import numpy as np
from sklearn_keops_gmm import KeOpsGaussianMixture
X = np.random.default_rng(0).normal(size=(100, 2))
model = KeOpsGaussianMixture(2).fit(X)
model.predict(X), model.score(X), KeOpsGaussianMixture(2).fit([X, X])
print({"dask", "distributed"} & set(sys.modules))
"""


@pytest.mark.slow
def test_arrays_in_memory_do_not_import_dask():
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_without_dask(monkeypatch):
    class Labelled(np.ndarray):
        """Like those of xarray: it may hold a dask array, or not."""

        graph = None

        def __dask_graph__(self):
            return self.graph

    X = blobs().view(Labelled)
    monkeypatch.setitem(sys.modules, "dask", None)
    KeOpsGaussianMixture(3).fit(X)
    X.graph = {}
    with pytest.raises(ImportError, match=r"install 'sklearn-keops-gmm\[dask\]'"):
        KeOpsGaussianMixture(3).fit(X)
