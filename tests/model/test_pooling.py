"""Pooled covariances: their targets, their M-step and their term of the cost."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from sklearn_keops_gmm._model import PooledCovariances, Unknowns
from sklearn_keops_gmm._model.covariances import make_covariance, pulled

N, D = 500.0, 3

own_covariances = pytest.mark.parametrize("structure", ["full", "diag", "spherical"])


def scatter(structure, rng, M=4):
    """Covariances of M components, and their masses in samples."""
    roots = rng.normal(size=(M, D, D)) * rng.uniform(0.1, 3, size=(M, 1, 1))
    covariances = roots @ roots.transpose(0, 2, 1) + 1e-3 * np.eye(D)
    if structure != "full":
        covariances = np.diagonal(covariances, axis1=1, axis2=2).copy()
    if structure == "spherical":
        covariances = covariances.mean(1)
    return torch.tensor(covariances), torch.tensor(N * rng.dirichlet(np.ones(M)))


def matrices(structure, covariances):
    """The same as matrices."""
    return make_covariance(structure).matrices(
        covariances, torch.zeros(len(covariances), D).double()
    )


def prior(structure, k=2.5):
    return PooledCovariances(make_covariance(structure), k, N, D)


@own_covariances
def test_targets_are_a_shape_times_a_shrunk_scale(structure, rng):
    covariances, mass = scatter(structure, rng)
    found = prior(structure).renewed(covariances, mass / N)
    own, r = matrices(structure, covariances).numpy(), mass.numpy()
    variances = np.diagonal(own, axis1=1, axis2=2)
    # Each feature is measured in its variance within components.
    sizes = (variances / np.average(variances, axis=0, weights=r)).mean(1)
    shape = np.average(own / sizes[:, None, None], axis=0, weights=r)
    free = {"full": D * (D + 1) / 2, "diag": D, "spherical": 1}[structure] / D
    say = r**2 / (r + 2 * free)
    typical = say @ np.log(sizes) / say.sum()
    scales = np.exp((r * np.log(sizes) + 4 * free * typical) / (r + 4 * free))
    targets = matrices(structure, found.of_scales(found.scales))
    assert_allclose(targets, scales[:, None, None] * shape, rtol=1e-12)


def sticks(D, ratio):
    """Covariances that are long along one axis each, and short along all others."""
    variances = torch.ones(D, D).double() + (ratio**2 - 1.0) * torch.eye(D).double()
    return variances


@pytest.mark.parametrize("structure", ["full", "diag"])
@pytest.mark.parametrize("ratio", [1.0, 3.0, 30.0, 300.0])
def test_targets_of_thin_components_are_thin(structure, ratio):
    """As wide as most are across, or ten times as wide at most."""
    variances = sticks(D, ratio)
    covariances = torch.diag_embed(variances) if structure == "full" else variances
    found = prior(structure).renewed(covariances, torch.full((D,), 1.0 / D).double())
    targets = matrices(structure, found.covariances)
    own = matrices(structure, covariances)
    traces = torch.linalg.solve(own, targets).diagonal(dim1=1, dim2=2).sum(1) / D
    mean = (ratio**2 + D - 1.0) / D
    disparity = mean * (D - 1.0 + ratio**-2) / D
    assert_allclose(traces, min(10.0, disparity), rtol=1e-6)


def test_few_samples_tell_no_shape(rng):
    """Their covariances are nearly singular, whatever shape the components have."""
    covariances = torch.from_numpy(
        np.stack([np.cov(rng.normal(size=(D, 4))), np.eye(D)])
    )
    covariances = torch.cat((covariances, 1e-9 * torch.eye(D).double()[None]))
    mass = torch.tensor([4.0, 60.0, 4.0]).double()
    whole, own = make_covariance("full"), prior("full")
    targets = whole.targets(covariances, mass, D)
    assert whole.disparity(covariances, mass, targets, D) < 2.0
    assert_allclose(own.renewed(covariances, mass / N).shape, targets.shape)


@own_covariances
def test_targets_follow_the_unit(structure, rng):
    covariances, mass = scatter(structure, rng)
    found = prior(structure).renewed(covariances, mass / N)
    scaled = prior(structure).renewed(1e-8 * covariances, mass / N)
    assert_allclose(scaled.covariances, 1e-8 * found.covariances, rtol=1e-9)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_targets_follow_the_unit_of_each_feature(structure, rng):
    covariances, mass = scatter(structure, rng)
    u = torch.tensor([1e-3, 1.0, 1e6]).double()
    units = {"full": u[:, None] * u, "diag": u * u}[structure]
    pooled = prior(structure)
    found = pooled.renewed(covariances, mass / N)
    scaled = pooled.renewed(units * covariances, mass / N)
    assert_allclose(scaled.covariances, units * found.covariances, rtol=1e-9)
    # So do those of components that have merged, and how far targets have moved.
    new = torch.tensor([True, False, False, True])
    more, _ = scatter(structure, rng)
    merged = pooled.rescaled(found, more, mass / N, new)
    other = pooled.rescaled(scaled, units * more, mass / N, new)
    assert_allclose(other.covariances, units * merged.covariances, rtol=1e-9)
    again, other = (pooled.renewed(c, mass / N) for c in (more, units * more))
    assert other.distance(scaled) == pytest.approx(again.distance(found), rel=1e-6)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_a_feature_without_width_tells_no_sizes(structure, rng):
    covariances, mass = scatter(structure, rng)
    constant = covariances.clone()
    constant[:, 0] = 0.0
    if structure == "full":
        constant[:, :, 0] = 0.0
    found = prior(structure).renewed(constant, mass / N)
    assert torch.isfinite(found.covariances).all()
    assert found.distance(found) == 0.0


@own_covariances
def test_a_component_without_width_has_a_target_with_one(structure, rng):
    covariances, mass = scatter(structure, rng)
    covariances[0], mass[0] = 0.0, 1.0
    found = prior(structure).renewed(covariances, mass / N)
    assert torch.isfinite(found.scales).all()
    assert (found.scales > 0).all()
    wide = pulled(covariances, prior(structure).pull(mass / N, found))
    assert (torch.linalg.eigvalsh(matrices(structure, wide)) > 0).all()


@own_covariances
def test_term_of_the_cost_is_a_divergence(structure, rng):
    covariances, mass = scatter(structure, rng)
    pooled, covariance = prior(structure), make_covariance(structure)
    targets = pooled.renewed(covariances, mass / N)
    unknowns = Unknowns(mass / N, torch.zeros(4, D).double(), None, targets)
    unknowns = unknowns._replace(factors=covariance.factors(covariances))
    wanted = matrices(structure, targets.of_scales(targets.scales)).numpy()
    expected = 0.0
    for W, S in zip(wanted, matrices(structure, covariances).numpy(), strict=True):
        entropy = multivariate_normal(cov=W).entropy()
        cross = np.trace(np.linalg.solve(S, W)) + np.linalg.slogdet(2 * np.pi * S)[1]
        expected += 0.5 * cross - entropy
    assert float(pooled.value(unknowns)) == pytest.approx(2.5 / N * expected, rel=1e-9)


@own_covariances
def test_m_step_minimises_under_held_targets(structure, rng):
    """sum_j r_j (log|Sigma_j| + tr(inv(Sigma_j) S_j)) / 2N, and the prior's term."""
    covariances, mass = scatter(structure, rng)
    pooled, covariance = prior(structure), make_covariance(structure)
    targets = pooled.renewed(covariances, mass / N)
    pull = pooled.pull(mass / N, targets)
    factors = covariance.factors(pulled(covariances, pull)).requires_grad_()
    unknowns = Unknowns(mass / N, torch.zeros(4, D).double(), factors, targets)
    traces = covariance.relative_traces(factors, covariances, D)
    volumes = -2.0 * covariance.log_det(factors, D)
    expected = 0.5 * (mass / N * (traces + volumes)).sum()
    (slope,) = torch.autograd.grad(expected + pooled.value(unknowns), factors)
    assert_allclose(slope, 0.0, atol=1e-11)


