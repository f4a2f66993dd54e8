"""The compiled M-step: held to the reference, and to the one in torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm._model import (
    ComponentPrice,
    Moments,
    PooledCovariances,
    Priors,
    Ridge,
    RootPrice,
    SparsityPrior,
)
from sklearn_keops_gmm._model.covariances import COVARIANCES, make_covariance, pulled
from sklearn_keops_gmm.backends import BACKENDS, compiled_m_step
from tests import reference
from tests.backends.m_step_arguments import m_step_arguments, wrong_m_steps
from tests.common import needs_compiled
from tests.reference import COVARIANCE_TYPES, Wide

pytestmark = needs_compiled

every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def draw_sums(rng, n_components, n_features, n_samples=400):
    """Return full sums, in long double, of random shares about random means."""
    shares = rng.dirichlet(np.ones(n_components), size=n_samples).astype(Wide)
    means = rng.normal(size=(n_components, n_features))
    slopes = rng.normal(scale=0.3 / np.sqrt(n_features), size=(n_features, n_features))
    points = rng.normal(size=(n_samples, n_features))
    points += points @ slopes
    differences = points[:, None] - means
    return means, reference.Sums(
        shares.sum(axis=0),
        np.einsum("ij,ija->ja", shares, differences),
        np.einsum("ij,ija,ijb->jab", shares, differences, differences),
        0.0,
    )


def moments_of(covariance, sums):
    """Return the moments that a backend makes of them."""
    second = reference.fold_scatter(covariance.structure, sums.second)
    arrays = (sums.mass, sums.first, second)
    return Moments(*(torch.tensor(np.asarray(a, float)) for a in arrays), 0.0)


def in_torch(covariance, moments, means, ridge, pull=None):
    """Return what the structure itself makes of them: means, covariances, factors."""
    found, covariances = covariance.m_step(moments, means, ridge.amounts)
    if pull is not None:
        covariances = pulled(covariances, pull)
    return found, covariances, covariance.factors(covariances)


def compiled(covariance, moments, means, ridge, *others):
    step = compiled_m_step(BACKENDS["native"], covariance)
    return step(moments, means, ridge, *others)


def assert_close(found, expected, rtol, before=0.0):
    """Beside the largest number, and those they were before, as rounding scales."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(np.abs(expected).max(), np.abs(np.asarray(before)).max())
    assert_allclose(found, expected, rtol=0, atol=rtol * scale)


