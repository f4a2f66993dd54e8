"""What samples say of a mixture, however they are held."""

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
    whole = KeOpsGaussianMixture(**given).fit(X).summary(X, sample_weight=weights)
    model = KeOpsGaussianMixture(**given).fit(kind.hold(X))
    parts = model.summary(kind.hold(X), sample_weight=kind.weigh(weights))
    assert_allclose(parts.counts, whole.counts, rtol=1e-12)
    assert_allclose(parts.icl, whole.icl, rtol=1e-8)
    assert_allclose(parts.samples.size, weights.sum())
