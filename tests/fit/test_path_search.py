"""What the search adds to the paths: mixtures of the components of two of them."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from sklearn_keops_gmm import KeOpsGaussianMixtureCV
from sklearn_keops_gmm._fit import PathSearch


def best_of_paths(search, ends):
    """Return the best end, and take no two mixtures together."""
    return min(ends, key=search._value)


def both_ways(X, monkeypatch, **how):
    """Return the choice that takes two mixtures together, and one that does not."""
    crossed = KeOpsGaussianMixtureCV(**how).fit(X)
    monkeypatch.setattr(PathSearch, "_crossed", best_of_paths)
    return crossed, KeOpsGaussianMixtureCV(**how).fit(X)


def test_two_mixtures_make_a_better_one(monkeypatch):
    """Of tumours each path finds some groups, and none finds all."""
    X = load_breast_cancer().data[:, ::2]
    crossed, alone = both_ways(X, monkeypatch)
    least = [model.results_["criterion"].min() for model in (crossed, alone)]
    assert least[0] < least[1] - 20


@pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
def test_two_mixtures_lead_to_no_more_components(structure, monkeypatch):
    """Though they have twice as many together."""
    X = np.exp(np.random.default_rng(0).normal(size=(250, 2)))
    n_components, members_from = [], PathSearch._members_from

    def counted(search, start):
        n_components.append(len(start.weights))
        return members_from(search, start)

    monkeypatch.setattr(PathSearch, "_members_from", counted)
    how = {"n_components": 4, "covariance_type": structure}
    crossed, alone = both_ways(X, monkeypatch, **how)
    assert max(n_components) > 4
    assert crossed.path_.n_components.max() == 4
    least = [model.results_["criterion"].min() for model in (crossed, alone)]
    assert least[0] <= least[1]


def test_what_collapses_together_leaves_what_was_found():
    """Without a ridge two mixtures of rounded values may have no M-step together."""
    rng = np.random.default_rng(32)
    d, n = int(rng.integers(1, 4)), int(rng.integers(60, 160))
    X = np.exp(rng.normal(size=(n, d))).round(1)
    model = KeOpsGaussianMixtureCV(
        10, covariance_type="diag", reg_covar=0.0, covariance_pooling=0.0
    ).fit(X)
    assert model.n_components_ > 1
