"""One contract for every covariance structure."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model._parameters import Moments, Rounding
from sklearn_keops_gmm._model.covariances import COVARIANCES, _merging, make_covariance
from tests import reference
from tests.common import DENSE_BACKENDS, precisions
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
every_size = pytest.mark.parametrize("n_features", [1, 2, 5])


def make_mixture(rng, structure, n_features, n_components=3):
    matrices = rng.normal(size=(n_components, n_features, n_features))
    matrices = matrices @ np.swapaxes(matrices, 1, 2) + 0.5 * np.eye(n_features)
    covariances = {
        "full": matrices,
        "tied": matrices[0],
        "diag": np.diagonal(matrices, axis1=1, axis2=2).copy(),
        "spherical": matrices[:, 0, 0].copy(),
        "tied_diag": np.diagonal(matrices[0]).copy(),
        "tied_spherical": matrices[0, 0, :1].copy(),
    }[structure]
    weights = rng.dirichlet(np.ones(n_components))
    means = rng.normal(size=(n_components, n_features))
    return reference.Mixture(weights, means, covariances)


def test_registry():
    assert set(COVARIANCES) == set(COVARIANCE_TYPES)
    assert all(name == structure.name for name, structure in COVARIANCES.items())


@every_structure
@every_size
def test_factors(structure, n_features, rng):
    """Factors, precisions and covariances lead back to each other."""
    room = make_covariance(structure)
    mixture = make_mixture(rng, structure, n_features)
    covariances = torch.tensor(mixture.covariances)
    assert covariances.shape == room.shape(3, n_features)
    factors = room.factors(covariances)
    expected = reference.factors_of(structure, mixture.covariances)
    assert_allclose(factors, expected, rtol=1e-9, atol=1e-12)
    assert_allclose(room.covariances(factors), covariances, rtol=1e-9, atol=1e-12)
    precisions = room.precisions(factors)
    again = room.factors_of_precisions(precisions)
    assert_allclose(again, factors, rtol=1e-9, atol=1e-12)
    assert_allclose(room.triangular(factors), factors, rtol=1e-9, atol=1e-12)
    signs = -torch.ones_like(factors)
    assert_allclose(room.triangular(signs * factors), factors, rtol=1e-9, atol=1e-12)
    room.check_precisions(precisions.numpy())


@every_structure
@every_size
def test_matrices(structure, n_features, rng):
    mixture = make_mixture(rng, structure, n_features)
    found = make_covariance(structure).matrices(
        torch.tensor(mixture.covariances), torch.tensor(mixture.means)
    )
    expected = reference.as_matrices(structure, mixture.covariances, mixture.means)
    np.testing.assert_array_equal(found, expected)


@every_structure
@every_size
def test_offsets(structure, n_features, rng):
    mixture = make_mixture(rng, structure, n_features)
    _, offsets, means, factors = reference.components_of(structure, mixture)
    components = make_covariance(structure).components(
        torch.tensor(mixture.weights).log(), torch.tensor(means), torch.tensor(factors)
    )
    assert_allclose(components.offsets, offsets, rtol=1e-12)
    assert_allclose(components.means, means)
    found = reference.as_matrices(
        components.structure, components.factors.numpy(), means
    )
    assert_allclose(found, reference.as_matrices(structure, factors, means))


@every_structure
@every_size
@pytest.mark.parametrize("reg_covar", [0.0, 0.2])
def test_m_step(structure, n_features, reg_covar, rng):
    mixture = make_mixture(rng, structure, n_features)
    X = rng.normal(size=(60, n_features)) * 2 + 1
    sample_weight = rng.uniform(size=60)
    _, offsets, means, factors = reference.components_of(structure, mixture)
    matrices = reference.as_matrices(structure, factors, means)
    sums = reference.moments(X, sample_weight, "full", offsets, means, matrices)
    asked = make_covariance(structure).structure
    sums = sums._replace(second=reference.fold_scatter(asked, sums.second))
    arrays = (torch.tensor(np.asarray(part, float)) for part in sums[:3])
    means, covariances = make_covariance(structure).m_step(
        Moments(*arrays, sums.log_likelihood), torch.tensor(mixture.means), reg_covar
    )
    step = reference.em_step(
        X, structure, mixture, sample_weight=sample_weight, reg_covar=reg_covar
    )
    assert_allclose(means, step.means, rtol=1e-9, atol=1e-12)
    assert_allclose(covariances, step.covariances, rtol=1e-9, atol=1e-12)


def moments_of(X, structure, mixture):
    """Moments of `mixture` on `X` as its structure takes them."""
    _, offsets, means, factors = reference.components_of(structure, mixture)
    matrices = reference.as_matrices(structure, factors, means)
    sums = reference.moments(X, np.ones(len(X)), "full", offsets, means, matrices)
    second = reference.fold_scatter(make_covariance(structure).structure, sums.second)
    arrays = (
        torch.tensor(np.asarray(part, float))
        for part in (sums.mass, sums.first, second)
    )
    return Moments(*arrays, sums.log_likelihood)


def restricted(structure, own, tied):
    """The nearest that `structure` has to matrices of each and of all components."""
    D = len(tied)
    return {
        "full": own,
        "tied": tied,
        "diag": np.diagonal(own, axis1=1, axis2=2),
        "spherical": np.trace(own, axis1=1, axis2=2) / D,
        "tied_diag": np.diagonal(tied),
        "tied_spherical": np.atleast_1d(np.trace(tied) / D),
    }[structure]


@every_structure
@every_size
def test_merger_is_a_fit_to_the_union(structure, n_features, rng):
    """Merged moments are those of the added responsibilities."""
    room = make_covariance(structure)
    mixture = make_mixture(rng, structure, n_features, n_components=4)
    X = rng.normal(size=(80, n_features)) * 2 + 1
    labels = np.array([1, 0, 1, 2])
    moments, means = room.merge(
        moments_of(X, structure, mixture),
        torch.tensor(mixture.means),
        torch.tensor(labels),
        3,
    )
    found_means, found = room.m_step(moments, means, 0.0)
    parts = reference.components_of(structure, mixture)
    pulls = reference.responsibilities(X, *parts) @ np.eye(3)[labels]
    mass = pulls.sum(0)
    centres = (pulls.T @ X) / mass[:, None]
    differences = X[:, None] - centres
    scatter = np.einsum("nj,nja,njb->jab", pulls, differences, differences)
    expected = restricted(
        structure, scatter / mass[:, None, None], scatter.sum(0) / len(X)
    )
    assert_allclose(moments.mass, mass, rtol=1e-12)
    assert_allclose(found_means, centres, rtol=1e-10, atol=1e-12)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@every_structure
@every_size
def test_merge_losses(structure, n_features, rng):
    """What the likelihood of data falls by that know their component."""
    mixture = make_mixture(rng, structure, n_features, n_components=4)
    weights, means = mixture.weights, mixture.means
    own = reference.as_matrices(structure, mixture.covariances, means)
    volumes = np.linalg.slogdet(own).logabsdet
    pairs = np.array([[0, 1], [2, 3], [1, 3]])
    losses = make_covariance(structure).merge_losses(
        torch.tensor(weights),
        torch.tensor(means),
        torch.tensor(mixture.covariances),
        torch.tensor(pairs),
    )
    for (i, j), loss in zip(pairs, losses, strict=True):
        mass, gap = weights[i] + weights[j], means[i] - means[j]
        between = weights[i] * weights[j] / mass * np.outer(gap, gap)
        union = (weights[i] * own[i] + weights[j] * own[j] + between) / mass
        nearest = restricted(structure, union[None], own[0] + between)
        after = np.linalg.slogdet(
            reference.as_matrices(structure, nearest, means[:1])
        ).logabsdet[0]
        if structure.startswith("tied"):
            expected = 0.5 * (after - volumes[0])
        else:
            kept = weights[i] * volumes[i] + weights[j] * volumes[j]
            expected = 0.5 * (mass * after - kept)
        assert loss == pytest.approx(expected, rel=1e-9)


@every_structure
def test_merge_losses_some_at_a_time(structure, monkeypatch, rng):
    """However few covariances are held at once."""
    room = make_covariance(structure)
    mixture = make_mixture(rng, structure, 3)
    arrays = (mixture.weights, mixture.means, mixture.covariances)
    arrays = [torch.tensor(array) for array in arrays]
    pairs = torch.combinations(torch.arange(len(mixture.weights)))
    whole = room.merge_losses(*arrays, pairs)
    monkeypatch.setattr(_merging, "_MERGED", 18)
    assert torch.equal(room.merge_losses(*arrays, pairs), whole)


@every_structure
@every_size
def test_longest_axis(structure, n_features, rng):
    """Its square is the largest of the variances along any direction."""
    room = make_covariance(structure)
    mixture = make_mixture(rng, structure, n_features)
    covariance = room.of_one(torch.tensor(mixture.covariances), 1)
    spreads = rng.lognormal(size=n_features)
    if "spherical" in structure:  # all features have one unit
        spreads[:] = 1.0
    axis = room.longest_axis(covariance, torch.tensor(spreads)).numpy() / spreads
    matrix = reference.as_matrices(structure, mixture.covariances, mixture.means)[1]
    matrix = matrix / np.multiply.outer(spreads, spreads)
    assert axis @ axis == pytest.approx(np.linalg.eigvalsh(matrix)[-1])
    assert axis @ matrix @ axis == pytest.approx((axis @ axis) ** 2)


@every_structure
@pytest.mark.parametrize(("width", "kept"), [(1e-15, False), (1e-10, True)])
@pytest.mark.parametrize("strict", [False, True])
def test_rounding_of_means_is_no_width(structure, width, kept, strict):
    """A variance that the last digit of the mean explains is none."""
    room = make_covariance(structure)
    mass = torch.tensor([300.0, 400.0], dtype=torch.float64)
    means = torch.full((2, 2), 62.0, dtype=torch.float64)
    second = torch.tensor(precisions(room.structure, width**2, 2, 2))
    second *= 700 if room.structure == "tied" else 400
    moments = Moments(mass, torch.zeros_like(means), second, 0.0)
    rounding = None
    if strict:
        rounding = Rounding(torch.zeros_like(means[0]), means.dtype).near(means)
    _, covariances = room.m_step(moments, means, 0.0, rounding)
    if kept:
        assert bool((room.matrices(covariances, means).diagonal(0, 1, 2) > 0).all())
        room.factors(covariances)
    else:
        with pytest.raises(ValueError, match="ill-defined empirical covariance"):
            room.factors(covariances)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", DENSE_BACKENDS)
def test_covariances_are_symmetric(structure, dtype, backend, rng):
    """To the last bit, also where sums are in another basis, beside far samples."""
    X = rng.standard_t(1.5, size=(500, 4)) * [1, 1e3, 1, 1] @ rng.normal(size=(4, 4))
    model = KeOpsGaussianMixture(
        2, covariance_type=structure, backend=backend, random_state=0
    ).fit(X.astype(dtype))
    found = model.covariances_
    assert_array_equal(found, np.swapaxes(found, -1, -2))


@every_structure
def test_collapse(structure):
    """A width of zero is regularised where it may be, and an error where not."""
    room = make_covariance(structure)
    mass = torch.tensor([3.0, 4.0], dtype=torch.float64)
    means = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    second = torch.tensor(precisions(room.structure, 0.0, 2, 2))
    moments = Moments(mass, torch.zeros_like(means), second, 0.0)
    _, covariances = room.m_step(moments, means, 1e-3)
    expected = precisions(structure, 1e-3, 2, 2)
    assert_allclose(covariances, expected, rtol=1e-9, atol=1e-14)
    _, covariances = room.m_step(moments, torch.zeros_like(means), 0.0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        room.factors(covariances)


@every_structure
@every_size
def test_parameters_are_counted_as_in_scikit_learn(structure, n_features):
    free = {
        "full": 3 * n_features * (n_features + 1) // 2,
        "tied": n_features * (n_features + 1) // 2,
        "diag": 3 * n_features,
        "spherical": 3,
        "tied_diag": n_features,
        "tied_spherical": 1,
    }
    assert make_covariance(structure).n_parameters(3, n_features) == free[structure]
