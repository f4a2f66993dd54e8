"""The contract of sources: samples give the answers of one array, however held.

A subclass of `SourceContract` has a fixture `kind`, and holds that kind to it.
"""

import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from sklearn_keops_gmm._data import as_source
from tests import missing
from tests.common import blobs, every_backend, sorted_far_blobs, start
from tests.reference import COVARIANCE_TYPES

CUTS = [0, 130, 130, 131, 400]
ANSWERS = ("score_samples", "predict", "predict_proba")
SCORES = ("score", "aic", "bic")


class Kind(NamedTuple):
    """How samples are held.

    Attributes
    ----------
    hold : callable
        Of an array (n, D); with 400 rows they are divided, if this kind can be.
    weigh : callable
        The same for an array of weights, (n,).
    part : str
        How messages name the part that row 150 of 400 is in, as a regular expression.
    parts : str or None
        What messages call the parts.
    """

    hold: Callable[[np.ndarray], Any]
    weigh: Callable[[np.ndarray], Any]
    part: str = ""
    parts: str | None = None

    def weights(self, given):
        """Return weights, or None if there are none."""
        return None if given is None else self.weigh(given)


def divided(array, cuts=CUTS):
    return np.split(array, [cut for cut in cuts if cut <= len(array)])


def mapped(X):
    """Return a map of a file that is gone when the map is."""
    with tempfile.TemporaryFile() as file:
        X.tofile(file)
        file.flush()
        return np.memmap(file, dtype=X.dtype, mode="r", shape=X.shape)


def in_blocks(array):
    """Return a dask array, one block of which has no rows."""
    import dask.array as da

    rows = (130, 0, 1, 269) if len(array) == 400 else (len(array),)
    return da.from_array(array, chunks=(rows, *array.shape[1:]))


def in_frames(array):
    """Return a dask data frame, or series."""
    from dask.dataframe import from_pandas

    table = pd.DataFrame(array) if array.ndim == 2 else pd.Series(array)
    return from_pandas(table.rename(columns=str) if array.ndim == 2 else table, 3)


KINDS = {
    "array": Kind(np.asarray, np.asarray),
    "list": Kind(divided, divided, r"X\[4\]", "pieces"),
    "map": Kind(mapped, np.asarray, r"X\[120:160\]", "pieces"),
    "dask array": Kind(in_blocks, in_blocks, "X, partition 3", "partitions"),
    "dask frame": Kind(in_frames, in_frames, "X, partition 1", "partitions"),
}


def assert_same_fit(one, other, rtol=1e-8):
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol, 1e-10)
    assert one.n_iter_ == other.n_iter_
    assert_allclose(one.costs_, other.costs_, rtol)
    assert one.cost_ == pytest.approx(other.cost_, rel=rtol)


def assert_same_scores(model, X, whole, array, weights=(None, None), rtol=1e-9):
    """`weights` are those of X and of the array."""
    for name in SCORES:
        found = getattr(model, name)(X, sample_weight=weights[0])
        assert isinstance(found, float)
        expected = getattr(whole, name)(array, sample_weight=weights[1])
        assert found == pytest.approx(expected, rel=rtol)


def spoilt(value):
    X = blobs().copy()
    X[150, 1] = value
    return X


def twins(**parameters):
    return KeOpsGaussianMixture(**parameters), KeOpsGaussianMixture(**parameters)


