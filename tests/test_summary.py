"""What is printed of a fit, and what is found beside the mixture."""

import builtins
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    MixtureClustering,
    MixtureSummary,
    SparsityPath,
)
from tests import reference
from tests.common import blobs, every_backend, iris, spiral
from tests.reference import COVARIANCE_TYPES

NAMES = ["a", "b", "c", "d"]


def named_iris():
    return pd.DataFrame(iris(), columns=NAMES)


@every_backend
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_numbers(structure, backend):
    # KeOps compiles for each number of features.
    X = iris()[:, 2:]
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, backend=backend, random_state=0
    ).fit(X)
    found = model.summary(X)
    matrices = reference.as_matrices(structure, model.covariances_, model.means_)
    assert_allclose(found.spreads, np.sqrt([np.diag(matrix) for matrix in matrices]))
    assert_array_equal(found.counts, np.bincount(model.predict(X)))
    assert found.log_likelihood == pytest.approx(150 * model.score(X))
    assert (found.aic, found.bic) == pytest.approx((model.aic(X), model.bic(X)))
    shares = model.predict_proba(X)
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-300)))
    assert found.icl == pytest.approx(found.bic + 2 * entropy)
    if structure in ("full", "tied", "diag", "spherical"):
        peer = GaussianMixture(3, covariance_type=structure).fit(X)
        assert found.n_parameters == peer._n_parameters()


def test_weights_count_as_rows():
    counts = np.arange(150) % 3
    model = KeOpsGaussianMixture(3, random_state=0).fit(iris())
    weighted = model.summary(iris(), sample_weight=counts)
    rows = model.summary(iris().repeat(counts, axis=0))
    assert_array_equal(weighted.counts, rows.counts)
    for name in ("log_likelihood", "aic", "bic", "icl"):
        assert getattr(weighted, name) == pytest.approx(getattr(rows, name))


def test_frame():
    model = KeOpsGaussianMixture(3, random_state=0).fit(named_iris())
    frame = model.summary(named_iris()).to_frame()
    assert_array_equal(frame["mean"][NAMES], model.means_)
    assert_allclose(frame["std"]["c"], np.sqrt(model.covariances_[:, 2, 2]))
    assert_array_equal(frame["weight"], model.weights_)
    assert frame["samples"].sum() == 150
    assert "samples" not in model.summary().to_frame()


def test_pandas_is_imported_only_for_a_frame(monkeypatch):
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    found = builtins.__import__

    def without_pandas(name, *rest, **named):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)
        return found(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    summary = model.summary()
    assert "2 components" in repr(summary)
    with pytest.raises(ImportError, match="pandas"):
        summary.to_frame()


class Cells(HTMLParser):
    """Gathers the text of a page, and checks that all tags are closed."""

    def __init__(self, page):
        super().__init__()
        self.text, self.open = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_says_what_text_says():
    frame = named_iris().rename(columns={"a": "<b> & c"})
    summary = KeOpsGaussianMixture(3, random_state=0).fit(frame).summary(frame)
    cells = Cells(summary._repr_html_()).text
    assert "<b> & c" in cells
    assert " ".join(" ".join(cells).split()) == " ".join(repr(summary).split())


def test_much_is_cut():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 8))
    text = repr(KeOpsGaussianMixture(40, random_state=0).fit(X).summary())
    assert text.endswith(
        "... and 10 components and 2 features more: to_frame() has all."
    )
    assert "feature 5" in text
    assert "feature 6" not in text
    assert len(text.splitlines()) == 33


@pytest.mark.parametrize(
    ("mean", "spread", "cell"),
    [
        (-0.036, 1.02, "-0.04 +- 1.02"),
        (1234.5, 345.6, "1234 +- 346"),
        (5.0, 0.0, "5.00 +- 0.00"),
        (1e9, 3e5, "1e+09 +- 3e+05"),
        (2e-8, 1.5e-8, "2e-08 +- 1.5e-08"),
    ],
)
def test_digits(mean, spread, cell):
    one = np.ones(1)
    summary = MixtureSummary(
        "A", "diag", 2, ("x",), one, one[None] * mean, one[None] * spread
    )
    assert repr(summary).splitlines()[-1].endswith(cell)


def test_nothing_is_said_of_samples_that_were_not_given():
    summary = KeOpsGaussianMixture(2, random_state=0).fit(iris()).summary()
    for name in ("counts", "log_likelihood", "aic", "bic", "icl"):
        with pytest.raises(AttributeError, match=r"use summary\(X\)"):
            getattr(summary, name)


@pytest.mark.parametrize(
    "kind", [KeOpsGaussianMixture, KeOpsGaussianMixtureCV, MixtureClustering]
)
def test_not_fitted(kind):
    with pytest.raises(NotFittedError):
        kind().summary()


def test_other_features():
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.summary(iris()[:, :3])


# -- a choice ------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["lic", "bic", "icl", "cv"])
def test_alternatives_are_the_next_best(criterion):
    model = KeOpsGaussianMixtureCV(
        5, covariance_type=["full", "diag"], criterion=criterion, cv=3, random_state=0
    ).fit(blobs())
    choice = model.summary().choice
    order = np.argsort(model.results_["criterion"])
    values = model.results_["criterion"][order]
    assert choice.criterion == criterion
    assert choice.value == values[0]
    assert_array_equal(
        [other.n_components for other in choice.alternatives],
        model.results_["n_components"][order[1:4]],
    )
    assert_array_equal(
        [other.covariance_type for other in choice.alternatives],
        model.results_["covariance_type"][order[1:4]],
    )
    differences = [other.difference for other in choice.alternatives]
    assert differences == pytest.approx(values[1:4] - values[0])
    text = repr(model.summary())
    assert f"Chosen by {criterion!r}" in text
    assert "; next best: " in text


