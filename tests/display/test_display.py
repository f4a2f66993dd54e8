"""Displays: what they draw is what the mixture is."""

import sys
from functools import cache
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import (
    CostDisplay,
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureDisplay,
    PairsDisplay,
    SparsityPathDisplay,
)
from tests import reference
from tests.common import iris, new_scikit_learn
from tests.reference import COVARIANCE_TYPES


@pytest.fixture(autouse=True)
def pictures():
    """No window opens, and no figure stays."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@cache
def fitted(**parameters):
    """A mixture that a test may draw, but not change."""
    given = {"n_components": 3, "random_state": 0} | parameters
    return KeOpsGaussianMixture(**given).fit(iris())


def test_density_is_where_it_belongs():
    """Rows are the second feature, and pixels have the density of their middle."""
    model = fitted()
    display = MixtureDisplay.from_estimator(
        model, iris(), features=(2, 0), grid_resolution=30
    )
    image = display.density_
    pixels, (left, right, low, high) = image.get_array(), image.get_extent()
    assert pixels.shape == (30, 30)
    row, column = 20, 7
    point = [
        left + (column + 0.5) * (right - left) / 30,
        low + (row + 0.5) * (high - low) / 30,
    ]
    expected = np.exp(model.marginal([2, 0]).score_samples([point]))
    assert pixels[row, column] == pytest.approx(expected[0], rel=1e-9)
    assert image.origin == "lower"
    top = display.log_density.max()
    assert (display.contours_.levels < top).all()
    assert (display.contours_.levels > display.log_density.min()).all()
    assert 2 <= len(display.contours_.levels) <= 11


def test_sample():
    display = MixtureDisplay.from_estimator(fitted(), iris(), features=(3, 1))
    assert_array_equal(display.samples_.get_offsets(), iris()[:, [3, 1]])
    left, right = display.ax_.get_xlim()
    assert left < iris()[:, 3].min() < iris()[:, 3].max() < right


def test_subsample():
    display = MixtureDisplay.from_estimator(fitted(), iris(), subsample=20)
    drawn = display.samples_.get_offsets()
    assert drawn.shape == (20, 2)
    assert_array_equal(drawn[[0, -1]], iris()[[0, -1], :2])
    display = MixtureDisplay.from_estimator(fitted(), iris(), subsample=None)
    assert len(display.samples_.get_offsets()) == 150


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_std", [1.0, 2.0])
def test_ellipses(structure, n_std):
    """Their points are `n_std` away from the means, in the distance of Mahalanobis."""
    model = fitted(covariance_type=structure)
    display = MixtureDisplay.from_estimator(
        model, iris(), features=(1, 3), n_std=n_std, grid_resolution=5
    )
    covariances = reference.as_matrices(structure, model.covariances_, model.means_)
    paths = display.components_.get_paths()
    assert len(paths) == 3
    for path, mean, covariance in zip(paths, model.means_, covariances, strict=True):
        shifts = path.vertices - mean[[1, 3]]
        inverse = np.linalg.inv(covariance[np.ix_([1, 3], [1, 3])])
        squares = np.einsum("na,ab,nb->n", shifts, inverse, shifts)
        assert_allclose(squares, n_std**2, rtol=1e-9)
    assert_allclose(display.dots_.get_offsets(), model.means_[:, [1, 3]])
    sizes = display.dots_.get_sizes()
    assert_allclose(sizes / sizes.sum(), model.weights_)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_one_feature(structure):
    model = fitted(covariance_type=structure)
    display = MixtureDisplay.from_estimator(model, iris(), features=2, bins=12)
    x, density = display.density_.get_data()
    expected = np.exp(model.marginal(2).score_samples(x[:, None]))
    assert_allclose(density, expected)
    curves = [path.vertices[:, 1] for path in display.components_.get_paths()]
    assert len(curves) == 3
    assert_allclose(np.sum(curves, axis=0), density, rtol=1e-9, atol=1e-12)
    heights, edges, _ = display.histogram_.get_data()
    assert len(heights) == 12
    assert heights @ np.diff(edges) == pytest.approx(1)
    assert display.ax_.get_xlabel() == "feature 2"


def test_default_features():
    display = MixtureDisplay.from_estimator(fitted(), iris(), grid_resolution=5)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == (
        "feature 0",
        "feature 1",
    )
    only = KeOpsGaussianMixture().fit(iris()[:, :1])
    display = MixtureDisplay.from_estimator(only, iris()[:, :1])
    assert display.histogram_ is not None


def test_names():
    frame = pd.DataFrame(iris(), columns=["a", "b", "c", "d"])
    model = KeOpsGaussianMixture(2, random_state=0).fit(frame)
    display = MixtureDisplay.from_estimator(
        model, frame, features=["d", "b"], grid_resolution=5
    )
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("d", "b")
    display = MixtureDisplay.from_estimator(model, frame, features="c")
    assert display.ax_.get_xlabel() == "c"


def test_axes_and_styles_are_the_users():
    figure, ax = plt.subplots()
    display = MixtureDisplay.from_estimator(
        fitted(),
        iris(),
        ax=ax,
        grid_resolution=5,
        density_kw={"cmap": "Greys"},
        contour_kw={"levels": [-3.0, -2.0]},
        sample_kw={"c": np.arange(150), "s": 1},
        component_kw={"color": "black", "lw": 3},
        dot_kw={"facecolors": "green", "alpha": 1},
    )
    assert (display.ax_, display.figure_) == (ax, figure)
    assert display.density_.get_cmap().name == "Greys"
    assert_array_equal(display.contours_.levels, [-3.0, -2.0])
    assert_array_equal(display.samples_.get_array(), np.arange(150))
    assert_array_equal(display.components_.get_linewidth(), [3])
    assert_array_equal(display.components_.get_color()[0], to_rgba("black"))
    assert_array_equal(display.dots_.get_facecolor()[0], to_rgba("green"))
    again = display.plot(density_kw={"vmax": 1.0})
    assert again is display
    assert display.density_.norm.vmax == 1
    assert display.ax_ is not ax


def test_nothing_is_drawn_twice_the_same():
    """A display made by hand from another's attributes draws the same."""
    display = MixtureDisplay.from_estimator(fitted(), iris(), grid_resolution=5)
    names = "ticks log_density samples weights means covariances feature_names"
    copy = MixtureDisplay(**{name: getattr(display, name) for name in names.split()})
    assert_array_equal(copy.plot().density_.get_array(), display.density_.get_array())
    cost = CostDisplay.from_estimator(fitted(), name="one")
    copy = CostDisplay(costs=cost.costs, estimator_name=cost.estimator_name).plot()
    assert_array_equal(copy.line_.get_xydata(), cost.line_.get_xydata())


