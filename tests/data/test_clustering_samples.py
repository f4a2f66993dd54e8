"""Clusters of samples in all the forms in which users give them."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import MixtureClustering
from tests.common import blobs, iris, new_scikit_learn
from tests.data.test_chunks import Loader
from tests.test_clustering import LINKAGES, METHODS, moons

# With more, moves are tried on parts of what is in memory, and on all of what is not.
FEW = 16


@pytest.mark.slow
def test_float32():
    X, y = moons()
    clustering = MixtureClustering(random_state=0).fit(X.astype(np.float32))
    assert clustering.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert adjusted_rand_score(y, clustering.labels_) > 0.98


def test_frames_and_pipelines():
    X, y = moons()
    table = pd.DataFrame(X * [1e3, 1e-3], columns=["a", "b"])
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        MixtureClustering(2, random_state=0),
    )
    assert adjusted_rand_score(y, pipeline.fit_predict(table)) > 0.98
    assert list(pipeline[-1].feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(table[["b", "a"]])


@new_scikit_learn
@pytest.mark.slow
def test_tensors():
    X = torch.tensor(moons()[0])
    expected = MixtureClustering(contamination=0.1, random_state=0).fit(X.numpy())
    with sklearn.config_context(array_api_dispatch=True):
        clustering = clone(expected).fit(X)
        for name in ("labels_", "component_labels_", "children_", "distances_"):
            found = getattr(clustering, name)
            assert isinstance(found, torch.Tensor)
            assert_allclose(found, getattr(expected, name), rtol=1e-6)
        for method in METHODS:
            assert isinstance(getattr(clustering, method)(X), torch.Tensor)
        assert isinstance(clustering.cut_tree(3), torch.Tensor)
        assert isinstance(clustering.sample(3)[1], torch.Tensor)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.slow
def test_counts_are_equal_rows(linkage):
    X, counts = blobs(), np.random.default_rng(0).integers(0, 4, size=400)
    clustering = MixtureClustering(4, linkage=linkage, random_state=0)
    weighted = clone(clustering).fit(X, sample_weight=counts)
    repeated = clone(clustering).fit(np.repeat(X, counts, axis=0))
    # Of mergers at the same distance, as of all that share a mode, either may be first,
    # and clusters are numbered by that.
    assert_allclose(weighted.distances_, repeated.distances_, rtol=1e-6, atol=1e-9)
    labels = np.repeat(weighted.labels_, counts)
    assert adjusted_rand_score(labels, repeated.labels_) == 1.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.slow
def test_pieces(weighted, rng):
    X, cuts = moons()[0], [100, 100, 350]
    weights = rng.uniform(0.5, 2, size=len(X)) if weighted else None
    pieces = Loader(np.split(X, cuts))
    given = None if weights is None else np.split(weights, cuts)
    clustering = MixtureClustering(n_components=FEW, contamination=0.1, random_state=0)
    whole = clone(clustering).fit(X, sample_weight=weights)
    found = clone(clustering).fit(pieces, sample_weight=given)
    assert_allclose(found.distances_, whole.distances_, rtol=1e-5)
    assert_array_equal(found.labels_, whole.labels_)
    assert_array_equal(found.predict(pieces), whole.labels_)
    assert_allclose(found.predict_proba(pieces), whole.predict_proba(X), atol=1e-6)


@pytest.mark.slow
def test_dask(one_thread):
    da = pytest.importorskip("dask.array")
    X = moons()[0]
    weights = np.linspace(1, 2, len(X))
    clustering = MixtureClustering(n_components=FEW, contamination=0.1, random_state=0)
    whole = clone(clustering).fit(X, sample_weight=weights)
    parts = da.from_array(X, chunks=(170, 2))
    found = clone(clustering).fit(parts, sample_weight=weights)
    assert isinstance(found.labels_, da.Array)
    assert_array_equal(found.labels_.compute(), whole.labels_)
    assert_allclose(found.distances_, whole.distances_, rtol=1e-5)
    probabilities = found.predict_proba(parts)
    assert probabilities.shape == (len(X), whole.n_clusters_)
    assert_allclose(probabilities.compute(), whole.predict_proba(X), atol=1e-6)


def test_features_are_checked():
    clustering = MixtureClustering(random_state=0).fit(iris())
    with pytest.raises(ValueError, match=r"MixtureClustering is expecting 4 features"):
        clustering.predict(blobs())