def test_a_choice_that_is_not_the_least():
    """Of exponentials more components score higher, by less than one error."""
    X = np.exp(np.random.default_rng(0).normal(size=(300, 2)))
    model = KeOpsGaussianMixtureCV(
        6, criterion="cv", cv=3, one_standard_error=True, random_state=0
    ).fit(X)
    choice = model.summary().choice
    chosen = model.results_["n_components"] == model.n_components_
    assert choice.value == model.results_["criterion"][chosen]
    assert choice.value > model.results_["criterion"].min()
    assert "; others: " in repr(model.summary())


def test_the_mixture_is_one_of_its_own_components():
    model = KeOpsGaussianMixtureCV(8, random_state=0).fit(blobs())
    mixture = model.mixture_
    assert (mixture.n_components, mixture.sparsity) == (model.n_components_, 0.0)
    assert "n_components=3" in repr(mixture)
    path = model.path_
    (i,) = np.flatnonzero(path.n_components == 3)
    assert path.mixtures[i].n_components == path.n_components[0]
    penalty = path.mixtures[i].sparsity / path.mixtures[i].n_components
    penalty *= np.sqrt(mixture.weights_).sum()
    assert mixture.cost_ == pytest.approx(path.mixtures[i].cost_ - penalty)
    assert clone(mixture).fit(blobs()).score(blobs()) == pytest.approx(
        model.score(blobs()), abs=1e-3
    )


def test_what_tells_of_the_fit():
    model = KeOpsGaussianMixtureCV(6, covariance_pooling=0.0, random_state=0)
    model.fit(blobs())
    assert model.converged_
    assert model.n_iter_ == len(model.path_) == len(model.criterion_)
    assert model.lower_bound_ == pytest.approx(model.score(blobs()))
    assert model.cost_ == pytest.approx(-model.lower_bound_)


def test_says_that_it_has_not_converged():
    model = KeOpsGaussianMixtureCV(6, max_iter=1, tol=1e-9, random_state=0)
    with pytest.warns(UserWarning, match="has not converged. Increase max_iter"):
        model.fit(spiral(500))
    assert not model.converged_
    assert "Warning: The fit did not converge" in repr(model.summary())


def test_weak_components_are_named():
    X = np.concatenate((blobs(), [[50.0, 50.0]]))
    model = KeOpsGaussianMixture(4, random_state=0).fit(X)
    alone = int(model.weights_.argmin())
    said = f"Component {alone} rests on fewer samples"
    assert said in repr(model.summary(X))
    assert said in repr(model.summary())  # by its width alone
    assert not KeOpsGaussianMixture(3, random_state=0).fit(blobs()).summary().warnings


@pytest.mark.parametrize("noise", [None, "uniform"])
def test_weak_components_are_those_of_few_samples(noise, rng):
    """The prior shrinks the weight of a small one, and not what it has seen."""
    middles = np.repeat([[0.0], [12.0], [-12.0]], (500, 500, 20), axis=0)
    X = rng.normal(size=(1020, 2)) + middles
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = KeOpsGaussianMixture(10, sparsity=8.0, noise=noise, random_state=0)
        model.fit(X)
    assert 1020 * model.weights_.min() < 3
    assert not model.summary(X).warnings
    model.set_params(sparsity=0.0)
    (said,) = model.summary(X).warnings
    assert "rests on fewer samples" in said


def test_the_largest_number_tried_is_named():
    model = KeOpsGaussianMixtureCV(2, random_state=0)
    with pytest.warns(UserWarning, match="the largest that was tried"):
        model.fit(blobs())
    (warning,) = model.summary().warnings
    assert "number of components found, 2, is the largest" in warning


def test_no_more_components_than_distinct_rows():
    """Where each has one, no number is left to be tried."""
    X = np.eye(4)[np.arange(400) % 4]
    model = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert model.n_components_ == model.path_.n_components[0] == 4
    assert not any("was tried" in said for said in model.summary(X).warnings)


def test_clusters():
    model = MixtureClustering(random_state=0).fit(blobs())
    summary = model.summary(blobs())
    assert_array_equal(summary.clusters, model.component_labels_)
    assert_array_equal(summary.to_frame()["cluster"], model.component_labels_)
    assert_array_equal(summary.weights, model.mixture_.weights_)
    assert summary.estimator == "MixtureClustering"
    assert "3 clusters of 3 components" in repr(summary)
    assert summary.choice.criterion == "lic"
    assert summary.log_likelihood == pytest.approx(model.score_samples(blobs()).sum())


def test_more_clusters_than_the_choice_has_components():
    model = MixtureClustering(9, n_components=4, random_state=0).fit(blobs(60))
    assert model.mixture_.n_components == model.mixture_.n_components_
    assert model.summary().n_components == model.mixture_.n_components_


def test_paths_are_printed_in_a_line():
    path = KeOpsGaussianMixtureCV(6, criterion="cv", cv=2, random_state=0)
    path = path.fit(blobs()).path_
    assert isinstance(path, SparsityPath)
    assert len(path) == 6
    assert repr(path) == "SparsityPath(6 mixtures, from 6 to 1 components)"


def test_odd_names_of_features():
    names = ["a\nb", "\x1b[31m", "n" * 100, "größe"]
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 4)), columns=names)
    lines = repr(KeOpsGaussianMixture().fit(X).summary(X)).splitlines()
    header = next(line for line in lines if line.startswith("component"))
    assert header.split()[-4:] == ["a\\nb", "\\x1b[31m", "n" * 37 + "...", "größe"]
    assert lines.index(header) == len(lines) - 2
