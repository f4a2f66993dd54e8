"""Samples read chunk by chunk: what is special about them, beside the contract."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._data import _chunks
from sklearn_keops_gmm._data._chunk_source import Reservoir
from tests.common import blobs, start
from tests.data.sources import assert_same_fit, divided


class Loader:
    """Arrays that are made when they are asked for."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index):
        return self.arrays[index].copy()


def as_map(X, path, mode="r"):
    X = np.ascontiguousarray(X)
    X.tofile(path)
    return np.memmap(path, dtype=X.dtype, mode=mode, shape=X.shape)


@pytest.fixture
def small_pieces(monkeypatch):
    """Read maps of files forty rows of two features at a time."""
    monkeypatch.setattr(_chunks, "_BYTES", 640)


@pytest.mark.parametrize("container", [tuple, Loader])
def test_whatever_has_a_length_and_items_is_a_sequence(container):
    X = blobs()
    given = start(X, "full", 3) | {"tol": 1e-6, "max_iter": 300}
    whole, parts = KeOpsGaussianMixture(**given).fit(X), container(divided(X))
    model = KeOpsGaussianMixture(**given).fit(parts)
    assert_same_fit(model, whole)
    assert_array_equal(model.predict(parts), whole.predict(X))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_maps_of_files(dtype, mode, tmp_path):
    X = (10 * blobs()).astype(dtype)
    given = start(X.astype(float), "full", 3) | {"tol": 1e-6, "max_iter": 300}
    mapped = as_map(X, tmp_path / "X", mode)
    if mode != "r":
        mapped[7] = X[7] = 3
    whole = KeOpsGaussianMixture(**given).fit(X)
    model = KeOpsGaussianMixture(**given).fit(mapped)
    single = dtype == "float32"
    assert_same_fit(model, whole, 1e-3 if single else 1e-8)
    assert model.means_.dtype == whole.means_.dtype
    rtol = 1e-5 if single else 1e-9
    assert_allclose(model.score_samples(mapped), model.score_samples(X), rtol=rtol)
    weights = np.arange(400.0)
    score = model.score(X, sample_weight=weights)
    assert model.score(mapped, sample_weight=weights) == pytest.approx(score, rel=rtol)
    # Releasing memory has not lost what was written, in any mode.
    assert_array_equal(mapped, X)
    files = [mapped[:150], mapped[150:]]
    assert_same_fit(
        KeOpsGaussianMixture(**given).fit(files), model, 1e-3 if single else 1e-8
    )


def test_starts_see_a_random_part_whatever_the_division():
    X = blobs(3000)
    model = KeOpsGaussianMixture(3, init_size=100, random_state=0)
    one = model.fit([X]).means_
    other = model.fit(np.split(X, 30)).means_
    assert_allclose(one, other, rtol=1e-9)
    assert not np.array_equal(model.set_params(random_state=1).fit([X]).means_, one)


@pytest.mark.slow
def test_the_reservoir_is_uniform():
    counts = np.zeros(20)
    rows = torch.arange(20.0)[:, None]
    for seed in range(1000):
        reservoir = Reservoir(5, np.random.RandomState(seed))
        for part in rows.split([3, 1, 9, 7]):
            reservoir.add(part, 2 * part[:, 0])
        points, weights = reservoir.rows()
        assert_array_equal(weights, 2 * points[:, 0])
        counts[points[:, 0].long().numpy()] += 1
    assert counts.sum() == 5000
    # The standard deviation of each count is 14.
    assert_allclose(counts, 250, atol=60)


def test_the_reservoir_holds_rows_of_its_own():
    """Whoever gave them may fill the same array again, or go on in double precision."""
    part = torch.zeros(4, 1, dtype=torch.float32)
    reservoir = Reservoir(6, np.random.RandomState(0))
    for value in range(3):
        reservoir.add(part.fill_(value), None)
    assert set(reservoir.rows()[0][:, 0].tolist()) == {0.0, 1.0, 2.0}
    reservoir.add(torch.full((100, 1), 1 / 3, dtype=torch.float64), None)
    points, _ = reservoir.rows()
    assert points.dtype == torch.float64
    assert (points == 1 / 3).any()


