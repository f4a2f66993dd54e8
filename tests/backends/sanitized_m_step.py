"""What `sanitized` does with the compiled M-step and sparse weights."""

from itertools import product

import numpy as np

from tests import reference
from tests.backends.arguments import FEATURES, hand_over_ugly, refused
from tests.backends.m_step_arguments import (
    m_step_arguments,
    sparse_weights_arguments,
    wrong_m_steps,
    wrong_sparse_weights,
)


def check_m_steps(module, rng):
    """Make M-steps of all sizes, hand over what is ugly, and what is wrong."""
    for covariance_type, n_components, n_features in product(
        reference.COVARIANCE_TYPES, (1, 2, 35), FEATURES
    ):
        given = m_step_arguments(covariance_type, n_components, n_features)
        for weights in (given["weights"], None):
            some = given | {"weights": weights}
            assert module.m_step(*some.values())
            assert np.isfinite(given["factors"]).all()
            names = ("mass", "first", "second", "means", "start")
            hand_over_ugly(module.m_step, some, names, rng)
    for _, wrong in wrong_m_steps():
        refused(module.m_step, wrong.values())


def check_sparse_weights(module, rng):
    """Find weights by both ways, hand over what is ugly, and what is wrong."""
    for size, price in product((1, 2, 8, 35), (0.0, 0.01, 3.0, 1e9)):
        given = sparse_weights_arguments(size) | {"price": price}
        module.sparse_weights(*given.values())
        assert np.isclose(given["weights"].sum(), 1.0)
        hand_over_ugly(module.sparse_weights, given, ("fractions", "start"), rng)
    for _, wrong in wrong_sparse_weights():
        refused(module.sparse_weights, wrong.values())