@own_covariances
def test_gradient_of_the_term(structure, rng):
    covariances, mass = scatter(structure, rng)
    pooled, covariance = prior(structure), make_covariance(structure)
    targets = pooled.renewed(covariances, mass / N)
    means = torch.zeros(4, D).double()

    def value(factors):
        return pooled.value(Unknowns(mass / N, means, factors, targets))

    factors = covariance.factors(covariances) * 1.3
    assert torch.autograd.gradcheck(value, factors.requires_grad_(), rtol=1e-5)


@pytest.mark.parametrize("structure", ["tied", "tied_diag", "tied_spherical"])
def test_shared_covariances_are_pooled_already(structure):
    assert make_covariance(structure).pseudo_samples(D) == 0.0


def test_targets_that_rounding_leaves_singular(rng):
    """As where one sample is so far away that nothing else is left of a scatter."""
    covariances, mass = scatter("full", rng)
    away = torch.tensor([3e9, -1e10, 2e9]).double()
    far = covariances + away[:, None] * away
    pooled, covariance = prior("full"), make_covariance("full")
    targets = pooled.renewed(far, mass / N)
    assert torch.linalg.cholesky_ex(targets.covariances).info.any()
    factors = covariance.factors(far + 1e16 * torch.eye(D))
    unknowns = Unknowns(mass / N, torch.zeros(4, D).double(), factors, targets)
    assert 0.0 < float(pooled.value(unknowns)) < 10.0
