"""The criteria against scikit-learn and against their definitions."""

import numpy as np
import pytest

from sklearn_keops_gmm import sparsity_path
from sklearn_keops_gmm._data import as_source
from sklearn_keops_gmm._fit import Path
from sklearn_keops_gmm._model._criteria import CRITERIA
from sklearn_keops_gmm._sparsity_path import path_estimator
from tests.common import blobs
from tests.reference import COVARIANCE_TYPES

every_structure = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def last_members(structure, X, weights=None):
    """The members of a path with their estimators."""
    parameters = {"covariance_type": structure, "random_state": 0}
    mixture, tol = path_estimator(4, parameters)
    members = Path(mixture, as_source(X, weights).read(mixture, 1), tol).converged()
    path = sparsity_path(
        X, 4, covariance_type=structure, random_state=0, sample_weight=weights
    )
    return list(zip(members, path.mixtures, strict=True))


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.fast(4)
def test_criteria(structure, weighted, rng):
    X = blobs()
    weights = rng.uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    for member, fitted in last_members(structure, X, weights):
        # In the unit in which they sum to their effective number.
        weights = weights * weights.sum() / (weights**2).sum()
        K, total = fitted.n_components_, weights.sum()
        deviance = -2 * weights @ fitted.score_samples(X)
        shares = fitted.predict_proba(X)
        entropy = -weights @ (shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        bic = fitted.bic(X, sample_weight=weights)
        own = {"full": 5, "diag": 4, "spherical": 3}.get(structure, 2)
        shared = {"tied": 3, "tied_diag": 2, "tied_spherical": 1}.get(structure, 0)
        lic = deviance + 3 * (K * own + shared) + 2 * K * np.log(total)
        expected = {"bic": bic, "icl": bic + 2 * entropy, "lic": lic}
        assert member.evidence.entropy == pytest.approx(entropy, abs=1e-7)
        for name, criterion in CRITERIA.items():
            assert criterion(member.evidence) == pytest.approx(expected[name], rel=1e-9)
