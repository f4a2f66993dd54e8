"""What colours pictures of mixtures, and how what is drawn is named."""

import itertools
from functools import cache

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    MixtureClustering,
    MixtureDisplay,
    PairsDisplay,
)
from sklearn_keops_gmm._display._one_feature import bin_edges, curve_ticks
from sklearn_keops_gmm._display._style import cluster_colours
from tests.common import iris, spiral

SMALL = {"grid_resolution": 5}


@pytest.fixture(autouse=True)
def pictures():
    """No window opens, and no figure stays."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@cache
def fitted(n_components=3):
    """A mixture that a test may draw, but not change."""
    return KeOpsGaussianMixture(n_components, random_state=0).fit(iris())


def said(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_components():
    model = fitted()
    display = MixtureDisplay.from_estimator(
        model, iris(), color_by="component", subsample=50, **SMALL
    )
    rows = np.linspace(0, 149, 50, dtype=int)
    expected = cluster_colours(model.predict(iris())[rows])
    found = display.samples_.get_facecolors()
    assert_allclose(found[:, :3], [to_rgba(one)[:3] for one in expected])
    colours = [to_rgba(one) for one in cluster_colours(np.arange(3))]
    assert_allclose(display.components_.get_color(), colours)
    assert said(display) == ["component 0", "component 1", "component 2"]


def test_labels_of_ones_own():
    kinds = np.array(["setosa", "versicolor", "virginica"]).repeat(50)
    display = MixtureDisplay.from_estimator(fitted(), iris(), color_by=kinds, **SMALL)
    assert said(display) == ["setosa", "versicolor", "virginica"]
    assert_array_equal(display.sample_labels, np.arange(3).repeat(50))
    # Components are none of these groups.
    assert_allclose(display.components_.get_color(), [to_rgba("black")])


def test_uncertainty():
    model = fitted()
    display = MixtureDisplay.from_estimator(
        model, iris(), color_by="uncertainty", features=[2, 3], **SMALL
    )
    shares = model.predict_proba(iris()).max(axis=1)
    assert_allclose(display.samples_.get_array(), 1 - shares)
    assert display.colorbar_.ax.get_ylabel() == "uncertainty"


def test_no_more_labels_than_can_be_told():
    model = fitted(n_components=11)
    display = MixtureDisplay.from_estimator(
        model, iris(), color_by="component", **SMALL
    )
    assert display.legend_ is None


@pytest.mark.parametrize(
    ("color_by", "message"),
    [
        ("size", "'color_by' must be 'component', 'unc.*got 'size'"),
        ([1, 2], r"'color_by' .* each of the 150 samples; got .* shape \(2,\)"),
    ],
)
def test_colours_that_cannot_be(color_by, message):
    with pytest.raises(ValueError, match=message):
        MixtureDisplay.from_estimator(fitted(), iris(), color_by=color_by)


def test_numbers():
    model = fitted()
    display = MixtureDisplay.from_estimator(model, iris(), features=[1, 3], **SMALL)
    assert [text.get_text() for text in display.numbers_] == ["0", "1", "2"]
    assert_allclose([text.xy for text in display.numbers_], model.means_[:, [1, 3]])
    assert display.plot(numbers=False).numbers_ == []
    many = MixtureDisplay.from_estimator(fitted(n_components=21), iris(), **SMALL)
    assert many.numbers_ == []
    assert len(many.plot(numbers=True).numbers_) == 21


def test_legend_and_colour_bar():
    display = MixtureDisplay.from_estimator(fitted(), iris(), colorbar=True, **SMALL)
    assert said(display) == ["sample", "components, 2 std"]
    assert display.colorbar_.ax.get_ylabel() == "density"
    assert display.plot(legend=False).legend_ is None
    display = MixtureDisplay.from_estimator(fitted(), iris(), features=0)
    assert said(display) == ["sample", "density", "components"]
    assert display.colorbar_ is None


def test_clusters_have_names():
    model = MixtureClustering(2, random_state=0, contamination=0.05).fit(spiral())
    display = MixtureDisplay.from_estimator(model, spiral(), **SMALL)
    assert said(display) == ["cluster 0", "cluster 1", "none"]
    one = MixtureDisplay.from_estimator(model, spiral(), features=0, **SMALL)
    assert said(one) == ["sample", "density", "cluster 0", "cluster 1"]


def test_the_last_step_of_a_pipeline():
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    pipeline = make_pipeline(StandardScaler(), KeOpsGaussianMixture(2, random_state=0))
    pipeline.set_output(transform="pandas").fit(frame)
    display = MixtureDisplay.from_estimator(
        pipeline, frame, features=["d", "b"], **SMALL
    )
    scaled = pipeline[:-1].transform(frame)
    assert_array_equal(display.samples_.get_offsets(), scaled[["d", "b"]])
    assert display.ax_.get_xlabel() == "d, transformed"
    alone = make_pipeline(KeOpsGaussianMixture()).fit(iris())
    display = MixtureDisplay.from_estimator(alone, iris(), **SMALL)
    assert display.ax_.get_xlabel() == "feature 0"


# -- pairs -----------------------------------------------------------------------------


def test_pairs():
    model = fitted()
    display = PairsDisplay.from_estimator(
        model, iris(), features=[3, 0, 2], subsample=40, **SMALL
    )
    assert set(display.displays) == {(r, c) for r in range(3) for c in range(r + 1)}
    below = display.displays[2, 0]
    assert_array_equal(below.samples_.get_offsets()[0], iris()[0, [3, 2]])
    assert len(below.samples_.get_offsets()) == 40
    assert len(display.displays[1, 1].ticks) == 1
    assert display.axes_[2, 1].get_xlabel() == "feature 0"
    assert display.axes_[2, 0].get_ylabel() == "feature 2"
    assert display.axes_[1, 0].get_xlabel() == display.axes_[2, 1].get_ylabel() == ""
    assert not display.axes_[0, 2].axison


def test_pairs_of_many_features():
    X = np.random.default_rng(0).normal(size=(60, 9))
    model = KeOpsGaussianMixture().fit(X)
    assert PairsDisplay.from_estimator(model, X, **SMALL).axes_.shape == (6, 6)
    with pytest.raises(ValueError, match="six features at most; got 7"):
        PairsDisplay.from_estimator(model, X, features=list(range(7)))
    one = PairsDisplay.from_estimator(model, X, features=4, **SMALL)
    assert one.axes_.shape == (1, 1)


# -- one feature -----------------------------------------------------------------------


def test_bins_of_integers_hold_as_many_values_each():
    sample = np.random.default_rng(0).integers(0, 60, size=5000).astype(float)
    edges = bin_edges(sample, "auto")
    assert_allclose(edges % 1, 0.5)
    held = [
        np.sum((np.arange(60) > a) & (np.arange(60) < b))
        for a, b in itertools.pairwise(edges)
    ]
    assert len(set(held[:-1])) == 1
    assert sum(held) == 60
    heights, _ = np.histogram(sample, edges[:-1])
    assert heights.std() < 0.2 * heights.mean()


def test_bins_of_tenths():
    sample = np.random.default_rng(0).integers(0, 30, size=500) / 10
    edges = bin_edges(sample, "auto")
    points = np.unique(sample)
    assert np.abs(points[:, None] - edges).min() > 0.04
    assert edges[0] < points[0] < points[-1] < edges[-1]


def test_bins_are_no_more_than_can_be_seen():
    sample = np.random.default_rng(0).standard_cauchy(100_000)
    assert len(np.histogram_bin_edges(sample, "auto")) > 300
    assert len(bin_edges(sample, "auto")) == 201
    assert len(bin_edges(np.arange(10_000.0).repeat(3), "auto")) <= 202


@pytest.mark.parametrize("bins", [7, "sturges", [4.0, 5.0, 9.0]])
def test_bins_are_the_users(bins):
    sample = iris()[:, 0]
    assert_array_equal(bin_edges(sample, bins), np.histogram_bin_edges(sample, bins))


def test_bins_of_equal_values():
    assert len(bin_edges(np.full(9, 3.0), "auto")) == 2


def test_a_narrow_component_is_drawn_to_its_top():
    ticks = np.linspace(0, 10, 50)
    found = curve_ticks(ticks, np.array([3.1234]), np.array([1e-8]))
    assert 3.1234 in found
    assert len(found) == 63
    assert (np.diff(found) > 0).all()