@every_type
@pytest.mark.parametrize("n_features", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("n_components", [1, 2, 7])
@pytest.mark.fast(90)
def test_same_as_the_reference(module, covariance_type, n_components, n_features, rng):
    means, sums = draw_sums(rng, n_components, n_features)
    covariance = make_covariance(covariance_type)
    moments = moments_of(covariance, sums)
    found = compiled(covariance, moments, torch.tensor(means), Ridge(1e-3))
    expected = reference.m_step(covariance_type, sums, means, 1e-3)
    assert_close(found.weights, expected.weights, 1e-14)
    assert_close(found.means, expected.means, 1e-14, means)
    assert_close(found.covariances, expected.covariances, 2e-14)
    factors = reference.factors_of(covariance_type, expected.covariances)
    assert_close(found.precisions_cholesky, factors, 1e-13)
    matrices, roots = (
        reference.as_matrices(covariance_type, array.numpy(), means)
        for array in (found.covariances, found.precisions_cholesky)
    )
    products = np.swapaxes(roots, 1, 2) @ matrices @ roots
    assert_close(products, np.broadcast_to(np.eye(n_features), products.shape), 1e-13)
    assert not np.tril(roots, -1).any()
    assert (np.diagonal(roots, axis1=1, axis2=2) > 0).all()


@every_type
def test_backends_know_the_mixture(module, covariance_type, rng):
    """What they need is what the structure makes of the parameters."""
    means, sums = draw_sums(rng, 4, 3)
    covariance = make_covariance(covariance_type)
    found = compiled(
        covariance, moments_of(covariance, sums), torch.tensor(means), Ridge(0.1)
    )
    expected = covariance.components(
        found.weights.log(), found.means, found.precisions_cholesky, triangular=True
    )
    components = found.components
    assert components.structure == expected.structure
    assert components.triangular
    assert components.noise_weight == 0.0
    assert_allclose(components.offsets, expected.offsets, rtol=1e-14)
    assert_array_equal(components.means, expected.means)
    assert_array_equal(components.factors, expected.factors)
    # Another mixture is not known by what this one was.
    assert replace(found, weights=found.weights / 2).components is None


@every_type
def test_a_ridge_for_each_feature(module, covariance_type, rng):
    means, sums = draw_sums(rng, 3, 4)
    covariance, means = make_covariance(covariance_type), torch.tensor(means)
    ridge = Ridge(2.0, torch.tensor([1.0, 0.0, 0.25, 0.5], dtype=torch.float64))
    moments = moments_of(covariance, sums)
    found = compiled(covariance, moments, means, ridge)
    expected = in_torch(covariance, moments, means, ridge)
    assert_close(found.means, expected[0], 1e-15, means)
    assert_close(found.covariances, expected[1], 1e-14)
    assert_close(found.precisions_cholesky, expected[2], 1e-12)


@every_type
@pytest.mark.parametrize("shape", ["strided", "asymmetric"])
def test_moments_as_other_sums_have_them(module, covariance_type, shape, rng):
    means, sums = draw_sums(rng, 3, 4)
    covariance, means = make_covariance(covariance_type), torch.tensor(means)
    plain = moments_of(covariance, sums)
    if shape == "strided":
        mass = torch.stack((plain.mass, plain.mass), 1)[:, 0]
        given = replace(plain, mass=mass)
        expected = compiled(covariance, plain, means, Ridge(0.1))
    else:
        # Rounding, on a scale on which it is seen.
        noise = 1e-6 * torch.arange(plain.second.numel()).reshape(plain.second.shape)
        given = replace(plain, second=plain.second + noise)
        _, covariances, _ = in_torch(covariance, given, means, Ridge(0.1))
        expected = replace(
            compiled(covariance, plain, means, Ridge(0.1)), covariances=covariances
        )
    found = compiled(covariance, given, means, Ridge(0.1))
    assert_close(found.weights, expected.weights, 1e-15)
    assert_close(found.covariances, expected.covariances, 1e-14)


@every_type
@pytest.mark.parametrize("far", [0.0, 1e9])
@pytest.mark.parametrize("n_features", [1, 3])
def test_what_the_mass_floor_adds(module, covariance_type, far, n_features, rng):
    """To components of less than two samples, but for a matrix of their own."""
    means, sums = draw_sums(rng, 4, n_features)
    covariance, means = make_covariance(covariance_type), torch.tensor(means + far)
    moments = moments_of(covariance, sums)
    moments.mass[1], moments.first[1] = 1.0, 0.0
    if not covariance.shared:
        moments.second[1] = 0.0
    found = compiled(covariance, moments, means, Ridge(1e-18))
    expected = in_torch(covariance, moments, means, Ridge(1e-18))
    assert_close(found.means, expected[0], 1e-15, means)
    assert_allclose(found.covariances, expected[1], rtol=1e-9)
    if covariance.structure in ("diag", "spherical"):  # where no condition counts
        assert_allclose(found.precisions_cholesky, expected[2], rtol=1e-9)


@every_type
def test_weights_that_are_known(module, covariance_type, rng):
    means, sums = draw_sums(rng, 4, 3)
    covariance, means = make_covariance(covariance_type), torch.tensor(means)
    moments, ridge = moments_of(covariance, sums), Ridge(0.1)
    weights = torch.tensor([0.1, 0.0, 0.2, 0.3]).double()
    found = compiled(covariance, moments, means, ridge, weights)
    plain = compiled(covariance, moments, means, ridge)
    assert_array_equal(found.weights, weights)
    assert_array_equal(found.covariances, plain.covariances)
    offsets = plain.components.offsets - plain.weights.log() + weights.log()
    assert_allclose(found.components.offsets, offsets, rtol=1e-14)


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("price", [0.0, 0.3, 1.5])
def test_roots_of_weights_with_a_price(module, price, share, rng):
    """They are those of the prior: of all components, or beside some that are held."""
    means, sums = draw_sums(rng, 4, 3)
    covariance, means = make_covariance("full"), torch.tensor(means)
    moments, ridge = moments_of(covariance, sums), Ridge(0.1)
    start = share * torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    whole = 0.0 if share == 1.0 else 1000.0
    found = compiled(
        covariance, moments, means, ridge, RootPrice(price, start, share, whole)
    )
    fractions = moments.mass / (whole or moments.mass.sum())
    prior = SparsityPrior(4 * price, 4)
    assert Priors(prior, ComponentPrice(2.0)).root_price == price
    weights = prior.maximize_weights(fractions, start, share)
    assert_allclose(found.weights, weights, rtol=1e-13)
    expected = compiled(covariance, moments, means, ridge, weights)
    assert_array_equal(found.covariances, expected.covariances)
    assert_allclose(
        found.components.offsets, expected.components.offsets, rtol=0, atol=1e-12
    )


def test_a_component_that_its_price_extinguishes(module, rng):
    """Which component leaves is for others to tell."""
    means, sums = draw_sums(rng, 4, 3)
    covariance, means = make_covariance("full"), torch.tensor(means)
    moments, start = moments_of(covariance, sums), torch.full((4,), 0.25).double()
    moments.mass[1] *= 1e-3
    price = RootPrice(5.0, start)
    assert compiled(covariance, moments, means, Ridge(0.1), price) is None


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("mass", [100.0, 1.0])
def test_pulled_to_targets(module, covariance_type, mass, rng):
    """More samples of a shape, also for a component of one sample."""
    n_components, n_features = 4, 3
    means, sums = draw_sums(rng, n_components, n_features)
    covariance, means = make_covariance(covariance_type), torch.tensor(means)
    moments = moments_of(covariance, sums)
    for array in (moments.first, moments.second, moments.mass):
        array[1] *= mass / moments.mass[1]
    fractions = moments.mass / moments.mass.sum()
    prior = PooledCovariances(covariance, 2.5, 400.0, n_features)
    _, scatter = covariance.m_step(moments, means, 1e-6)
    targets = prior.renewed(scatter, fractions)
    pull, ridge = prior.pull(fractions, targets), Ridge(1e-6)
    found = compiled(covariance, moments, means, ridge, fractions, pull)
    expected = in_torch(covariance, moments, means, ridge, pull)
    assert found.targets is targets
    assert_close(found.means, expected[0], 1e-15, means)
    assert_close(found.covariances, expected[1], 1e-14)
    assert_close(found.precisions_cholesky, expected[2], 1e-12)
    assert compiled(make_covariance("tied"), moments, means, ridge, None, pull) is None


def test_components_without_samples(module, rng):
    """A matrix of their own is the ridge, and their mean the origin."""
    means, sums = draw_sums(rng, 3, 2)
    covariance, means = make_covariance("full"), torch.tensor(means)
    moments = moments_of(covariance, sums)
    for array in (moments.mass, moments.first, moments.second):
        array[1] = 0.0
    found = compiled(covariance, moments, means, Ridge(0.1))
    expected = in_torch(covariance, moments, means, Ridge(0.1))
    for have, want in zip(
        (found.means, found.covariances, found.precisions_cholesky),
        expected,
        strict=True,
    ):
        assert_close(have, want, 1e-12)
    assert found.weights[1] == 0.0
    assert found.components.offsets[1] == -torch.inf


@every_type
@pytest.mark.parametrize("case", ["NaN", "no mass", "collinear", "many features"])
def test_what_torch_has_to_tell(module, covariance_type, case, rng):
    n_features = 33 if case == "many features" else 3
    means, sums = draw_sums(rng, 2, n_features)
    covariance = make_covariance(covariance_type)
    moments, ridge = moments_of(covariance, sums), Ridge(1e-6)
    if case == "NaN":
        moments.second[...] = torch.nan
    elif case == "no mass":
        moments.mass[:] = 0.0
    elif case == "collinear":
        moments.second[...] = 1e12
        ridge = Ridge(1e-6)
    found = compiled(covariance, moments, torch.tensor(means), ridge)
    matrices = covariance.structure in ("full", "tied")
    can = not matrices and case in ("collinear", "many features")
    assert (found is not None) == can


def test_only_what_it_knows():
    """Of structures and backends."""

    class Derived(COVARIANCES["full"]):
        """Full covariances that may do otherwise."""

    assert compiled_m_step(BACKENDS["native"], Derived()) is None
    for name in ("torch", "keops"):
        assert compiled_m_step(BACKENDS[name], make_covariance("full")) is None


numbers = st.floats(-1e3, 1e3) | st.floats()


@given(st.data())
@every_type
@pytest.mark.fast(2)
def test_ugly_numbers(covariance_type, data):
    """Where it answers, that is what torch answers, which raises nothing."""
    covariance = make_covariance(covariance_type)
    given = m_step_arguments(covariance_type, 2, 2)
    for name in ("mass", "first", "second", "means"):
        array = given[name]
        if name != "mass" and data.draw(st.booleans()):
            array[...] = data.draw(st.floats(-10, 10))
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, array.size - 1))
            array.flat[place] = data.draw(numbers)
    moments = Moments(*(torch.tensor(given[k]) for k in ("mass", "first", "second")), 0)
    means, ridge = torch.tensor(given["means"]), Ridge(data.draw(st.floats(1e-9, 10)))
    found = compiled(covariance, moments, means, ridge)
    if found is None:
        return
    expected, covariances, _ = in_torch(covariance, moments, means, ridge)
    assert_close(found.means, expected, 1e-13, means)
    # Of the terms that are added up: large ones may cancel.
    shifts = expected - means
    terms = moments.second.abs().max() + (moments.first.abs() * shifts.abs()).max()
    terms = terms + (moments.mass.abs().max() * shifts.abs().max() ** 2)
    terms = float(terms / moments.mass.min().clamp_min(1e-14) + ridge.size)
    rounding = 1e-13 * min(terms, np.finfo(float).max)
    assert_allclose(found.covariances, covariances, rtol=1e-13, atol=rounding)
    assert np.isfinite(found.precisions_cholesky.numpy()).all()


def test_no_wrong_arguments(module):
    assert module.m_step(*m_step_arguments().values())
    for name, wrong in wrong_m_steps():
        with pytest.raises(ValueError, match=rf"^{name}: expected .+, got ."):
            module.m_step(*wrong.values())
