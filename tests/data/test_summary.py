"""What samples say of a mixture, however they are held."""

from copy import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import blobs, start
from tests.data.sources import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_pieces_add_up(name, one_thread):
    kind, X = KINDS[name], blobs()
    weights = np.linspace(0, 2, len(X))
    given = start(X, "full", 3) | {"max_iter": 5}
    fitted = KeOpsGaussianMixture(**given).fit(X)
    whole = fitted.summary(X, sample_weight=weights)
    model = KeOpsGaussianMixture(**given).fit(kind.hold(X))
    parts = model.summary(kind.hold(X), sample_weight=kind.weigh(weights))
    assert_allclose(parts.counts, whole.counts, rtol=1e-12)
    assert_allclose(parts.icl, whole.icl, rtol=1e-8)
    assert_allclose(parts.samples.size, weights.sum() ** 2 / (weights**2).sum())
    assert_allclose(parts.bic, model.bic(kind.hold(X), kind.weigh(weights)))
    # In another unit.
    assert_allclose(parts.bic, fitted.bic(X, 1e-3 * weights))


@pytest.mark.parametrize("name", KINDS)
def test_integers_count_as_rows(name, one_thread):
    kind, X = KINDS[name], blobs()
    weights = np.arange(len(X)) % 4
    model = KeOpsGaussianMixture(**start(X, "full", 3) | {"max_iter": 5})
    on_rows = copy(model).fit(X)
    model.fit(kind.hold(X))
    for name in ("aic", "bic"):
        found = getattr(model, name)(kind.hold(X), kind.weigh(weights))
        assert_allclose(found, getattr(on_rows, name)(X.repeat(weights, axis=0)))


@pytest.mark.parametrize("name", KINDS)
def test_rows_of_nothing_do_not_count(name, one_thread):
    """Nor do their weights, which tell how many samples others are."""
    kind, X = KINDS[name], blobs()
    gaps = np.where(np.arange(len(X))[:, None] < 150, np.nan, X)
    model = KeOpsGaussianMixture(**start(X, "full", 3) | {"max_iter": 5})
    plain = copy(model).fit(X)
    model.fit(kind.hold(X))
    for weights in (np.linspace(0.1, 2, 400), np.where(np.arange(400) < 150, 0.5, 1)):
        given = kind.hold(gaps), kind.weigh(weights)
        for criterion in ("aic", "bic"):
            expected = getattr(plain, criterion)(X[150:], weights[150:])
            assert_allclose(getattr(model, criterion)(*given), expected, rtol=1e-9)