def test_degenerate_samples():
    """One point, and points that are all alike in one feature."""
    model = fitted()
    MixtureDisplay.from_estimator(model, iris()[:1], grid_resolution=5)
    MixtureDisplay.from_estimator(model, iris()[:1], features=0)
    flat = iris().copy()
    flat[:, 0] = 5.0
    MixtureDisplay.from_estimator(model, flat, grid_resolution=5)


@new_scikit_learn
def test_tensors():
    X = torch.tensor(iris(), dtype=torch.float32)
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture(2, random_state=0).fit(X)
        display = MixtureDisplay.from_estimator(model, X, grid_resolution=5)
    assert type(display.means) is type(display.samples) is np.ndarray
    assert_array_equal(display.samples_.get_offsets(), X[:, :2])


def test_cost():
    model = fitted(n_components=5, sparsity=3.0, n_init=2)
    display = CostDisplay.from_estimator(model)
    x, y = display.line_.get_data()
    assert_array_equal(x, np.arange(model.n_iter_ + 1))
    assert_array_equal(y, [*model.costs_, model.cost_])
    assert display.line_.get_label() == "KeOpsGaussianMixture, em"
    assert display.ax_.get_legend() is not None
    other = CostDisplay.from_estimator(
        model, name="b", ax=display.ax_, c="black", ls=":"
    )
    assert other.ax_ is display.ax_
    assert other.line_.get_color() == "black"
    texts = [text.get_text() for text in other.ax_.get_legend().get_texts()]
    assert texts == ["KeOpsGaussianMixture, em", "b"]


