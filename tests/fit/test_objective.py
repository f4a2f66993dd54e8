"""The objective: its gradient against finite differences, its terms apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._fit._objective import MixtureObjective
from sklearn_keops_gmm._model._parameters import Frame, Ridge
from sklearn_keops_gmm._model._priors import PooledCovariances, Priors, SparsityPrior
from sklearn_keops_gmm._model.covariances import make_covariance
from sklearn_keops_gmm.backends import compiled_m_step, get_backend
from tests import reference
from tests.common import blobs, every_backend, needs_compiled
from tests.reference import COVARIANCE_TYPES

PLAIN = Frame(torch.zeros(2, dtype=torch.float64))

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def make_objective(rng, backend, structure, *, weighted=True, **settings):
    """An objective on 40 points, and unconstrained parameters of 3 components."""
    settings = {"sparsity": 2.0, "reg_covar": 0.0} | settings
    points = torch.tensor(rng.normal(size=(40, 2)))
    weights = torch.tensor(rng.uniform(0, 2, size=40)) if weighted else None
    objective = MixtureObjective(
        get_backend(backend)(points, weights, PLAIN),
        40.0 if weights is None else float(weights.sum()),
        make_covariance(structure),
        3,
        Priors(SparsityPrior(settings["sparsity"], 3)),
        Ridge(settings["reg_covar"]),
    )
    shape = make_covariance(structure).shape(3, 2)
    factors = rng.choice([-1, 1], size=shape) * rng.uniform(0.5, 2, size=shape)
    unknowns = (rng.normal(size=3), rng.normal(size=(3, 2)), factors)
    return objective, [torch.tensor(u).requires_grad_() for u in unknowns]


@every_backend
@every_structure
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_the_cost(backend, structure, weighted, rng):
    objective, unknowns = make_objective(rng, backend, structure, weighted=weighted)
    assert torch.autograd.gradcheck(
        lambda *u: objective.differentiable_cost(*u)[0], unknowns, atol=1e-7, rtol=1e-6
    )


@every_structure
def test_ridge_holds_the_masses_constant(structure, rng):
    """reg_covar / 2 sum_j r_j tr(inv(Sigma_j)): only the factors are moved by it."""
    objective, unknowns = make_objective(rng, "torch", structure, reg_covar=0.3)
    ridge = objective.differentiable_cost(*unknowns).ridge
    log_weights = torch.log_softmax(unknowns[0], 0)
    components = make_covariance(structure).components(log_weights, *unknowns[1:])
    with torch.no_grad():
        mass = objective.reductions.moments(components).mass / objective.total_weight
    factors = unknowns[2].detach().numpy()
    matrices = reference.as_matrices(structure, factors, unknowns[1].detach().numpy())
    expected = 0.15 * mass.numpy() @ (matrices**2).sum(axis=(1, 2))
    assert ridge.item() == pytest.approx(expected, rel=1e-12)
    gradients = torch.autograd.grad(ridge, unknowns, allow_unused=True)
    assert all(g is None or not g.any() for g in gradients[:2])
    direction = rng.normal(size=factors.shape)

    def value(step):
        moved = reference.as_matrices(
            structure, factors + step * direction, unknowns[1].detach().numpy()
        )
        return 0.15 * mass.numpy() @ (moved**2).sum(axis=(1, 2))

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    assert float((gradients[2].numpy() * direction).sum()) == pytest.approx(
        slope, rel=1e-7
    )


@every_backend
@every_structure
def test_terms_agree(backend, structure, rng):
    """The cost of EM and the cost that torch differentiates are one."""
    objective, unknowns = make_objective(rng, backend, structure)
    parameters = objective.parameters(*unknowns)
    cost, ridge, log_likelihood, _ = objective.differentiable_cost(*unknowns)
    assert ridge.item() == 0
    assert objective.cost(parameters) == pytest.approx(cost.item(), rel=1e-12)
    moments = objective.moments(parameters)
    found = objective.log_likelihood(moments)
    assert found == pytest.approx(log_likelihood.item(), rel=1e-12)
    found = objective.penalty(parameters) - found
    assert found == pytest.approx(cost.item(), rel=1e-12)


@every_structure
def test_parameters_are_triangular(structure, rng):
    """Square factors of any sign give the same mixture as triangular ones."""
    objective, unknowns = make_objective(rng, "torch", structure)
    parameters = objective.parameters(*unknowns)
    means = parameters.means.numpy()
    square = reference.as_matrices(structure, unknowns[2].detach().numpy(), means)
    upper = reference.as_matrices(
        structure, parameters.precisions_cholesky.numpy(), means
    )
    assert (np.tril(upper, -1) == 0).all()
    assert (np.diagonal(upper, axis1=1, axis2=2) > 0).all()
    precisions = square @ np.swapaxes(square, 1, 2)
    assert_allclose(upper @ np.swapaxes(upper, 1, 2), precisions, rtol=1e-9, atol=1e-12)
    covariances = reference.as_matrices(
        structure, parameters.covariances.numpy(), means
    )
    identities = np.tile(np.eye(2), (3, 1, 1))
    assert_allclose(covariances @ precisions, identities, rtol=0, atol=1e-9)


@every_structure
def test_em_converges_where_the_gradient_vanishes(structure):
    """With reg_covar too: then it is the cost and the ridge that have no slope."""
    X = blobs()
    model = KeOpsGaussianMixture(
        3,
        covariance_type=structure,
        sparsity=1.0,
        reg_covar=0.1,
        moves=False,
        tol=1e-15,
        max_iter=5000,
        random_state=0,
    ).fit(X)
    assert model.converged_
    assert model.n_components_ == 3
    objective = MixtureObjective(
        get_backend("torch")(torch.tensor(X), None, PLAIN),
        float(len(X)),
        make_covariance(structure),
        3,
        Priors(SparsityPrior(1.0, 3)),
        Ridge(0.1),
    )
    start = (np.log(model.weights_), model.means_, model.precisions_cholesky_)
    unknowns = [torch.tensor(array).requires_grad_() for array in start]
    cost, ridge, *_ = objective.differentiable_cost(*unknowns)
    for slope in torch.autograd.grad(cost + ridge, unknowns, retain_graph=True):
        assert_allclose(slope, 0, atol=1e-6)
    assert torch.autograd.grad(cost, unknowns)[2].abs().max() > 1e-3


@pytest.mark.parametrize("weighted", [False, True])
@every_structure
def test_batches_estimate_without_bias(weighted, structure, rng):
    """Weighted by their sizes, costs and gradients of batches average to the whole."""
    objective, unknowns = make_objective(
        rng, "torch", structure, weighted=weighted, reg_covar=0.3
    )
    whole = objective.differentiable_cost(*unknowns)
    expected = torch.autograd.grad(whole.cost + whole.ridge, unknowns)
    shares, batches = zip(*objective.batches(9, np.random.RandomState(0)), strict=True)
    assert shares == (8 / 40,) * 5
    sizes = [batch.reductions.n_samples for batch in batches]
    assert sorted(sizes) == [8, 8, 8, 8, 8]
    terms = [batch.differentiable_cost(*unknowns) for batch in batches]
    cost = sum(n / 40 * term.cost.item() for n, term in zip(sizes, terms, strict=True))
    assert cost == pytest.approx(whole.cost.item(), rel=1e-12)
    value = sum(
        n / 40 * (term.cost + term.ridge) for n, term in zip(sizes, terms, strict=True)
    )
    for found, slope in zip(
        torch.autograd.grad(value, unknowns), expected, strict=True
    ):
        assert_allclose(found, slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, 40), (7, 6), (39, 2), (25, 2)])
def test_batches_are_even_and_all_of_the_data(batch_size, sizes, rng):
    objective, unknowns = make_objective(rng, "torch", "full")
    parts = objective.batches(batch_size, np.random.RandomState(0))
    batches = [batch for _, batch in parts]
    counts = [batch.reductions.n_samples for batch in batches]
    assert len(counts) == sizes
    assert sum(counts) == 40
    assert max(counts) <= batch_size
    assert max(counts) - min(counts) <= 1
    parameters = objective.parameters(*unknowns)
    whole = objective.moments(parameters)
    parts = [batch.moments(parameters) for batch in batches]
    total = sum(parts[1:], start=parts[0])
    assert_allclose(total.second, whole.second, rtol=1e-9)
    assert total.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)


@pytest.mark.parametrize("batch_size", [None, 40, 41])
def test_one_batch_is_the_objective_itself(batch_size, rng):
    """Nothing is shuffled: other random numbers stay what they were."""
    objective, _ = make_objective(rng, "torch", "full")
    stream = np.random.RandomState(0)
    assert list(objective.batches(batch_size, stream)) == [(1.0, objective)]
    assert stream.randint(1 << 30) == np.random.RandomState(0).randint(1 << 30)


@needs_compiled
@every_structure
@pytest.mark.parametrize("scale", [None, 0.01, 3.0])
def test_compiled_m_step(structure, scale, rng):
    """It is what it is in torch, under priors too."""
    compiled = compiled_m_step(get_backend("native"), make_covariance(structure))
    how = {"weighted": scale is not None, "reg_covar": 1e-3}
    objective, unknowns = make_objective(rng, "native", structure, sparsity=0.0, **how)
    if scale is not None:
        weights = scale * objective.reductions.sample_weight
        objective = replace(
            objective,
            reductions=objective.reductions.reweighted(weights),
            total_weight=float(weights.sum()),
        )
    # Wide ones, of which each has some samples.
    logits, covariance = torch.zeros(3, dtype=torch.float64), objective.covariance
    start = objective.parameters(logits, unknowns[1], 0.2 * unknowns[2])
    priors = [objective.prior, Priors(SparsityPrior(0.1, 3))]
    if not covariance.shared:
        pooled = PooledCovariances(covariance, 2.0, 40.0, start.means.shape[1])
        priors.append(Priors(SparsityPrior(0.1, 3), pooled))
    for prior in priors:
        objective = replace(objective, prior=prior, compiled=None)
        state = objective.evaluate(objective.hold(start) or start)
        expected = objective.maximize(state)
        assert expected.components is None
        objective = replace(objective, compiled=compiled)
        found = objective.maximize(state)
        assert found.components is not None
        for name in ("weights", "means", "covariances", "precisions_cholesky"):
            have, want = getattr(found, name), getattr(expected, name)
            assert_allclose(have, want, rtol=1e-12, atol=1e-14)
        assert found.targets is expected.targets
        again = objective.evaluate(found)
        assert again.cost == pytest.approx(objective.cost(replace(found)), rel=1e-14)


SPARSE = {"sparsity": 10.0, "reg_covar": 0.1}


class Counted:
    """Reductions that count how often moments are asked for."""

    def __init__(self, reductions):
        self.reductions, self.count = reductions, 0

    @property
    def n_samples(self):
        return self.reductions.n_samples

    def moments(self, components):
        self.count += 1
        return self.reductions.moments(components)


def test_mixtures_that_lose_components_take_one_e_step(rng):
    """An M-step looks whether the cost rises then, and an E-step follows."""
    objective, unknowns = make_objective(rng, "torch", "full", **SPARSE)
    objective = replace(objective, reductions=Counted(objective.reductions))
    state = objective.evaluate(objective.parameters(*unknowns))
    lost, count = [], objective.reductions.count
    for _ in range(30):
        after = objective.evaluate(objective.maximize(state))
        assert after.cost == objective.cost(after.parameters)
        lost.append(state.n_components - after.n_components)
        state = after
    assert any(lost)
    # One is for the cost that is compared.
    assert objective.reductions.count - count == 2 * len(lost)


# -- rounded values --------------------------------------------------------------------

STEPS = (0.4, 1.0)


def over_what_rounds(objective, steps=STEPS):
    """The same objective of values that were rounded to some steps."""
    variances = torch.tensor(steps, dtype=torch.float64) ** 2 / 12
    return replace(objective, ridge=Ridge(1.0, variances), rounded=variances)


def mean_over_boxes(objective, unknowns, points, steps=STEPS):
    """The log-likelihood of each sample, with mean log-densities over its box.

    Two nodes in each feature give the mean of a quadratic function.
    """
    parameters = objective.parameters(*unknowns)
    components = replace(objective, rounded=None).components(parameters)
    matrices = objective.covariance.matrices(parameters.covariances, parameters.means)
    inverses = np.linalg.inv(matrices.numpy())
    shifts = np.array([[i, j] for i in (-1, 1) for j in (-1, 1)]) * steps / np.sqrt(12)
    apart = points[:, None] + shifts[:, None, None] - parameters.means.numpy()
    distances = np.einsum("knja,jab,knjb->knj", apart, inverses, apart)
    terms = (components.offsets.numpy() - 0.5 * distances).mean(axis=0)
    return np.logaddexp.reduce(terms, axis=1)


@every_backend
@every_structure
def test_log_density_is_a_mean_over_what_rounds(backend, structure, rng):
    state = rng.bit_generator.state
    objective, unknowns = make_objective(rng, backend, structure, weighted=False)
    rng.bit_generator.state = state
    points = rng.normal(size=(40, 2))
    rounded = over_what_rounds(objective)
    expected = mean_over_boxes(objective, unknowns, points).mean()
    parameters = objective.parameters(*unknowns)
    assert rounded.score(parameters) == pytest.approx(expected, rel=1e-6)
    assert rounded.score(parameters) < objective.score(parameters)


@every_structure
def test_em_lowers_the_cost_of_rounded_values(structure, rng):
    """Its M-step is exact, as what is added to variances is part of the cost."""
    settings = {"sparsity": 0.0, "weighted": False}
    objective, unknowns = make_objective(rng, "torch", structure, **settings)
    objective = over_what_rounds(objective)
    # Wide ones, of which each has some samples.
    start = objective.parameters(torch.zeros(3), unknowns[1], 0.2 * unknowns[2])
    costs = []
    for _ in range(30):
        state = objective.evaluate(start)
        costs.append(state.cost)
        start = objective.maximize(state)
    assert np.diff(costs).max() < 1e-12
    assert costs[-1] < costs[0] - 0.01


def test_entropy_with_a_component_without_mass(rng):
    objective, unknowns = make_objective(rng, "torch", "full", sparsity=0.0)
    parameters = objective.parameters(*unknowns)
    weights = torch.tensor([0.4, 0.6, 0.0], dtype=torch.float64)
    three = replace(parameters, weights=weights)
    two = objective.without(three, weights == 0)
    entropies = [objective.entropy(objective.moments(p), p) for p in (three, two)]
    assert entropies[0] == pytest.approx(entropies[1], rel=1e-12)