class SourceContract:
    """What holds for samples of every kind."""

    @every_backend
    def test_fits_and_answers(self, kind, backend):
        X = blobs()
        held = kind.hold(X)
        given = start(X, "full", 3) | {"tol": 1e-6, "max_iter": 300}
        whole, model = twins(**given, backend=backend)
        assert_same_fit(model.fit(held), whole.fit(X))
        assert model.n_features_in_ == 2
        assert type(model.means_) is np.ndarray
        for name in ANSWERS:
            found, expected = getattr(model, name)(held), getattr(whole, name)(X)
            assert found.dtype == expected.dtype
            assert_allclose(np.asarray(found), expected, rtol=1e-8, atol=1e-8)
        assert_same_scores(model, held, whole, X)
        labels = KeOpsGaussianMixture(**model.get_params()).fit_predict(held)
        assert_array_equal(np.asarray(labels), whole.predict(X))

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("structure", COVARIANCE_TYPES)
    @pytest.mark.fast(12)
    def test_sorted_parts_of_all_structures(self, kind, structure, weighted, rng):
        """Parts that hold one blob each, far from the origin."""
        X, weights = sorted_far_blobs(weighted, rng)
        held, held_weights = kind.hold(X), kind.weights(weights)
        whole, model = twins(**start(X, structure, 3), tol=1e-6, max_iter=300)
        whole.fit(X, sample_weight=weights)
        model.fit(held, sample_weight=held_weights)
        assert_same_fit(model, whole, 1e-7)
        assert_same_scores(model, held, whole, X, (held_weights, weights), 1e-8)

    @pytest.mark.parametrize(
        "parameters",
        [
            {"solver": "lbfgs"},
            {"solver": "adam", "max_iter": 20},
            {"solver": "adam", "max_iter": 3, "batch_size": 70, "random_state": 0},
            {"sparsity": 4.0, "n_components": 6},
            {"acceleration": "squarem"},
            {"n_init": 3, "means_init": None, "init_params": "random"},
        ],
        ids=str,
    )
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    @pytest.mark.fast(4)
    def test_solvers(self, kind, parameters):
        X = blobs()
        given = start(X, "full", parameters.get("n_components", 3))
        whole, model = twins(**(given | {"random_state": 0} | parameters))
        assert_same_fit(model.fit(kind.hold(X)), whole.fit(X), 1e-5)

    @pytest.mark.parametrize(
        "init", ["kmeans", "k-means++", "random", "random_from_data"]
    )
    @pytest.mark.fast(8)
    def test_starts_of_few_samples_are_those_of_the_array(self, kind, init):
        whole, model = twins(
            n_components=3, init_params=init, random_state=0, max_iter=300
        )
        assert_same_fit(model.fit(kind.hold(blobs())), whole.fit(blobs()), 1e-6)

    def test_starts_that_see_some_samples(self, kind):
        model = KeOpsGaussianMixture(3, init_size=50, random_state=0)
        one = model.fit(kind.hold(blobs())).means_
        assert_array_equal(model.fit(kind.hold(blobs())).means_, one)
        other = model.set_params(random_state=1).fit(kind.hold(blobs())).means_
        assert not np.array_equal(other, one)

    def test_starts_cannot_see_all_samples_in_parts(self, kind):
        model = KeOpsGaussianMixture(3, init_size=None, random_state=0)
        if kind.parts is None:
            assert_same_fit(model.fit(kind.hold(blobs())), model.fit(blobs()))
            return
        part = kind.parts.removesuffix("s")
        with pytest.raises(ValueError, match=f"init_size=None.* {part} by {part}"):
            model.fit(kind.hold(blobs()))

    def test_warm_starts_continue(self, kind):
        X = blobs()
        whole, model = twins(**start(X, "full", 3), max_iter=2, warm_start=True)
        for _ in range(2):
            assert_same_fit(model.fit(kind.hold(X)), whole.fit(X))

    def test_a_batch_makes_one_step(self, kind):
        whole, model = twins(n_components=3, random_state=0)
        for batch in np.split(blobs(800), 2):
            whole.partial_fit(batch)
            assert_same_fit(model.partial_fit(kind.hold(batch)), whole)

    def test_means_given_some_features(self, kind):
        X = blobs()
        whole, model = twins(n_components=3, random_state=0)
        expected = whole.fit(X).conditional_mean([0], X[:, :1])
        model.fit(kind.hold(X))
        found = np.asarray(model.conditional_mean([0], kind.hold(X[:, :1])))
        assert found.shape == (400, 1)
        assert_allclose(found, expected, rtol=1e-8)

    def test_single_precision_stays(self, kind):
        X = blobs().astype(np.float32)
        whole, model = twins(**start(X, "full", 3), tol=1e-6, max_iter=300)
        assert_same_fit(model.fit(kind.hold(X)), whole.fit(X), 1e-3)
        assert model.means_.dtype == np.float32
        scores = model.score_samples(kind.hold(X))
        assert scores.dtype == np.float32
        assert_allclose(np.asarray(scores), whole.score_samples(X), rtol=1e-4)

    def test_integers_are_numbers(self, kind):
        X = (10 * blobs()).astype(np.int16)
        whole, model = twins(**start(X.astype(float), "full", 3), max_iter=300)
        assert_same_fit(model.fit(kind.hold(X)), whole.fit(X))

    def test_rows_without_weight_have_no_say(self, kind):
        """Not even those whose density is 0."""
        X, weights = blobs().copy(), np.arange(400.0) % 3
        X[weights == 0] = 1e200
        held, held_weights = kind.hold(X), kind.weigh(weights)
        whole, model = twins(n_components=3, random_state=0)
        whole.fit(X[weights > 0], sample_weight=weights[weights > 0])
        assert_same_fit(model.fit(held, sample_weight=held_weights), whole, 1e-6)
        found = model.score(held, sample_weight=held_weights)
        expected = whole.score(X[weights > 0], sample_weight=weights[weights > 0])
        assert found == pytest.approx(expected, rel=1e-9)

    @pytest.mark.fast(2)
    def test_missing_values(self, kind, rng):
        """NaN is what was not observed; of some rows nothing was."""
        X = missing.with_gaps(rng, blobs(), 0.3, empty=True)
        X[X[:, 1] > 6, 1] = np.nan  # so that a part may have one feature only
        held = kind.hold(X)
        whole, model = twins(**start(blobs(), "full", 3), max_iter=300)
        assert_same_fit(model.fit(held), whole.fit(X))
        for name in (*ANSWERS, "impute"):
            found, expected = getattr(model, name)(held), getattr(whole, name)(X)
            assert found.shape == expected.shape or kind.parts == "partitions"
            assert_allclose(np.asarray(found), expected, rtol=1e-8, atol=1e-8)
        assert_same_scores(model, held, whole, X)
        draws = np.asarray(model.impute(held, n_draws=2, random_state=0))
        assert draws.shape == (2, 400, 2)
        assert_array_equal(draws[1][~np.isnan(X)], X[~np.isnan(X)])
        assert (draws[0] != draws[1])[np.isnan(X)].all()
        assert_same_fit(model.partial_fit(held), whole.partial_fit(X))

    def test_missing_values_and_starts(self, kind, rng):
        X = missing.with_gaps(rng, blobs(), 0.2, empty=True)
        whole, model = twins(n_components=3, random_state=0, max_iter=300)
        assert_same_fit(model.fit(kind.hold(X)), whole.fit(X), 1e-6)

    def test_features_that_are_never_observed(self, kind):
        X = blobs().copy()
        X[:, 1] = np.nan
        with pytest.raises(ValueError, match=r"no value is observed: ('1'|1)\. Leave"):
            KeOpsGaussianMixture(3).fit(kind.hold(X))

    def test_length(self, kind):
        source = as_source(kind.hold(blobs()))
        data = source.read(KeOpsGaussianMixture(3, random_state=0), 3)
        assert source.length(data) == data.n_samples == 400
        assert source.parts == kind.parts

    @pytest.mark.slow
    def test_paths(self, kind):
        held = kind.hold(blobs())
        whole = sparsity_path(blobs(), 6, random_state=0)
        path = sparsity_path(held, 6, random_state=0)
        assert_array_equal(path.n_components, whole.n_components)
        assert_allclose(path.scores, whole.scores, rtol=1e-8)
        for criterion in ("lic", "bic", "icl"):
            model = KeOpsGaussianMixtureCV(6, criterion=criterion, random_state=0)
            found = KeOpsGaussianMixtureCV(**model.get_params()).fit(held)
            assert_allclose(found.criterion_, model.fit(blobs()).criterion_, rtol=1e-8)
            assert found.n_components_ == 3
            assert_array_equal(np.asarray(found.predict(held)), model.predict(blobs()))

    def test_cross_validation_holds_out_rows_of_one_array(self, kind):
        model = KeOpsGaussianMixtureCV(4, criterion="cv", random_state=0)
        if kind.parts is None:
            assert model.fit(kind.hold(blobs())).n_components_ == 3
            return
        message = rf"criterion='cv' .*, in {kind.parts}\. Use criterion='lic'"
        with pytest.raises(ValueError, match=message):
            model.fit(kind.hold(blobs()))

    # -- what is refused --------------------------------------------------------------

    def test_infinity(self, kind):
        held = kind.hold(spoilt(np.inf))
        message = f"^{kind.part}(: )?Input X contains infinity"
        model = KeOpsGaussianMixture(3, random_state=0)
        with pytest.raises(ValueError, match=message):
            model.fit(held)
        model.fit(kind.hold(blobs()))
        for ask in (model.score, model.partial_fit):
            with pytest.raises(ValueError, match=message):
                ask(held)
        for name in ANSWERS:
            with pytest.raises(ValueError, match=message):
                np.asarray(getattr(model, name)(held))

    def test_other_features(self, kind):
        model = KeOpsGaussianMixture(3, random_state=0).fit(kind.hold(blobs()))
        other = kind.hold(np.ones((400, 5)))
        for ask in (model.predict, model.score, model.partial_fit):
            with pytest.raises(ValueError, match=r"5 features, but|feature names"):
                ask(other)

    def test_too_few_samples(self, kind):
        with pytest.raises(ValueError, match=r"n_components = 3, n_samples = 2"):
            KeOpsGaussianMixture(3).fit(kind.hold(blobs()[:2]))

    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            (-np.ones(400), "Negative values"),
            (np.full(400, np.nan), "Input sample_weight contains NaN"),
            (np.ones(399), "sample_weight"),
            (np.zeros(400), r"none of positive|weights? (are|is|cannot|must)|les = 0"),
        ],
    )
    @pytest.mark.fast(8)
    def test_bad_weights(self, kind, weights, text):
        held, model = kind.hold(blobs()), KeOpsGaussianMixture(3, random_state=0)
        with pytest.raises(ValueError, match=text):
            model.fit(held, sample_weight=kind.weigh(weights))
        model.fit(held)
        with pytest.raises(ValueError, match=text):
            model.score(held, sample_weight=kind.weigh(weights))

    def test_unfitted_mixtures_say_so_at_once(self, kind):
        for name in (*ANSWERS, *SCORES):
            with pytest.raises(NotFittedError):
                getattr(KeOpsGaussianMixture(), name)(kind.hold(blobs()))