def test_long_costs_have_a_logarithmic_axis():
    assert CostDisplay(costs=np.ones(100)).plot().ax_.get_xscale() == "symlog"
    display = CostDisplay(costs=[3.0, 2.0, 1.0]).plot()
    assert display.ax_.get_xscale() == "linear"
    assert display.ax_.get_legend() is None


def test_iterations_are_integers():
    ax = CostDisplay(costs=[3.0, 2.0, 1.9]).plot().ax_
    assert_array_equal(ax.get_xticks(), np.round(ax.get_xticks()))


def test_no_costs():
    with pytest.raises(ValueError, match="has no costs to draw"):
        CostDisplay.from_estimator(fitted().marginal([0, 1]))


@pytest.mark.parametrize("display", [CostDisplay, MixtureDisplay])
def test_not_fitted(display):
    data = {"X": iris()} if display is MixtureDisplay else {}
    with pytest.raises(NotFittedError):
        display.from_estimator(KeOpsGaussianMixture(), **data)
    assert plt.get_fignums() == []


def test_three_features():
    with pytest.raises(ValueError, match=r"one feature or two; got 3: \[0, 1, 2\]"):
        MixtureDisplay.from_estimator(fitted(), iris(), features=[0, 1, 2])


def test_other_estimators():
    peer = GaussianMixture().fit(iris())
    text = r"KeOpsGaussianMixtureCV or .*got GaussianMixture.*from_sklearn converts"
    with pytest.raises(TypeError, match=text):
        MixtureDisplay.from_estimator(peer, iris())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"grid_resolution": 1}, ValueError, "grid_resolution == 1, must be >= 2"),
        ({"grid_resolution": 9.5}, TypeError, "grid_resolution must be an instance"),
        ({"subsample": 0}, ValueError, "subsample == 0, must be >= 1"),
        ({"n_std": 0}, ValueError, "n_std == 0, must be > 0"),
        ({"n_std": np.nan}, ValueError, "n_std == nan, must be finite"),
        ({"n_std": "two"}, TypeError, "n_std must be an instance"),
        ({"sample_kw": 3}, TypeError, "'sample_kw' must be a dict or None; got 3"),
    ],
)
def test_bad_numbers(given, error, message):
    with pytest.raises(error, match=message):
        MixtureDisplay.from_estimator(fitted(), iris(), **given)
    assert plt.get_fignums() == []


def test_not_a_path():
    with pytest.raises(TypeError, match=r"'path' must be a SparsityPath.*got int"):
        SparsityPathDisplay.from_path(42)


@pytest.mark.parametrize("display", [CostDisplay, MixtureDisplay])
def test_without_matplotlib(display, monkeypatch):
    data = {"X": iris()} if display is MixtureDisplay else {}
    model = fitted()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=f"{display.__name__}.* requires matplotlib"):
        display.from_estimator(model, **data)


