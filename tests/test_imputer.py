"""The transformer that fills in what is missing."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_keops_gmm import (
    GaussianMixtureImputer,
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
)
from tests import missing
from tests.common import blobs, iris

ESTIMATORS = [
    GaussianMixtureImputer(KeOpsGaussianMixture(2)),
    GaussianMixtureImputer(KeOpsGaussianMixture(2), sample_posterior=True),
    GaussianMixtureImputer(random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore:Component")
@pytest.mark.filterwarnings("ignore:The number of components found")
@pytest.mark.fast(55)
def test_checks(estimator, check):
    check(estimator)


@pytest.fixture
def gaps(rng):
    return missing.with_gaps(rng, blobs(), 0.3, empty=True)


def test_values_are_those_of_the_mixture(gaps):
    mixture = KeOpsGaussianMixture(3, random_state=0)
    imputer = GaussianMixtureImputer(mixture)
    found = imputer.fit_transform(gaps)
    assert_array_equal(found, clone(mixture).fit(gaps).impute(gaps))
    assert not hasattr(mixture, "means_")
    assert_array_equal(imputer.transform(blobs()), blobs())
    weights = np.arange(400.0)
    imputer.fit(gaps, sample_weight=weights)
    expected = clone(mixture).fit(gaps, sample_weight=weights).means_
    assert_array_equal(imputer.mixture_.means_, expected)


def test_the_number_of_components_is_found(gaps):
    imputer = GaussianMixtureImputer(random_state=0).fit(gaps)
    assert isinstance(imputer.mixture_, KeOpsGaussianMixtureCV)
    assert imputer.mixture_.n_components_ == 3


def test_draws(gaps):
    imputer = GaussianMixtureImputer(
        KeOpsGaussianMixture(3, random_state=0), sample_posterior=True, random_state=0
    )
    one = imputer.fit_transform(gaps)
    assert_array_equal(imputer.transform(gaps), one)
    other = imputer.set_params(random_state=1).transform(gaps)
    known = ~np.isnan(gaps)
    assert_array_equal(one[known], gaps[known])
    assert (one != other)[~known].all()


def test_more_draws_than_are_made_at_once(gaps):
    model = KeOpsGaussianMixture(random_state=0).fit(gaps)
    draws = model.impute([[1.0, np.nan]] * 90, 200, random_state=0)
    assert draws.shape == (200, 90, 2)
    assert len(np.unique(draws[:, :, 1])) == 200 * 90
    given = model.condition([0], [1.0])
    error = (given.covariances_[0, 0, 0] / (200 * 90)) ** 0.5
    assert abs(draws[:, :, 1].mean() - given.means_[0, 0]) < 4 * error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype(dtype, gaps):
    imputer = GaussianMixtureImputer(KeOpsGaussianMixture(3, random_state=0))
    assert imputer.fit_transform(gaps.astype(dtype)).dtype == dtype


def test_frames(gaps):
    frame = pd.DataFrame(gaps, columns=["a", "b"], index=np.arange(400) + 7)
    imputer = GaussianMixtureImputer(KeOpsGaussianMixture(3, random_state=0))
    found = imputer.set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == list(imputer.get_feature_names_out()) == ["a", "b"]
    assert_array_equal(found.index, frame.index)
    assert not found.isna().any(axis=None)
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame.rename(columns={"a": "c"}))
    imputer.fit(gaps)
    assert not hasattr(imputer, "feature_names_in_")


def test_pipeline_and_search(rng):
    labels = np.repeat([0, 1, 2], 50)
    X = missing.with_gaps(rng, iris(), 0.2, empty=True)
    imputer = GaussianMixtureImputer(KeOpsGaussianMixture(3, random_state=0))
    pipeline = make_pipeline(StandardScaler(), imputer, GaussianNB())
    grid = {"gaussianmixtureimputer__estimator__n_components": [1, 3]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, labels)
    assert search.best_score_ > 0.85


def test_pieces(gaps):
    imputer = GaussianMixtureImputer(KeOpsGaussianMixture(3, random_state=0)).fit(gaps)
    found = imputer.transform(np.array_split(gaps, 3))
    assert_allclose(found, imputer.transform(gaps), rtol=1e-10)


@pytest.mark.slow
def test_frames_of_dask(gaps, frames, one_thread):
    frame = frames.from_pandas(pd.DataFrame(gaps, columns=["a", "b"]), npartitions=3)
    mixture = KeOpsGaussianMixture(3, init_params="random_from_data", random_state=0)
    for posterior in (False, True):
        imputer = GaussianMixtureImputer(mixture, sample_posterior=posterior)
        found = np.asarray(imputer.fit(frame).transform(frame))
        assert_array_equal(found[~np.isnan(gaps)], gaps[~np.isnan(gaps)])
        assert not np.isnan(found).any()


def test_what_is_refused(gaps):
    imputer = GaussianMixtureImputer()
    with pytest.raises(NotFittedError, match="GaussianMixtureImputer"):
        imputer.transform(gaps)
    message = r"'estimator' parameter of GaussianMixtureI.*KeOpsGaussianMixtureCV' or"
    with pytest.raises(ValueError, match=message):
        GaussianMixtureImputer(GaussianNB()).fit(gaps)
    for few in (gaps[:0], gaps[:1]):
        message = rf"{len(few)} sample.*2 is required by GaussianMixtureImputer\."
        with pytest.raises(ValueError, match=message):
            imputer.fit(few)
    for table, message in ((gaps[None], "dim 3"), (gaps[:, :0], "0 feature")):
        with pytest.raises(ValueError, match=f"{message}.* by GaussianMixtureImputer"):
            imputer.fit(table)
    imputer.fit(gaps)
    before = imputer.mixture_
    with pytest.raises(ValueError, match="X has 1 features, but GaussianMixtureImput"):
        imputer.transform(gaps[:, :1])
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.full((9, 2), np.inf))
    assert imputer.mixture_ is before
