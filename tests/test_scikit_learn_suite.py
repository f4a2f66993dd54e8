"""scikit-learn's own tests of GaussianMixture, run with our class in its place."""

import inspect
import types

import pytest
import sklearn
from sklearn.mixture.tests import test_gaussian_mixture as theirs

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import new_scikit_learn

pytestmark = new_scikit_learn

# Each left out by name and reason.
LEFT_OUT = {
    "test_check_weights": "demands a message in which minimum and maximum are swapped",
    "test_gaussian_mixture_precisions_init": "calls _initialize and _set_parameters",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of a private function of scikit-learn"
    ),
    "test_gaussian_mixture_raises_where_array_api_not_implemented": (
        "demands an error for starts that work here"
    ),
}


class GaussianMixture(KeOpsGaussianMixture):
    """The name that their messages have."""


def load():
    """Execute their file with our class under the name of theirs."""
    source = inspect.getsource(theirs)
    line = "from sklearn.mixture import GaussianMixture"
    assert source.count(line + "\n") == 1
    module = types.ModuleType("their_tests")
    module.GaussianMixture = GaussianMixture
    exec(
        compile(source.replace(line, ""), inspect.getfile(theirs), "exec"), vars(module)
    )
    return module


module = load()
tests = {
    name: value
    for name, value in vars(module).items()
    if name.startswith("test_") and name not in LEFT_OUT
}
# pytest collects these as tests of this file, with their own parameters.
globals().update(tests)


@pytest.fixture(params=[0, 42])
def global_random_seed(request):
    return request.param


@pytest.fixture(params=["float64", "float32"])
def global_dtype(request):
    return request.param


def test_nothing_is_left_out_in_vain():
    assert set(LEFT_OUT) <= set(vars(module))
    assert len(tests) > 30, sklearn.__version__