def test_path():
    # The second mixture costs least nowhere.
    path = SimpleNamespace(
        sparsities=np.array([[0.0, 0.5], [np.nan, np.nan], [0.5, 4.0], [4.0, np.inf]]),
        n_components=np.array([4, 3, 2, 1]),
        costs=np.array([1.0, np.nan, 2.0, 3.0]),
        scores=np.array([-1.0, -1.2, -1.5, -4.0]),
    )
    display = SparsityPathDisplay.from_path(path, component_kw={"lw": 5})
    counts, edges, _ = display.components_.get_data()
    assert_array_equal(counts, [4, 2, 1])
    assert_array_equal(edges, [0, 0.5, 4, 40])
    assert display.components_.get_linewidth() == 5
    x, y = display.score_.get_data()
    assert_array_equal(x, edges)
    assert_array_equal(y, [-1, -1.5, -4, -4])
    assert display.score_.get_drawstyle() == "steps-post"
    assert display.ax_.get_xscale() == "symlog"
    assert display.ax_.get_xlim() == (0, 40)
    assert display.score_ax_.figure is display.figure_ is display.ax_.figure


def test_the_label_on_the_right_is_in_the_picture():
    scores = {"scores": [-3.85, -3.92]}
    display = SparsityPathDisplay(sparsities=[0.0, 1.0], n_components=[2, 1], **scores)
    display.plot().figure_.canvas.draw()
    label = display.score_ax_.yaxis.label.get_window_extent()
    assert label.x1 <= display.figure_.bbox.x1


def test_path_of_one():
    display = SparsityPathDisplay(sparsities=[0.0], n_components=[1], scores=[-2.0])
    assert display.plot().ax_.get_xlim() == (0, 1)


def test_a_mixture_that_was_chosen():
    model = KeOpsGaussianMixtureCV(4, random_state=0).fit(iris())
    display = MixtureDisplay.from_estimator(model, iris(), grid_resolution=5)
    assert_allclose(display.dots_.get_offsets(), model.means_[:, :2])
    with pytest.raises(ValueError, match="has no costs to draw"):
        CostDisplay.from_estimator(model)
    display = SparsityPathDisplay.from_path(model.path_)
    assert max(display.n_components) <= 4


@pytest.mark.parametrize("color_by", [None, "component", "uncertainty", "labels"])
@pytest.mark.parametrize("subsample", [None, 20])
def test_missing_values(color_by, subsample, rng):
    """What is drawn are the samples that have a place, and the same density."""
    X = iris().copy()
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    X[:, 3] = np.where(np.arange(len(X)) == 7, 9.0, X[:, 3])
    X[7, 2] = np.nan
    given = np.arange(len(X)) % 2 if color_by == "labels" else color_by
    how = {"grid_resolution": 10, "subsample": subsample, "color_by": given}
    display = MixtureDisplay.from_estimator(fitted(), X, features=[2, 3], **how)
    complete = X[~np.isnan(X[:, 2:]).any(axis=1)][:, 2:]
    assert len(display.samples) == (subsample or len(complete))
    assert set(map(tuple, display.samples)) <= set(map(tuple, complete))
    # The axes are those of all that is observed.
    assert display.ticks[1][-1] > 9.0
    alone = MixtureDisplay.from_estimator(fitted(), X, features=2, **how)
    assert_array_equal(
        np.sort(alone.samples[:, 0]), np.sort(X[:, 2])[: len(alone.samples)]
    )
    PairsDisplay.from_estimator(fitted(), X, **how).figure_.canvas.draw()


def test_nothing_to_draw():
    X = iris().copy()
    X[::2, 0] = X[1::2, 1] = np.nan
    with pytest.raises(ValueError, match="feature 0 and feature 1 are observed"):
        MixtureDisplay.from_estimator(fitted(), X, features=[0, 1])


@pytest.mark.parametrize("wrong", [np.array([None, None]), "ax", 3])
def test_what_is_no_axes(wrong):
    model = fitted()
    for draw in (
        lambda **how: MixtureDisplay.from_estimator(model, iris(), **how),
        lambda **how: CostDisplay.from_estimator(model, **how),
    ):
        with pytest.raises(TypeError, match=f"'ax' of .*; got {type(wrong).__name__}"):
            draw(ax=wrong)
    with pytest.raises(TypeError, match="takes no 'ax', but 'figure'"):
        PairsDisplay.from_estimator(model, iris(), ax=wrong)
