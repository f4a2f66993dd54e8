"""Adam: the tutorial's own descent, and what the estimator adds to it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests import reference
from tests.common import blobs, every_backend, mixture_of, spiral, start
from tests.reference import COVARIANCE_TYPES


def matrices_of(structure, A, n_components, n_features):
    """Square factors (M, D, D) from what moves, differentiable."""
    if structure == "diag":
        return torch.diag_embed(A)
    if structure == "tied_diag":
        A = torch.diag(A)
    if structure in ("spherical", "tied_spherical"):
        A = A[:, None, None] * torch.eye(n_features, dtype=A.dtype)
    return A.expand(n_components, n_features, n_features)


def tutorial_cost(x, w, mu, A, sparsity):
    """-mean log-likelihood + s mean(sqrt(softmax w)), on all pairs at once."""
    projected = torch.einsum("jab,nja->njb", A, x[:, None, :] - mu)
    constant = torch.linalg.slogdet(A).logabsdet - x.shape[1] / 2 * np.log(2 * np.pi)
    terms = torch.log_softmax(w, 0) + constant - 0.5 * (projected**2).sum(2)
    return sparsity * torch.softmax(w, 0).sqrt().mean() - terms.logsumexp(1).mean()


def tutorial_fit(X, structure, mu, A, sparsity, n_steps):
    """Return the costs and the unknowns w, mu, A of the tutorial's loop."""
    x = torch.tensor(X)
    unknowns = [torch.ones(len(mu), dtype=x.dtype), torch.tensor(mu), torch.tensor(A)]
    for unknown in unknowns:
        unknown.requires_grad_()
    optimizer = torch.optim.Adam(unknowns, lr=0.1)
    costs = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        w, mu, A = unknowns
        cost = tutorial_cost(x, w, mu, matrices_of(structure, A, *mu.shape), sparsity)
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    return costs, [unknown.detach().numpy() for unknown in unknowns]


@every_backend
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.fast(4)
def test_trajectory_is_the_tutorials(backend, structure):
    X = spiral(2000)
    means = np.random.default_rng(0).uniform(size=(30, 2))
    given = start(X, structure, 30, scale=15.0**2) | {"means_init": means}
    model = KeOpsGaussianMixture(
        **given,
        sparsity=20,
        solver="adam",
        learning_rate=0.1,
        max_iter=20,
        tol=0,
        reg_covar=0,
        backend=backend,
    ).fit(X)
    factors = np.sqrt(given["precisions_init"])
    costs, (w, mu, A) = tutorial_fit(X, structure, means, factors, 20, 20)
    assert_allclose(model.costs_, costs, rtol=0, atol=1e-6)
    assert np.ptp(costs) > 0.5
    assert model.n_iter_ == 20
    assert model.n_components_ == 30

    weights = np.exp(w) / np.exp(w).sum()
    A = reference.as_matrices(structure, A, mu)
    covariances = np.linalg.inv(A @ np.swapaxes(A, 1, 2))
    found = reference.as_matrices(structure, model.covariances_, mu)
    assert_allclose(model.weights_, weights, rtol=0, atol=1e-6)
    assert_allclose(model.means_, mu, rtol=0, atol=1e-6)
    assert_allclose(found, covariances, rtol=0, atol=1e-6)


@every_backend
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.slow
def test_descends(backend, structure):
    X = blobs()
    given = start(X, structure, 6) | {"sparsity": 5.0, "learning_rate": 0.05}
    model = KeOpsGaussianMixture(
        **given, solver="adam", max_iter=400, backend=backend
    ).fit(X)
    assert model.converged_
    assert 20 <= model.n_iter_ < 400
    assert model.cost_ < model.costs_[0] - 0.5
    assert model.cost_ == pytest.approx(min(model.costs_), abs=0.02)


def test_zero_tol_runs_every_iteration():
    given = start(blobs(), "full", 2) | {"solver": "adam", "tol": 0.0}
    model = KeOpsGaussianMixture(**given, max_iter=77).fit(blobs())
    assert (model.n_iter_, model.converged_) == (77, False)
    assert len(model.costs_) == 77


def test_weak_components_are_left_out_after_the_fit():
    """Softmax never reaches zero; what does not raise the cost is dropped."""
    X = blobs()
    given = start(X, "full", 10) | {"sparsity": 50.0, "learning_rate": 0.1}
    model = KeOpsGaussianMixture(**given, solver="adam", max_iter=500, tol=0).fit(X)
    assert 1 <= model.n_components_ < 10
    assert model.cost_ <= model.costs_[-1] + 1e-3
    assert model.weights_.sum() == pytest.approx(1, abs=1e-12)


