"""The package's covariance types keep their contract."""

import pytest

from tests.model.contract import CovarianceContract
from tests.reference import COVARIANCE_TYPES


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
class TestTypes(CovarianceContract):
    pass
