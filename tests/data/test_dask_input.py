"""Data frames and weights of dask, and the errors that say what cannot be either."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs
from tests.data.sources import assert_same_fit, assert_same_scores
from tests.data.test_dask import CUTS, table

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

pytestmark = pytest.mark.usefixtures("one_thread")


# -- data frames ----------------------------------------------------------------------


def test_frames(frames):
    X = blobs()
    weights = np.arange(400.0) % 3
    model = KeOpsGaussianMixture(3, random_state=0)
    whole = model.fit(table(), sample_weight=weights)
    parts = frames.from_pandas(table(w=weights), npartitions=3)
    found = KeOpsGaussianMixture(**model.get_params())
    found.fit(parts[["a", "b"]], sample_weight=parts["w"])
    assert_same_fit(found, whole)
    assert list(found.feature_names_in_) == ["a", "b"]
    for name in ("score_samples", "predict", "predict_proba"):
        answer = getattr(found, name)(parts[["a", "b"]])
        expected = getattr(whole, name)(table())
        assert isinstance(answer, da.Array)
        assert answer.dtype == expected.dtype
        assert_allclose(answer.compute(), expected, rtol=1e-8, atol=1e-12)
    assert_same_scores(found, parts[["a", "b"]], whole, table())
    assert found.score(parts[["a", "b"]], sample_weight=parts["w"]) == pytest.approx(
        whole.score(table(), sample_weight=weights)
    )
    # Arrays made of frames do not know their lengths.
    unnamed = KeOpsGaussianMixture(**model.get_params())
    unnamed.fit(parts[["a", "b"]].values, sample_weight=parts["w"].values)
    assert_same_fit(unnamed, whole)
    assert_allclose(unnamed.score_samples(X), whole.score_samples(table()))


def test_frames_without_rows_in_some_partitions(frames):
    parts = frames.from_pandas(table(), npartitions=4, sort=False)
    few = parts[parts["a"] > 3]
    kept = table()[table()["a"] > 3]
    sorted_parts = frames.concat([few[few["a"] > 1e9], few])
    model = KeOpsGaussianMixture(2, random_state=0)
    whole = model.fit(kept)
    found = KeOpsGaussianMixture(**model.get_params()).fit(sorted_parts)
    assert_same_fit(found, whole)
    assert_array_equal(found.predict(sorted_parts).compute(), whole.predict(kept))


def test_names_of_features_are_checked(frames):
    model = KeOpsGaussianMixture(3, random_state=0).fit(table())
    other = frames.from_pandas(table().rename(columns={"b": "c"}), npartitions=2)
    for ask in (model.predict, model.score, model.partial_fit):
        with pytest.raises(ValueError, match="The feature names should match"):
            ask(other)


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "list", "same", "other"])
def test_weights_of_arrays(kind):
    X, weights = blobs(), np.arange(400.0) % 3
    weights[131:] = 0
    whole = KeOpsGaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    parts = da.from_array(X, chunks=CUTS)
    given = {
        "array": weights,
        "list": weights.tolist(),
        "same": da.from_array(weights, chunks=CUTS[:1]),
        "other": da.from_array(weights, chunks=77),
    }[kind]
    model = KeOpsGaussianMixture(3, random_state=0).fit(parts, sample_weight=given)
    assert_same_fit(model, whole)
    assert_same_scores(model, parts, whole, X, (given, weights))


def ones(n, chunks):
    return da.ones(n, chunks=chunks)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            np.ones(399),
            r"^sample_weight is .*\(399,\), .* X is a dask Array .*\(400, 2",
        ),
        (ones(399, 100), r"^sample_weight is a dask Array .*\(399,\) in 4 partitions"),
        (ones((400, 1), 200), "^sample_weight is a dask Array of shape .400, 1"),
        ("ones", "^sample_weight is of type str"),
        (-ones(400, 200), r"^X, partition 0: Negative values"),
        (ones(400, 200) * np.nan, r"^X, partition 0: Input sample_weight contains NaN"),
        (ones(400, 200) * 0, "none of positive weight"),
    ],
)
def test_bad_weights(weights, message):
    X = da.from_array(blobs(), chunks=(200, 2))
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(X, sample_weight=weights)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match=message):
        model.score(X, sample_weight=weights)


def test_bad_weights_of_unknown_lengths(frames):
    X = frames.from_pandas(table(), npartitions=2)
    for weights in (np.ones(400), ones(400, 100)):
        with pytest.raises(ValueError, match="dask DataFrame in 2 partitions"):
            KeOpsGaussianMixture(3).fit(X, sample_weight=weights)
    with pytest.raises(ValueError, match=r"^X, partition 1: .*sample_weight.shape"):
        KeOpsGaussianMixture(3).fit(
            X, sample_weight=ones(400, ((200, 100, 100),))[:300]
        )


# -- bad input ------------------------------------------------------------------------


def of_blocks(blocks, width=2):
    """A dask array that says of its blocks what may not be true."""
    parts = [
        da.from_delayed(dask.delayed(block), (len(block), width), float)
        for block in blocks
    ]
    return da.concatenate(parts)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            of_blocks([blobs(), blobs()[:, :1]]),
            r"^X, partition 1: X has 1 features, but .* 2 features",
        ),
        (
            of_blocks([blobs(), blobs()[:, 0]]),
            r"^X, partition 1: Expected 2D array, got 1D array",
        ),
        (of_blocks([blobs()], np.nan), r"unknown number of features.*\(nan,\)"),
        (da.ones(400), "^Expected 2D array, got 1D array"),
        (da.ones((4, 4, 2)), "^Expected 2D array, got 3D array"),
        (dask.delayed(blobs()), r"^X is a dask Delayed.*, arrays and data frames"),
        (da.ones((0, 2)), "^X has no row in any of its parts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_collections(X, message):
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(X)
    fitted = KeOpsGaussianMixture(3, random_state=0).fit(blobs())
    with pytest.raises(ValueError, match=message):
        fitted.score(X)
    if "array" not in message and "row" not in message:
        with pytest.raises(ValueError, match=message):
            fitted.predict(X).compute()


def test_other_numbers_of_features_are_found_at_once():
    model = KeOpsGaussianMixture(3, random_state=0).fit(blobs())
    with pytest.raises(ValueError, match=r"^X has 5 features, but .* 2 features"):
        model.predict(da.ones((10, 5)))


def test_bad_frames(frames):
    spoiled = table()
    spoiled.loc[250, "a"] = np.inf
    X = frames.from_pandas(spoiled, npartitions=2)
    message = "^X, partition 1: Input X contains infinity"
    with pytest.raises(ValueError, match=message):
        KeOpsGaussianMixture(3).fit(X)
    model = KeOpsGaussianMixture(3, random_state=0).fit(table())
    with pytest.raises(ValueError, match=message):
        model.predict(X).compute()
    with pytest.raises(ValueError, match=r"^Expected 2D array, got 1D array.* Series"):
        KeOpsGaussianMixture(3).fit(X["a"])