def test_divergence_is_named():
    given = start(blobs(), "full", 2) | {"solver": "adam", "learning_rate": 1e200}
    with pytest.raises(ValueError, match="learning_rate"):
        KeOpsGaussianMixture(**given).fit(blobs())


@every_backend
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_steps_on_batches(backend, structure):
    """The tutorial's loop on batches of 200 shuffled rows: one iteration is a pass."""
    X, n_passes = spiral(1000), 3
    given = start(X, structure, 5, scale=15.0**2) | {"sparsity": 5.0}
    model = KeOpsGaussianMixture(
        **given,
        solver="adam",
        learning_rate=0.01,
        batch_size=200,
        max_iter=n_passes,
        tol=0,
        reg_covar=0,
        random_state=7,
        backend=backend,
    ).fit(X)
    x, stream = torch.tensor(X), np.random.RandomState(7)
    A = np.sqrt(given["precisions_init"])
    unknowns = [torch.ones(5).double(), torch.tensor(given["means_init"])]
    unknowns = [u.requires_grad_() for u in (*unknowns, torch.tensor(A))]
    optimizer = torch.optim.Adam(unknowns, lr=0.01)
    costs = []
    for _ in range(n_passes):
        for rows in stream.permutation(1000).reshape(5, 200):
            w, mu, A = unknowns
            optimizer.zero_grad()
            matrices = matrices_of(structure, A, 5, 2)
            cost = tutorial_cost(x[rows], w, mu, matrices, 5.0)
            cost.backward()
            optimizer.step()
            costs.append(cost.item())
    assert_allclose(model.costs_, np.reshape(costs, (-1, 5)).mean(axis=1), atol=1e-9)
    assert_allclose(model.means_, unknowns[1].detach(), atol=1e-9)
    assert model.n_iter_ == n_passes
    expected = reference.penalised_cost(
        X, structure, mixture_of(model), sparsity=5.0, n_components=5
    )
    assert model.cost_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.slow
def test_batches_end_near_the_solution(weighted):
    X = blobs()
    weights = np.random.default_rng(0).uniform(0, 3, size=len(X)) if weighted else None
    given = start(X, "full", 3) | {"max_iter": 150, "reg_covar": 1e-3}
    given["means_init"] = [[1.0, 1.0], [5.0, 0.0], [0.0, 5.0]]
    best = KeOpsGaussianMixture(**given).fit(X, sample_weight=weights)
    model = KeOpsGaussianMixture(
        **given, solver="adam", learning_rate=0.01, batch_size=64, random_state=0
    ).fit(X, sample_weight=weights)
    assert model.converged_
    assert 20 <= model.n_iter_ < 150
    assert best.cost_ - 1e-9 <= model.cost_ < best.cost_ + 0.01


def test_batches_are_seeded():
    given = start(blobs(), "full", 3) | {"solver": "adam", "max_iter": 3}
    fits = [
        KeOpsGaussianMixture(**given, batch_size=50, random_state=seed).fit(blobs())
        for seed in (0, 0, 1)
    ]
    assert fits[0].costs_ == fits[1].costs_
    assert not np.allclose(fits[0].means_, fits[2].means_, atol=1e-6)


def test_batches_leave_the_start_alone():
    """The first start of a seed is the same, with batches or without."""
    given = {"init_params": "random", "random_state": 3, "solver": "adam"}
    firsts = [
        KeOpsGaussianMixture(3, batch_size=size, max_iter=1, **given)
        .fit(blobs())
        .costs_[0]
        for size in (None, 400, 1000)
    ]
    assert firsts[0] == firsts[1] == firsts[2]


def test_collapse_is_an_error():
    """Without reg_covar a component on one point shrinks without end."""
    X = np.concatenate([blobs() + 60, np.zeros((30, 2))])
    given = start(X, "spherical", 2) | {"means_init": [[62.0, 62.0], [0.0, 0.0]]}
    given |= {"solver": "adam", "reg_covar": 0, "tol": 0}
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        KeOpsGaussianMixture(**given, learning_rate=1e12, max_iter=8).fit(X)


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 1.0])
@pytest.mark.fast(4)
def test_components_of_one_sample_each_are_an_error(structure, sparsity):
    """Starts give them the width of rounding error, which is none."""
    X = np.random.default_rng(0).uniform(size=(12, 2))
    model = KeOpsGaussianMixture(
        12,
        covariance_type=structure,
        sparsity=sparsity,
        solver="adam",
        reg_covar=0,
        random_state=0,
    )
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        model.fit(X)
