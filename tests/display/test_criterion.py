"""The comparison that a choice has made, as it is drawn."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import (
    CostDisplay,
    CriterionDisplay,
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MergeDisplay,
    MixtureClustering,
    SparsityPathDisplay,
)
from tests.common import blobs, iris, spiral


@pytest.fixture(autouse=True)
def pictures():
    """No window opens, and no figure stays."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


def choice(**parameters):
    given = {"n_components": 5, "random_state": 0} | parameters
    return KeOpsGaussianMixtureCV(**given).fit(blobs())


def test_curves():
    model = choice(covariance_type=["diag", "full"])
    display = CriterionDisplay.from_estimator(model)
    assert list(display.curves_) == ["diag", "full"]
    for name, line in display.curves_.items():
        of_type = model.results_["covariance_type"] == name
        assert_array_equal(line.get_xdata(), model.results_["n_components"][of_type])
        assert_array_equal(line.get_ydata(), model.results_["criterion"][of_type])
    ((x,), (y,)) = display.chosen_.get_data()
    assert (x, y) == (model.n_components_, model.results_["criterion"].min())
    assert display.bars_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("components", "LIC")
    said = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert said == ["diag", "full", f"chosen: 3 {model.covariance_type_}"]


@pytest.mark.parametrize("figsize", [(6.4, 4.8), (3.6, 2.8)])
def test_legend_lies_over_no_curve(figsize):
    types = ["full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"]
    _, ax = plt.subplots(figsize=figsize)
    display = CriterionDisplay(
        n_components=np.tile(np.arange(1, 9), 6),
        criterion=np.tile(np.arange(8.0), 6) + np.repeat(np.arange(6.0), 8),
        covariance_types=np.repeat(types, 8).tolist(),
        chosen=(1, "full"),
    ).plot(ax)
    display.figure_.canvas.draw()
    bottom = ax.get_legend().get_window_extent().y0
    _, highest = ax.transData.transform((8, max(display.criterion)))
    assert bottom > highest


@pytest.mark.slow
def test_standard_errors():
    """Bars are for the type whose scores are known."""
    model = choice(criterion="cv", cv=3, covariance_type=["diag", "full"])
    display = CriterionDisplay.from_estimator(model)
    errors = model.scores_.std(axis=1, ddof=1) / np.sqrt(3)
    of_type = model.results_["covariance_type"] == model.covariance_type_
    assert_allclose(display.standard_errors[of_type], errors)
    assert np.isnan(display.standard_errors[~of_type]).all()
    _, _, (bars,) = display.bars_.lines
    ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
    assert_allclose(np.diff(ends, axis=1)[:, 0], 2 * errors)
    one_fold = [(np.arange(300), np.arange(300, 400))]
    display = CriterionDisplay.from_estimator(choice(criterion="cv", cv=one_fold))
    assert display.bars_ is None


@pytest.mark.slow
def test_of_a_clustering_and_of_a_pipeline():
    X = spiral()
    clustering = MixtureClustering(random_state=0).fit(X)
    display = CriterionDisplay.from_estimator(clustering)
    assert display.chosen[0] == clustering.mixture_.n_components_
    pipeline = make_pipeline(StandardScaler(), choice()).fit(X)
    display = CriterionDisplay.from_estimator(pipeline)
    assert display.chosen[0] == pipeline[-1].n_components_
    assert SparsityPathDisplay.from_estimator(pipeline).chosen == display.chosen[0]
    costs = make_pipeline(StandardScaler(), KeOpsGaussianMixture(2)).fit(X)
    assert len(CostDisplay.from_estimator(costs).costs) == costs[-1].n_iter_ + 1
    tree = make_pipeline(StandardScaler(), MixtureClustering(random_state=0)).fit(X)
    assert len(MergeDisplay.from_estimator(tree).labels) > 1


def test_styles_are_the_users():
    _, ax = plt.subplots()
    display = CriterionDisplay.from_estimator(
        choice(), ax=ax, line_kw={"c": "green", "lw": 3}, chosen_kw={"ms": 20}
    )
    assert display.ax_ is ax
    assert display.curves_["full"].get_color() == "green"
    assert display.curves_["full"].get_linewidth() == 3
    assert display.chosen_.get_markersize() == 20


def test_others_compare_nothing():
    with pytest.raises(TypeError, match=r"a fitted .*CV or .*; got KeOpsGaussianMix"):
        CriterionDisplay.from_estimator(KeOpsGaussianMixture().fit(iris()))
    for display in (CriterionDisplay, SparsityPathDisplay):
        with pytest.raises(NotFittedError):
            display.from_estimator(KeOpsGaussianMixtureCV())
    assert plt.get_fignums() == []


def test_path_marks_the_choice():
    model = choice()
    display = SparsityPathDisplay.from_estimator(model)
    (i,) = np.flatnonzero(model.path_.n_components == model.n_components_)
    left, right = model.path_.sparsities[i]
    band = display.chosen_.get_extents().transformed(display.ax_.transData.inverted())
    assert band.x0 == pytest.approx(left)
    assert band.x1 == pytest.approx(right)
    assert SparsityPathDisplay.from_path(model.path_).chosen_ is None


def test_path_marks_a_choice_that_costs_least_nowhere():
    display = SparsityPathDisplay(
        sparsities=[0.0, 1.0], n_components=[5, 1], scores=[-1.0, -2.0], chosen=3
    ).plot()
    assert_array_equal(display.chosen_.get_ydata(), [3, 3])


def test_ticks_of_one_mixture():
    display = CriterionDisplay.from_estimator(choice(n_components=1))
    display.figure_.canvas.draw()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks, np.round(ticks))
    assert 1 in ticks
