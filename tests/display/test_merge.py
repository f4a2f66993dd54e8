"""Trees as they are drawn, and mixtures in the colours of clusters."""

from functools import cache

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from scipy.cluster.hierarchy import dendrogram
from sklearn.datasets import make_moons
from sklearn.exceptions import NotFittedError

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    MergeDisplay,
    MixtureClustering,
    MixtureDisplay,
)


@pytest.fixture(autouse=True)
def pictures():
    """No window opens, and no figure stays."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@cache
def moons():
    return make_moons(500, noise=0.07, random_state=0)[0]


@cache
def fitted(**parameters):
    """Clusters that a test may draw, but not change."""
    return MixtureClustering(random_state=0, **parameters).fit(moons())


def colours_by_cluster(colours, labels):
    """The colour of each cluster, if all of its own have one and the same."""
    found = {}
    for colour, label in zip(colours, labels, strict=True):
        assert found.setdefault(label, tuple(colour)) == tuple(colour)
    assert len(set(found.values())) == len(found)
    return found


def test_brackets_are_those_that_scipy_draws():
    clustering = fitted()
    display = MergeDisplay.from_estimator(clustering)
    zeros = np.zeros(len(clustering.distances_))
    tree = np.column_stack((clustering.children_, clustering.distances_, zeros))
    theirs = dendrogram(tree, no_plot=True)
    ours = [path[:, 1] for path in display.brackets_.get_segments()]
    expected = sorted(sorted(heights) for heights in theirs["dcoord"])
    assert_allclose(sorted(sorted(heights) for heights in ours), expected)
    ticks = [int(text.get_text()) for text in display.ax_.get_xticklabels()]
    assert sorted(ticks) == list(range(clustering.mixture_.n_components_))


def test_brackets_do_not_cross():
    display = MergeDisplay.from_estimator(fitted())
    brackets = display.brackets_.get_segments()
    for (left, first), (_, top), _, (right, second) in brackets:
        for x, foot in ((left, first), (right, second)):
            for (a, _), (_, height), _, (b, _) in brackets:
                between = min(a, b) < x < max(a, b)
                assert not (between and foot < height < top)


def test_the_cut_and_the_colours_are_those_of_clusters():
    clustering = fitted()
    display = MergeDisplay.from_estimator(clustering)
    height = display.cut_.get_ydata()[0]
    below, above = clustering.distances_[-2], clustering.distances_[-1]
    assert below < height < above
    colours = display.brackets_.get_colors()
    labels = clustering.component_labels_
    for step, pair in enumerate(clustering.children_[:-1]):
        leaf = pair.min()
        while leaf >= len(labels):
            leaf = clustering.children_[leaf - len(labels)].min()
        assert_array_equal(colours[step], to_rgba(["#0072b2", "#d55e00"][labels[leaf]]))
    assert_array_equal(colours[-1], to_rgba("0.35"))


@pytest.mark.parametrize("n_clusters", [1, 3])
@pytest.mark.slow
def test_other_cuts(n_clusters):
    clustering = fitted()
    display = MergeDisplay.from_estimator(clustering, n_clusters=n_clusters)
    height = display.cut_.get_ydata()[0]
    assert np.count_nonzero(clustering.distances_ > height) == n_clusters - 1
    assert display.ax_.get_ylim()[1] > height
    by_distance = MergeDisplay.from_estimator(clustering, distance_threshold=height)
    assert_array_equal(by_distance.labels, display.labels)


def test_one_component():
    X = np.random.default_rng(0).normal(size=(100, 2))
    clustering = MixtureClustering(random_state=0).fit(X)
    assert clustering.mixture_.n_components_ == 1
    display = MergeDisplay.from_estimator(clustering)
    assert len(display.brackets_.get_segments()) == 0
    display.figure_.canvas.draw()


def test_looks_can_be_changed():
    display = MergeDisplay.from_estimator(
        fitted(), bracket_kw={"color": "red"}, cut_kw={"ls": ":"}
    )
    assert_array_equal(display.brackets_.get_colors(), [to_rgba("red")])
    assert display.cut_.get_linestyle() == ":"
    ax = plt.subplots()[1]
    assert display.plot(ax).ax_ is ax


def test_what_is_no_clustering_is_refused():
    with pytest.raises(TypeError, match=r"MixtureClustering; got KeOpsGaussianMixture"):
        MergeDisplay.from_estimator(KeOpsGaussianMixture())
    with pytest.raises(NotFittedError):
        MergeDisplay.from_estimator(MixtureClustering())
    with pytest.raises(NotFittedError):
        MixtureDisplay.from_estimator(MixtureClustering(), moons())


# -- mixtures -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mixture_in_the_colours_of_its_clusters():
    clustering = MixtureClustering(contamination=0.1, random_state=0)
    table = pd.DataFrame(moons(), columns=["a", "b"])
    clustering.fit(table)
    display = MixtureDisplay.from_estimator(clustering, table, subsample=50)
    rows = np.linspace(0, 499, 50, dtype=int)
    assert_array_equal(display.sample_labels, clustering.labels_[rows])
    samples = colours_by_cluster(
        display.samples_.get_facecolors()[:, :3], display.sample_labels
    )
    components = colours_by_cluster(
        display.components_.get_colors()[:, :3], clustering.component_labels_
    )
    assert set(samples) == {-1, 0, 1}
    assert samples.pop(-1) == to_rgba("0.6")[:3]
    assert samples == components
    assert display.ax_.get_ylabel() == "b"


def test_one_feature_in_the_colours_of_clusters():
    clustering = fitted()
    display = MixtureDisplay.from_estimator(clustering, moons(), features=0)
    colours_by_cluster(display.components_.get_colors(), clustering.component_labels_)


def test_more_clusters_than_named_colours():
    display = MergeDisplay(
        children=[[0, 1]] + [[i + 2, 12 + i] for i in range(10)],
        distances=np.linspace(1, 2, 11),
        labels=np.arange(12),
    ).plot()
    assert len(display.brackets_.get_segments()) == 11
    assert (display.brackets_.get_colors() == to_rgba("0.35")).all()
