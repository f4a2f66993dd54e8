"""A prior of one's own: what it is given, what it does, and what it may not return."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model._priors import Priors, UserPrior
from sklearn_keops_gmm._model.covariances import make_covariance
from tests import reference
from tests.common import blobs, every_backend, mixture_of, spiral, start
from tests.fit.test_objective import make_objective
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
every_gradient_solver = pytest.mark.parametrize("solver", ["adam", "lbfgs"])


@dataclass
class Sparsity:
    """The sparsity prior as a user would write it."""

    price: float

    def __call__(self, weights, means, precisions_cholesky):
        return self.price * weights.clamp_min(1e-300).sqrt().sum()


@dataclass
class Pull:
    """Pulls means towards zero, each as strongly as its weight."""

    strength: float

    def __call__(self, weights, means, precisions_cholesky):
        return 0.5 * self.strength * (weights[:, None] * means**2).sum()


def total_precision(weights, means, precisions_cholesky):
    """Half the sum of the squares of all factors."""
    return 0.5 * (precisions_cholesky**2).sum()


# -- what it does ------------------------------------------------------------------


@every_gradient_solver
@every_structure
@pytest.mark.fast(4)
def test_sparsity_written_as_a_prior(solver, structure):
    X, M = spiral(), 8
    given = {"solver": solver, "max_iter": 60, "tol": 1e-5, "learning_rate": 0.05}
    given |= start(X, structure, M, scale=100.0)
    expected = KeOpsGaussianMixture(**given, sparsity=6.0).fit(X)
    model = KeOpsGaussianMixture(**given, prior=Sparsity(6.0 / M)).fit(X)
    assert model.n_iter_ == expected.n_iter_
    assert model.n_components_ == expected.n_components_
    assert solver == "adam" or model.n_components_ < M
    assert_allclose(model.costs_, expected.costs_, atol=1e-6)
    assert_allclose(model.weights_, expected.weights_, atol=1e-5)
    assert_allclose(model.means_, expected.means_, atol=1e-5)
    assert model.cost_ == pytest.approx(expected.cost_, abs=1e-7)


@every_gradient_solver
def test_adds_to_sparsity(solver):
    """Two halves, one as sparsity and one as a prior, are the whole."""
    X = spiral()
    given = start(X, "full", 6, scale=100.0) | {"solver": solver, "max_iter": 30}
    whole = KeOpsGaussianMixture(**given, sparsity=4.0).fit(X)
    halves = KeOpsGaussianMixture(**given, sparsity=2.0, prior=Sparsity(2.0 / 6))
    assert_allclose(halves.fit(X).costs_, whole.costs_, atol=1e-6)
    assert halves.cost_ == pytest.approx(whole.cost_, abs=1e-6)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "tied_diag"])
@every_backend
def test_solution_for_the_width_of_one_component(backend, structure):
    """-log|A| + tr(A'SA)/2 + c/2 tr(A'A) is least at the covariance S + c I."""
    X = blobs()
    model = KeOpsGaussianMixture(
        covariance_type=structure,
        prior=lambda w, m, A: 3.0 * total_precision(w, m, A),
        solver="lbfgs",
        reg_covar=0,
        tol=1e-13,
        backend=backend,
    ).fit(X)
    S = np.cov(X.T, bias=True) + 3.0 * np.eye(2)
    expected = S if structure in ("full", "tied") else np.diagonal(S)
    assert_allclose(model.covariances_.squeeze(), expected, atol=1e-5)
    log_likelihood = reference.mean_log_likelihood(X, structure, mixture_of(model))
    penalty = 1.5 * (model.precisions_cholesky_**2).sum()
    assert model.cost_ == pytest.approx(penalty - log_likelihood, rel=1e-10)
    assert model.score(X) == pytest.approx(log_likelihood, rel=1e-10)
    assert (np.add(model.costs_, model.lower_bounds_) > 0).all()


@every_structure
def test_solution_for_pulled_means(structure):
    """The first moments, which plain EM brings to zero, balance the pull."""
    X, strength = blobs(), 0.2
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        prior=Pull(strength),
        solver="lbfgs",
        tol=1e-13,
        max_iter=500,
        reg_covar=0,
        random_state=0,
    ).fit(X)
    parts = reference.components_of(structure, mixture_of(model))
    sums = reference.moments(X, None, *parts)
    factors = reference.as_matrices(structure, parts[3], model.means_)
    precisions = factors @ np.swapaxes(factors, 1, 2)
    slopes = np.einsum("jab,jb->ja", precisions, sums.first.astype(float)) / len(X)
    pull = strength * model.weights_[:, None] * model.means_
    assert_allclose(slopes, pull, atol=2e-6)
    assert np.abs(pull).max() > 0.1


@pytest.mark.slow
def test_ends_where_adam_ends():
    """Two solvers, one solution."""
    X = blobs()
    given = start(X, "full", 3) | {"prior": Pull(0.5), "tol": 1e-9, "max_iter": 3000}
    fits = [
        KeOpsGaussianMixture(**given, solver=solver, learning_rate=0.01).fit(X)
        for solver in ("lbfgs", "adam")
    ]
    assert fits[0].converged_
    assert fits[0].cost_ == pytest.approx(fits[1].cost_, abs=1e-5)
    assert_allclose(fits[0].means_, fits[1].means_, atol=0.01)


@pytest.mark.parametrize("batch_size", [None, 100])
@pytest.mark.slow
def test_batches_feel_it_whole(batch_size):
    """A prior is not divided among batches: a strong one decides alone."""
    model = KeOpsGaussianMixture(
        2,
        prior=lambda w, m, A: 1e3 * ((m - 1.5) ** 2).sum(),
        solver="adam",
        learning_rate=0.1,
        batch_size=batch_size,
        max_iter=100,
        tol=0,
        random_state=0,
    ).fit(blobs())
    assert_allclose(model.means_, 1.5, atol=0.05)


# -- what it is given --------------------------------------------------------------


@every_structure
def test_gradient_through_triangular_factors(structure, rng):
    """The factors that move are square; their triangular form is differentiated."""
    objective, unknowns = make_objective(rng, "torch", structure)
    scale = torch.tensor(rng.normal(size=make_covariance(structure).shape(3, 2)))

    def prior(weights, means, factors):
        return (scale * factors).sin().sum() + (weights[:, None] * means).cos().sum()

    priors = Priors(objective.prior, UserPrior(prior, make_covariance(structure)))
    objective = replace(objective, prior=priors)
    assert torch.autograd.gradcheck(
        lambda *u: objective.differentiable_cost(*u).cost,
        unknowns,
        atol=1e-7,
        rtol=1e-6,
    )
    parameters = objective.parameters(*unknowns)
    cost = objective.differentiable_cost(*unknowns).cost.item()
    assert objective.cost(parameters) == pytest.approx(cost, rel=1e-10)


@every_gradient_solver
@every_structure
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_given_what_the_attributes_will_be(solver, structure, dtype):
    calls = []

    def spy(weights, means, precisions_cholesky):
        calls.append((weights, means, precisions_cholesky))
        return (weights * 0).sum() + 0.1 * (means**2).sum()

    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        prior=spy,
        solver=solver,
        max_iter=5,
        random_state=0,
    ).fit(blobs().astype(dtype))
    names = ("weights_", "means_", "precisions_cholesky_")
    for arguments in calls:
        for tensor, name in zip(arguments, names, strict=True):
            assert tensor.dtype == torch.float64
            assert tensor.shape == getattr(model, name).shape
        matrices = reference.as_matrices(
            structure, arguments[2].detach().numpy(), model.means_
        )
        assert_allclose(np.tril(matrices, -1), 0, atol=1e-12)
        assert (np.diagonal(matrices, axis1=1, axis2=2) > 0).all()
    for tensor, name in zip(calls[-1], names, strict=True):
        rtol = 1e-12 if dtype is np.float64 else 1e-6
        assert_allclose(tensor.numpy(), getattr(model, name), rtol=rtol, atol=1e-12)


def test_it_is_called_with_the_components_alive():
    sizes = []

    def spy(weights, means, precisions_cholesky):
        sizes.append(len(weights))
        assert len(weights) == len(means) == len(precisions_cholesky)
        return 2.0 * weights.sqrt().sum()

    model = KeOpsGaussianMixture(
        10, prior=spy, solver="lbfgs", max_iter=300, random_state=0
    ).fit(blobs())
    assert max(sizes) == 10 > model.n_components_ == sizes[-1]


# -- scikit-learn's ways -----------------------------------------------------------


def test_clone_and_pickle():
    prior = Pull(0.3)
    model = KeOpsGaussianMixture(2, prior=prior, solver="lbfgs", random_state=0)
    assert model.get_params()["prior"] is model.fit(blobs()).prior is prior
    assert clone(model).prior == prior
    assert clone(model.set_params(prior=total_precision)).prior is total_precision
    twin = pickle.loads(pickle.dumps(model))
    assert_allclose(twin.fit(blobs()).means_, model.fit(blobs()).means_, rtol=1e-12)


def test_grid_search_over_priors():
    search = GridSearchCV(
        KeOpsGaussianMixture(3, solver="lbfgs", random_state=0),
        {"prior": [None, Pull(0.1), Pull(100.0)]},
        cv=2,
        error_score="raise",
    ).fit(blobs())
    scores = search.cv_results_["mean_test_score"]
    assert scores[2] < scores[:2].min()


# -- what may go wrong -------------------------------------------------------------


def test_em_says_why_not():
    model = KeOpsGaussianMixture(2, prior=total_precision)
    text = r"solver='em' cannot take a prior: .* Use solver='adam' or solver='lbfgs'"
    with pytest.raises(ValueError, match=text):
        model.fit(blobs())
    assert not hasattr(model, "means_")


@every_gradient_solver
@pytest.mark.parametrize(
    ("prior", "text"),
    [
        (lambda w, m, A: 1.0, r"shape \(\), but it returned 1.0 of type float"),
        (lambda w, m, A: None, r"returned None of type NoneType"),
        (lambda w, m, A: w.sqrt(), r"a tensor of shape \(2,\) and dtype torch.float64"),
        (lambda w, m, A: (w + 1j).sum(), r"real .* dtype torch.complex128"),
        (lambda w, m, A: m.sum() * np.nan, r"finite .* it returned nan"),
        (lambda w, m, A: m.sum() + np.inf, r"finite .* it returned inf"),
        (lambda w, m, A: torch.tensor(m.sum().item()), r"differentiable .* constant"),
    ],
    ids=["float", "nothing", "vector", "complex", "nan", "inf", "constant"],
)
def test_what_it_may_not_return(solver, prior, text):
    model = KeOpsGaussianMixture(2, prior=prior, solver=solver, random_state=0)
    with pytest.raises(ValueError, match=rf"^prior\(.*{text}"):
        model.fit(blobs())


@every_gradient_solver
def test_its_own_error_comes_through(solver):
    def broken(weights, means, precisions_cholesky):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        KeOpsGaussianMixture(2, prior=broken, solver=solver).fit(blobs())


@every_gradient_solver
def test_float32_and_integers_are_taken(solver):
    model = KeOpsGaussianMixture(
        2, prior=lambda w, m, A: (m**2).sum().float(), solver=solver, max_iter=3
    )
    assert np.isfinite(model.fit(blobs()).cost_)


def test_what_is_no_prior():
    """The class is named as it is imported."""
    with pytest.raises(ValueError, match=r"'sklearn_keops_gmm\._model\.Prior' or None"):
        KeOpsGaussianMixture(prior=3).fit(blobs())