def test_pieces_that_need_no_check_are_those_of_the_first_kind():
    """What is shorter than a check is for plain arrays alone: errors stay."""
    X = blobs(60)
    pieces = np.split(X, 3)
    model = KeOpsGaussianMixture(3, random_state=0)
    for name, bad in {
        "has 3 features": np.zeros((2, 3)),
        "infinity": np.full((2, 2), np.inf),
    }.items():
        with pytest.raises(ValueError, match=rf"^X\[3\]: .*{name}"):
            model.fit([*pieces, bad])
    weights = [np.ones(20), np.ones(20), -np.ones(20)]
    with pytest.raises(ValueError, match=r"^X\[2\]: .*[Nn]egative"):
        model.fit(pieces, sample_weight=weights)
    integers = [*pieces[:2], np.round(pieces[2]).astype(int)]
    whole = [piece.astype(float) for piece in integers]
    assert_same_fit(
        model.fit(integers), KeOpsGaussianMixture(3, random_state=0).fit(whole)
    )


def test_tables_keep_the_names_of_features():
    X = pd.DataFrame(blobs(), columns=["a", "b"])
    model = KeOpsGaussianMixture(3, random_state=0).fit([X[:200], X[200:]])
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match=r"^X\[1\]: The feature names should match"):
        model.fit([X[:200], X[200:].rename(columns={"b": "c"})])


def test_float32_pieces_stay_float32():
    X = blobs().astype(np.float32)
    model = KeOpsGaussianMixture(3, random_state=0)
    assert model.fit([X[:200], X[200:]]).means_.dtype == np.float32
    assert model.fit([X[:200], X[200:].astype(float)]).means_.dtype == np.float64


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([blobs(), blobs()[:, :1]], r"^X\[1\]: X has 1 features, but .* 2 features"),
        ([blobs(), blobs()[0]], r"^X\[1\]: Expected 2D array, got 1D array"),
        ([blobs()[:0], blobs()[:0]], "has no row"),
    ],
)
def test_bad_pieces(parts, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(parts)
    fitted = KeOpsGaussianMixture(3, random_state=0).fit(blobs())
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(parts)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(400), "a sequence of 2 arrays: sample_weight must be .* got 400"),
        ([np.ones(200), np.ones(199)], r"^X\[1\]: .*sample_weight.shape"),
        ([np.ones(200), -np.ones(200)], r"^X\[1\]: Negative values"),
        ([np.zeros(200)] * 2, "none of positive weight"),
    ],
)
def test_bad_weights(weights, message):
    X = np.split(blobs(), 2)
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(X, sample_weight=weights)


@pytest.mark.usefixtures("small_pieces")
def test_bad_maps(tmp_path):
    mapped = as_map(blobs(), tmp_path / "Y")
    with pytest.raises(ValueError, match=r"^X: sample_weight.shape == \(3,\)"):
        KeOpsGaussianMixture(3).fit(mapped, sample_weight=np.ones(3))


LITTLE_MEMORY = """
import resource, sys
import numpy as np
from sklearn_keops_gmm import KeOpsGaussianMixture

X = np.memmap(sys.argv[1], dtype=np.float64, mode="r", shape=(3_000_000, 8))
given = dict(
    weights_init=np.full(2, 0.5), means_init=X[:2], precisions_init=np.ones((2, 8))
)
model = KeOpsGaussianMixture(
    2, covariance_type="diag", max_iter=1, tol=1e9, device="cpu", **given
)
model.fit(np.array(X[:1000]))  # what first uses load is no part of the limit
used = 1024 * next(
    int(line.split()[1]) for line in open("/proc/self/status")
    if line.startswith("VmData")
)
resource.setrlimit(resource.RLIMIT_DATA, (used + 120_000_000,) * 2)
try:
    np.array(X)
except MemoryError:
    print("too large")
model.fit(X)
print(model.predict(X[:300_000]).shape, f"{model.score(X):.2f}")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_map_larger_than_memory(tmp_path):
    """192 MB of samples, and 120 MB to fit and score them in."""
    path = tmp_path / "X"
    block = np.random.default_rng(0).normal(size=(300_000, 8))
    with path.open("wb") as file:
        for _ in range(10):
            block.tofile(file)
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "too large"
    assert lines[1].startswith("(300000,) -11.")
