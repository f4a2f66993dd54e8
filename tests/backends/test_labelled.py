"""Reductions over rows of which some have a label, against all pairs."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_keops_gmm.backends import LabelledBackend, get_backend
from tests import reference
from tests.backends.cases import every_backend, every_structure, make_case


@every_backend
@every_structure
def test_answers(name, structure, rng):
    case = make_case(rng, structure, np.float64, weighted=True)
    n_samples, n_components = len(case.points), len(case.offsets)
    labels = rng.integers(-1, n_components, size=n_samples)
    terms = reference.pair_terms(case.points, *case.mixture).astype(float)
    others = (np.arange(n_components) != labels[:, None]) & (labels >= 0)[:, None]
    terms[others] = -np.inf
    totals = reference.log_sum_exp(terms)
    shares = np.exp(terms - totals[:, None])

    backend = LabelledBackend(get_backend(name), torch.tensor(labels))
    weights = torch.tensor(case.sample_weight)
    bound = backend(torch.tensor(case.points), weights, case.frame())
    components = case.components()
    assert backend.structures == get_backend(name).structures
    assert bound.n_samples == n_samples
    assert_allclose(bound.log_density(components), totals, rtol=1e-9)
    assert_allclose(bound.responsibilities(components), shares, atol=1e-9)
    assert_array_equal(bound.labels(components), shares.argmax(1))
    mass = case.sample_weight @ shares
    assert_allclose(bound.moments(components).mass, mass, rtol=1e-9)

    rows = torch.arange(0, n_samples, 3)
    some = bound.of_rows(rows)
    assert_allclose(some.log_density(components), totals[rows], rtol=1e-9)
    bound.moments(components)
    doubled = bound.reweighted(2 * weights)
    assert_allclose(doubled.sample_weight, 2 * case.sample_weight)
    assert_allclose(doubled.moments(components).mass, 2 * mass, rtol=1e-9)
    plain = bound.factory(structure)(torch.tensor(case.points), None)
    expected = reference.log_density(case.points, *case.mixture)
    assert_allclose(plain.log_density(components), expected, rtol=1e-9)


def test_labels_that_are_there_say_which_rows(rng):
    """A row far from its component has a likelihood all the same."""
    case = make_case(rng, "diag", np.float32)
    labels = torch.full((len(case.points),), 1)
    bound = LabelledBackend(get_backend("torch"), labels)(
        torch.tensor(case.points) + 1e4, None, case.frame()
    )
    found = bound.moments(case.components())
    assert found.mass[1] == pytest.approx(len(case.points))
    assert np.isfinite(found.log_likelihood)
