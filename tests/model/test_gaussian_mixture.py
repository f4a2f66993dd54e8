"""The fitted mixture as a value, and how it follows the attributes of estimators."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import GaussianMixture

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._data import fitted_model
from sklearn_keops_gmm._fit import CallbackSupport
from sklearn_keops_gmm._model import _from_arrays, model_of
from tests.common import blobs, new_scikit_learn
from tests.reference import COVARIANCE_TYPES

every_covariance_type = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
ESTIMATORS = [
    KeOpsGaussianMixture(3, random_state=0),
    KeOpsGaussianMixtureCV(12, random_state=0),
]
every_estimator = pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__
)


def fitted(structure="full", **parameters):
    model = KeOpsGaussianMixture(
        3, covariance_type=structure, random_state=0, **parameters
    )
    return model.fit(blobs())


# -- the value ---------------------------------------------------------------------


@every_covariance_type
def test_selected_components(structure):
    """Those that are kept have the same densities, and weights that sum to 1."""
    value = fitted_model(fitted(structure))
    kept = value.select(torch.tensor([True, False, True]))
    assert (value.n_components, kept.n_components) == (3, 2)
    assert_array_equal(kept.parameters.means, value.parameters.means[[0, 2]])
    assert float(kept.parameters.weights.sum()) == pytest.approx(1.0)
    expected = value.components.offsets[[0, 2]]
    lost = torch.log(1 - value.parameters.weights[1])
    assert_allclose(kept.components.offsets, expected - lost, rtol=1e-12)


@every_covariance_type
def test_numbers_are_counted_as_the_criteria_do(structure):
    X, model = blobs(), fitted(structure)
    value = fitted_model(model)
    expected = (model.aic(X) + 2 * len(X) * model.score(X)) / 2
    assert value.n_parameters == pytest.approx(expected)


@new_scikit_learn
@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_samples_are_those_of_scikit_learn(structure):
    theirs = GaussianMixture(3, covariance_type=structure, random_state=0).fit(blobs())
    value = fitted_model(KeOpsGaussianMixture.from_sklearn(theirs))
    points, components = value.sample(50, np.random.RandomState(0))
    theirs.set_params(random_state=0)
    expected, labels = theirs.sample(50)
    assert_allclose(points, expected, rtol=1e-12)
    assert_array_equal(components, labels)


def test_conditions_on_a_point():
    """Density of all features = of the given ones, times of the others given them."""
    value = fitted_model(fitted())
    point = torch.tensor([1.0, 2.0], dtype=torch.float64)

    def terms(model, x):
        parts = model.components
        whitened = (parts.factors.mT @ (x - parts.means)[:, :, None])[:, :, 0]
        return parts.offsets - 0.5 * whitened.square().sum(1)

    given = value.marginal([1])
    logits = terms(given, point[1:])
    conditional = value.condition([1], point[1:], logits.softmax(0))
    both = logits.logsumexp(0) + terms(conditional, point[:1]).logsumexp(0)
    assert float(both) == pytest.approx(float(terms(value, point).logsumexp(0)))


def test_what_is_derived_is_made_once_and_not_pickled():
    value = model_of("full", *_arrays_of(fitted()))
    before = pickle.dumps(value)
    assert value.components is value.components
    assert value.frame is value.frame
    assert len(pickle.dumps(value)) == len(before)
    again = pickle.loads(before)
    assert_array_equal(again.components.factors, value.components.factors)


def test_does_not_change():
    value = fitted_model(fitted())
    with pytest.raises(AttributeError):
        value.parameters = None


# -- the attributes that it is made of ---------------------------------------------


def _arrays_of(model):
    names = ("weights_", "means_", "covariances_", "precisions_cholesky_")
    return [getattr(model, name) for name in names]


@every_estimator
def test_few_classes_are_between_an_estimator_and_scikit_learn(estimator):
    classes = set(type(estimator).__mro__[1:]) - {CallbackSupport}
    ours = [cls for cls in classes if cls.__module__.startswith("sklearn_keops_gmm")]
    assert len(ours) <= 2
    assert issubclass(type(estimator), BaseEstimator)


@every_estimator
def test_attributes_are_plain_arrays(estimator):
    model = clone(estimator).fit(blobs())
    for array in _arrays_of(model):
        assert type(array) is np.ndarray
        assert array.flags.writeable
        assert array.base is None or not isinstance(array.base, np.ndarray)


@every_estimator
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.fast(4)
def test_editing_in_place_changes_answers(estimator, structure):
    X = blobs()
    model = clone(estimator).set_params(covariance_type=structure).fit(X)
    before, scores = model.predict(X), model.score_samples(X)
    model.means_[[0, 1]] = model.means_[[1, 0]]
    swapped = np.array([1, 0, *range(2, model.n_components_)])
    same_weights = clone(estimator).set_params(covariance_type=structure).fit(X)
    same_weights.means_ = same_weights.means_[swapped].copy()
    assert_array_equal(model.predict(X), same_weights.predict(X))
    assert (model.predict(X) != before).any()
    model.means_[[0, 1]] = model.means_[[1, 0]]
    assert_array_equal(model.score_samples(X), scores)
    model.weights_[:] = 1 / len(model.weights_)
    assert (model.score_samples(X) != scores).any()
    model.covariances_ *= 4
    model.precisions_cholesky_ /= 2
    assert model.sample(5000, random_state=0)[0].std() > X.std()


def test_attributes_share_nothing_with_what_is_kept():
    """Not with a warm start that made no step, nor with a marginal of all features."""
    X = blobs()
    model = fitted(warm_start=True)
    scores = model.score_samples(X)
    twin = copy.deepcopy(model).set_params(max_iter=0).fit(X)
    marginal = model.marginal([0, 1])
    for other in (twin, marginal):
        assert_allclose(other.score_samples(X), scores)
        for array in _arrays_of(other):
            array *= 1.5
    assert_array_equal(model.score_samples(X), scores)


@every_covariance_type
@pytest.mark.parametrize("solver", ["em", "adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_warm_starts_leave_what_is_kept_as_it_is(structure, solver):
    X, model = blobs(), fitted(structure, warm_start=True, solver=solver)
    kept = fitted_model(model)
    before = pickle.dumps(kept)
    further = copy.deepcopy(model).set_params(max_iter=3, tol=0.0).fit(X[:200])
    assert not np.array_equal(further.means_, model.means_)
    if solver == "em":
        copy.deepcopy(model).partial_fit(X[:100])
    assert pickle.dumps(kept) == before


def test_same_content_is_the_same_model():
    model = fitted()
    assert fitted_model(model) is fitted_model(copy.deepcopy(model))
    model.means_ += 1.0
    edited = fitted_model(model)
    assert edited is not fitted_model(fitted())
    model.means_ = model.means_.astype(np.float32)
    assert fitted_model(model) is not edited


def test_answers_leave_no_trace_in_the_estimator():
    X, model = blobs(), fitted()
    before, saved = set(vars(model)), pickle.dumps(model)
    model.predict(X), model.score(X), model.sample(3)
    assert set(vars(model)) == before
    assert pickle.dumps(model) == saved
    assert not hasattr(clone(model), "means_")


@pytest.mark.parametrize("n_components", [200, 2000])
def test_large_models_are_hardly_kept(n_components):
    """Two of some megabytes; none of more. A change in their midst is seen."""
    rng = np.random.default_rng(0)
    weights, means = np.full(n_components, 1.0), rng.normal(size=(n_components, 20))
    covariances = np.tile(np.eye(20), (n_components, 1, 1))
    found = []
    for shift in (0.0, 1.0, 2.0):
        means[n_components // 2] += shift
        found.append(model_of("full", weights, means, covariances, covariances))
        assert_array_equal(found[-1].parameters.means, means)
    again = model_of("full", weights, means, covariances, covariances)
    assert (again is found[-1]) == (n_components == 200)
    means[:] = found[1].parameters.means.numpy()
    before = model_of(
        "full", weights, np.asfortranarray(means), covariances, covariances
    )
    assert (before is found[1]) == (n_components == 200)
    assert_array_equal(before.parameters.means, means)
    assert _from_arrays._kept_large.cache_info().currsize <= 2


def test_threads_get_their_own_answers():
    """Mixtures are asked and edited at once, from an empty memory."""
    X = blobs()
    models = [fitted() for _ in range(8)]
    for shift, model in enumerate(models):
        model.means_ += shift
    expected = [copy.deepcopy(model).score_samples(X) for model in models]
    _from_arrays._kept_small.cache_clear()
    together = Barrier(len(models))

    def ask(k):
        together.wait()
        found = []
        for _ in range(20):
            models[k].means_ += 1.0
            models[k].predict(X[:1])
            models[k].means_ -= 1.0
            found.append(models[k].score_samples(X))
        return found

    with ThreadPoolExecutor(len(models)) as pool:
        for k, answers in enumerate(pool.map(ask, range(len(models)))):
            for answer in answers:
                assert_allclose(answer, expected[k], rtol=1e-9)


def test_another_covariance_type_is_refused():
    model = fitted("diag").set_params(covariance_type="full")
    with pytest.raises(ValueError, match="covariance_type='full' was set after"):
        model.predict(blobs())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "change",
    [
        lambda X: X[:, :1],
        lambda X: X[:0],
        lambda X: X[0],
        lambda X: np.where(X[3, 1] == X, np.inf, X),
        lambda X: X[None],
    ],
    ids=["few features", "no rows", "one row", "inf", "three dimensions"],
)
def test_what_is_wrong_with_an_array_is_said_as_by_scikit_learn(dtype, change):
    """Plain arrays go without most of its checks only if these would find nothing."""
    X = blobs().astype(dtype)
    wrong = change(X).astype(dtype)
    ours, theirs = (
        cls(3, random_state=0).fit(X) for cls in (KeOpsGaussianMixture, GaussianMixture)
    )
    said = []
    for model in (ours, theirs):
        with pytest.raises(ValueError, match=r"\w") as raised:
            model.predict(wrong)
        said.append(str(raised.value).replace("KeOpsGaussian", "Gaussian"))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "held",
    [
        np.asfortranarray,
        lambda X: X[::2],
        lambda X: X.astype(">f8"),
        lambda X: X[:, ::-1],
    ],
    ids=["columns", "every other", "big-endian", "backwards"],
)
def test_however_an_array_lies_in_memory(held):
    model, X = fitted(), held(blobs())
    plain = np.ascontiguousarray(X, dtype=np.float64)
    assert_array_equal(model.score_samples(X), model.score_samples(plain))


def test_numbers_whose_sum_overflows():
    X = np.full((4, 2), 3e38, np.float32)
    with np.errstate(all="raise"):
        labels = fitted().predict(X)
    assert len(set(labels)) == 1


def test_factors_that_were_changed_need_not_be_triangular():
    """Any root of the precisions is as good, in sums and in what is drawn."""
    X = blobs()
    mixture = KeOpsGaussianMixture(3, random_state=0).fit(X)
    expected = mixture.score_samples(X)
    angle = 0.7
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    mixture.precisions_cholesky_ = mixture.precisions_cholesky_ @ np.array(turn)
    assert_allclose(mixture.score_samples(X), expected, rtol=1e-10)
    log_det = fitted_model(mixture).components.offsets
    mixture.fit(X)
    assert_allclose(log_det, fitted_model(mixture).components.offsets, rtol=1e-10)
