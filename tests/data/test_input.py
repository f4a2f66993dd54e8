"""Samples that would be read as something else, or could not be read again."""

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from tests.common import SOLVERS, blobs

X = blobs()
FITTED = KeOpsGaussianMixture(2, random_state=0).fit(X)
# Whatever takes samples.
USES = {
    "fit": lambda X: KeOpsGaussianMixture(2).fit(X),
    "partial_fit": lambda X: KeOpsGaussianMixture(2).fit(blobs()).partial_fit(X),
    "sparsity_path": lambda X: sparsity_path(X, 3),
    "CV": lambda X: KeOpsGaussianMixtureCV(3).fit(X),
    **{
        name: getattr(FITTED, name)
        for name in ("predict", "predict_proba", "score_samples", "score", "aic", "bic")
    },
}
every_use = pytest.mark.parametrize("use", USES)


def test_a_mask_of_nothing_is_none():
    expected = KeOpsGaussianMixture(2, random_state=0).fit(X).means_
    masked = np.ma.array(X, mask=np.zeros_like(X, bool))
    found = KeOpsGaussianMixture(2, random_state=0).fit(masked).means_
    np.testing.assert_array_equal(found, expected)


def test_masked_weights():
    weights = np.ma.array(np.ones(len(X)), mask=X[:, 0] > 6)
    for call in (FITTED.fit, FITTED.score, FITTED.bic):
        with pytest.raises(ValueError, match="sample_weight has masked values"):
            call(X, sample_weight=weights)


@every_use
def test_what_can_be_read_once(use):
    for given in ((part for part in [X, X]), iter([X]), map(np.asarray, [X])):
        kind = type(given).__name__
        with pytest.raises(TypeError, match=f"X is a {kind}.*once.*list"):
            USES[use](given)


