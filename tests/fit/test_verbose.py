"""What is printed of fits that scikit-learn has not: sparse ones, and paths."""

import re

import numpy as np
import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from tests.common import blobs, spiral

LINE = re.compile(r"  Iteration (\d+)\t cost (\S+)\t components (\d+)")
MOVE = re.compile(r"  Move from (\d+) to (\d+) components\t cost (\S+)")


def printed(capsys, **parameters):
    given = {"n_components": 12, "sparsity": 5.0, "random_state": 0} | parameters
    model = KeOpsGaussianMixture(**given, verbose=1, verbose_interval=1)
    model.fit(spiral())
    return model, capsys.readouterr().out


@pytest.mark.parametrize("acceleration", [None, "squarem"])
@pytest.mark.parametrize("pooling", [0.0, "auto"])
def test_costs(acceleration, pooling, capsys):
    """What is printed of an iteration is the cost that it started from."""
    model, text = printed(
        capsys, acceleration=acceleration, covariance_pooling=pooling, moves=False
    )
    found = [float(cost) for _, cost, _ in LINE.findall(text)]
    if acceleration is None:
        assert len(found) == model.n_iter_
    # Where targets are renewed the first cost after that is told one step ahead.
    for cost in found[1:]:
        assert np.abs(np.array([*model.costs_, model.cost_]) - cost).min() < 2e-5
    counts = [int(count) for _, _, count in LINE.findall(text)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == model.n_components_
    assert not MOVE.search(text)


@pytest.mark.slow
def test_moves(capsys):
    model, text = printed(capsys, reg_covar=1e-4)
    moves = MOVE.findall(text)
    assert moves
    assert all(before != after for before, after, _ in moves)
    assert int(moves[-1][1]) == model.n_components_
    assert f"cost {model.costs_[-1]:.5f}\t components {model.n_components_}." in text


def test_a_cost_that_rises(capsys):
    """Components that only luck pays for leave, and what follows costs more."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(at, 1, (60, 2)) for at in (-5, 0, 5)])
    model = KeOpsGaussianMixture(
        8, sparsity=5.0, random_state=0, verbose=1, verbose_interval=1
    ).fit(X)
    lines = LINE.findall(capsys.readouterr().out)
    costs = [float(cost) for _, cost, _ in lines]
    assert min(costs) < model.cost_ - 0.01
    assert costs[-1] == pytest.approx(model.cost_, abs=1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_other_solvers(solver, capsys):
    model, text = printed(capsys, solver=solver, max_iter=8, sparsity=1.0)
    assert len(LINE.findall(text)) == model.n_iter_


def test_silent_unless_asked(capsys):
    KeOpsGaussianMixture(5, sparsity=1.0, random_state=0).fit(blobs())
    KeOpsGaussianMixtureCV(3, random_state=0).fit(blobs())
    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.parametrize("verbose", [1, 2])
def test_paths(verbose, capsys):
    model = KeOpsGaussianMixtureCV(
        4, covariance_type=["full", "diag"], random_state=0, verbose=verbose
    ).fit(blobs())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Path of 'full' from 4 components"
    assert f"Chosen: 3 components, {model.covariance_type_!r}" in lines[-1]
    mixtures = [line for line in lines if line.startswith("  ")]
    # So few samples have paths from four starts.
    n_mixtures = 4 * len(model.results_["rank"])
    assert len(mixtures) == (n_mixtures if verbose > 1 else 0)


def test_folds(capsys):
    model = KeOpsGaussianMixtureCV(3, criterion="cv", cv=2, random_state=0, verbose=1)
    model.fit(blobs())
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  Fold 1 of 2", "  Fold 2 of 2"]