class Rows(torch.utils.data.Dataset):
    """A data set of torch need not say where it ends, but by its length."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i % len(X)]


@every_use
def test_what_has_no_end_but_its_length(use):
    if use == "fit":
        expected = KeOpsGaussianMixture(2, random_state=0).fit(X).means_
        found = KeOpsGaussianMixture(2, random_state=0).fit(Rows()).means_
        np.testing.assert_array_equal(found, expected)
    USES[use](Rows())


@every_use
@pytest.mark.parametrize("given", [{"a": [1.0, 2.0]}, {1.0, 2.0}], ids=["dict", "set"])
def test_what_is_no_table(use, given):
    name = type(given).__name__
    with pytest.raises(TypeError, match=f"X is a {name}. Accepted are an array-like"):
        USES[use](given)


@every_use
def test_a_column(use):
    message = "Expected a 2-dimensional container|Expected 2D array"
    for kind in (float, object):
        with pytest.raises(ValueError, match=message):
            USES[use](pd.Series(X[:, 0], dtype=kind))


@every_use
def test_dates(use):
    days = pd.date_range("2020-01-01", periods=len(X))
    frame = pd.DataFrame({"size": X[:, 0], "day": days})
    with pytest.raises(ValueError, match=r"column 'day' of X is of type datetime64"):
        USES[use](frame)
    frame["day"] = days - days[0]
    with pytest.raises(ValueError, match=r"column 'day' of X is of type timedelta64"):
        USES[use](frame)
    with pytest.raises(ValueError, match=r"X is of type datetime64.*to be numbers"):
        USES[use](np.stack([days, days], axis=1))
    with pytest.raises(ValueError, match=r"X\[0\]: X is of type datetime64"):
        USES[use]([np.stack([days, days], axis=1)])


@every_use
def test_dates_of_polars(use):
    """Which numpy would take for numbers of days, or of microseconds."""
    polars = pytest.importorskip("polars")
    days = pd.date_range("2020-01-01", periods=len(X)).to_pydatetime()
    sizes, lengths = polars.Series("size", X[:, 0]), list(days - days[0])
    for kind, values in (("Date", [day.date() for day in days]), ("Duration", lengths)):
        frame = polars.DataFrame([sizes, polars.Series("day", values)])
        with pytest.raises(ValueError, match=rf"column 'day' of X is of type {kind}"):
            USES[use](frame)


@every_use
@pytest.mark.filterwarnings("ignore:Determining the")
def test_frames_that_are_not_computed(use):
    polars = pytest.importorskip("polars")
    message = r"X is a LazyFrame, which is not computed yet.*X\.collect\(\)"
    with pytest.raises(TypeError, match=message):
        USES[use](polars.DataFrame(X, schema=["a", "b"]).lazy())


WORDS = np.where(X[:, 0] > X[:, 1], "tall", "wide")
NO_NUMBERS = {
    "str": (WORDS, "'tall'|'wide'"),
    "category": (pd.Categorical(WORDS), "'tall'|'wide'"),
    "object": (pd.Series([None, *WORDS[1:]], dtype=object), "'tall'|'wide'"),
    "string": (pd.Series([pd.NA, *WORDS[1:]], dtype="string"), "'tall'|'wide'"),
    "complex128": (X[:, 0] + 1j, r"\(.*j\)"),
    "period": (pd.period_range("2020", periods=len(X), freq="D"), "Period"),
}


@every_use
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_columns_of_no_numbers(use, kind):
    column, value = NO_NUMBERS[kind]
    frame = pd.DataFrame({"size": X[:, 0], "shape": column})
    message = rf"column 'shape' of X is of type {kind}.*, and ({value}).* is no number"
    with pytest.raises(ValueError, match=message):
        USES[use](frame)
    with pytest.raises(ValueError, match=rf"X\[0\]: {message}"):
        USES[use]([frame, frame])


def test_columns_of_no_numbers_in_polars():
    polars = pytest.importorskip("polars")
    for kind, column in (("String", WORDS), ("List", [[1.0, 2.0]] * len(X))):
        frame = polars.DataFrame({"size": X[:, 0], "shape": column})
        with pytest.raises(ValueError, match=rf"column 'shape' of X is of type {kind}"):
            FITTED.fit(frame)


def test_columns_that_can_be_converted():
    expected = KeOpsGaussianMixture(2, random_state=0).fit(X).means_
    for kind in (object, "category", "str", "Float64"):
        found = KeOpsGaussianMixture(2, random_state=0).fit(
            pd.DataFrame(X).astype(kind)
        )
        np.testing.assert_allclose(found.means_, expected)


class Changing:
    """Three pieces, of which the second has a NaN from the n-th time on."""

    def __init__(self, n):
        self.pieces = np.array_split(X, 3)
        self.left = n

    def __len__(self):
        return 3

    def __getitem__(self, i):
        piece = self.pieces[i]
        if i == 1:
            self.left -= 1
            if self.left < 0:
                piece = piece.copy()
                piece[5, 1] = np.nan
        return piece


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("batch_size", [None, 100])
def test_a_piece_that_changes_during_a_fit(solver, backend, batch_size):
    for n in (3, 5, 8):
        model = KeOpsGaussianMixture(
            3,
            solver=solver,
            backend=backend,
            batch_size=batch_size,
            random_state=0,
            tol=1e-12,
            max_iter=20,
        )
        with pytest.raises(ValueError, match=r"^X\[1\]: .* have changed since"):
            model.fit(Changing(n))
        assert not hasattr(model, "means_")


def test_a_partition_that_changes_during_a_fit():
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    pieces = Changing(4)
    blocks = [
        array.from_delayed(
            dask.delayed(pieces.__getitem__, pure=False)(i), (len(part), 2), X.dtype
        )
        for i, part in enumerate(pieces.pieces)
    ]
    model = KeOpsGaussianMixture(3, random_state=0, tol=1e-12, max_iter=20)
    changed = r"^X, partition 1: .* have changed since"
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(ValueError, match=changed),
    ):
        model.fit(array.concatenate(blocks))


def test_out_of_memory():
    """More than machines have, of which the fit is told at once."""
    wide = np.random.default_rng(0).normal(size=(300, 20_000)).astype(np.float32)
    model = KeOpsGaussianMixture(300, init_params="random_from_data", random_state=0)
    with pytest.raises(MemoryError, match=r"bytes.*Fewer components"):
        model.fit(wide)


def test_other_errors_of_torch_stay():
    def prior(weights, means, factors):
        return (means @ torch.ones(3, dtype=means.dtype)).sum()

    model = KeOpsGaussianMixture(2, prior=prior, solver="adam", random_state=0)
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.fit(X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("init_params", ["random", "kmeans", "random_from_data"])
@pytest.mark.parametrize("acceleration", [None, "squarem"])
@pytest.mark.fast(2)
def test_constant_samples(dtype, init_params, acceleration):
    """One place: one component, or as many as there were, and no other end."""
    constant = np.ones((30, 2), np.float32 if dtype == torch.float32 else np.float64)
    for sparsity in (0.1, 5.0, 500.0):
        model = KeOpsGaussianMixture(
            4,
            sparsity=sparsity,
            acceleration=acceleration,
            init_params=init_params,
            backend="torch",
            random_state=0,
        )
        assert np.isfinite(model.fit(constant).score(constant))
        np.testing.assert_allclose(model.means_, 1, rtol=1e-6)
