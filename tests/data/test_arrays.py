"""Tensors in, tensors out, and arrays of every layout."""

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose

from sklearn_keops_gmm import KeOpsGaussianMixture
from tests.common import iris, new_scikit_learn

METHODS = ["score_samples", "predict", "predict_proba"]
ATTRIBUTES = [
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
]


@new_scikit_learn
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.fast(4)
def test_tensors(device, dtype, init_params):
    X = torch.tensor(iris(), dtype=dtype, device=device)
    model = KeOpsGaussianMixture(3, init_params=init_params, random_state=0)
    expected = KeOpsGaussianMixture(**model.get_params()).fit(X.cpu().numpy())
    with sklearn.config_context(array_api_dispatch=True):
        model.fit(X)
        for name in ATTRIBUTES:
            found = getattr(model, name)
            assert isinstance(found, torch.Tensor)
            assert (found.dtype, found.device) == (dtype, X.device)
            assert_allclose(found.cpu(), getattr(expected, name), rtol=1e-3)
        for method in METHODS:
            found = getattr(model, method)(X)
            assert isinstance(found, torch.Tensor)
            assert found.device == X.device
            wanted = getattr(expected, method)(X.cpu().numpy())
            assert_allclose(found.cpu(), wanted, rtol=1e-3, atol=1e-5)
        points, labels = model.sample(5)
        assert isinstance(points, torch.Tensor)
        assert isinstance(labels, torch.Tensor)
        assert isinstance(model.score(X), float)


def test_tensors_without_dispatch_are_data():
    X = torch.tensor(iris())
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    assert isinstance(model.means_, np.ndarray)
    assert isinstance(model.predict(X), np.ndarray)


DISPATCH = [False, pytest.param(True, marks=new_scikit_learn)]


@pytest.mark.parametrize("dispatch", DISPATCH)
def test_tensors_that_numpy_cannot_read(dispatch):
    values = torch.tensor(iris())
    ones = torch.ones(150, dtype=torch.float64)
    exact = KeOpsGaussianMixture(3, random_state=0)
    with sklearn.config_context(array_api_dispatch=dispatch):
        means = exact.fit(values, sample_weight=ones).means_
        with_gradient = values.clone().requires_grad_()
        weights = ones.clone().requires_grad_()
        model = KeOpsGaussianMixture(3, random_state=0)
        assert_allclose(model.fit(with_gradient, sample_weight=weights).means_, means)
        assert_allclose(model.predict(with_gradient), exact.predict(values))
        short = values.bfloat16()
        found = model.fit(short, sample_weight=ones.bfloat16()).means_
        expected = exact.fit(short.float(), sample_weight=ones).means_
        assert found.dtype == expected.dtype
        assert_allclose(found, expected)
        assert_allclose(model.predict(short), exact.predict(short.float()))


@new_scikit_learn
def test_sample_weight_and_starts_as_tensors():
    X = torch.tensor(iris())
    weights = torch.arange(len(X), dtype=torch.float64)
    given = {"means_init": X[[0, 60, 120]], "weights_init": torch.full((3,), 1 / 3)}
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture(3, **given, random_state=0)
        model.fit(X, sample_weight=weights)
        found = model.score(X, sample_weight=weights)
    plain = {name: np.asarray(value) for name, value in given.items()}
    expected = KeOpsGaussianMixture(3, **plain, random_state=0)
    expected.fit(iris(), sample_weight=weights.numpy())
    assert_allclose(model.means_, expected.means_)
    assert found == pytest.approx(expected.score(iris(), sample_weight=weights.numpy()))


def test_data_are_left_alone():
    X = iris().copy()
    model = KeOpsGaussianMixture(3, random_state=0)
    for dtype in (np.float64, np.float32):
        given = X.astype(dtype)
        before = given.copy()
        model.fit(given, sample_weight=np.ones(len(given), dtype))
        model.predict_proba(given)
        np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda X: X.astype(">f8"),
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: X[::-1][::-1],
        lambda X: np.broadcast_to(X, X.shape),
    ],
    ids=["fortran", "big-endian", "strided", "reversed", "read-only"],
)
def test_layouts(layout):
    expected = KeOpsGaussianMixture(3, random_state=0).fit(iris())
    model = KeOpsGaussianMixture(3, random_state=0).fit(layout(iris()))
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(
        model.predict_proba(layout(iris())), expected.predict_proba(iris())
    )


def against(array):
    """Return the array with negative strides along axes of length 1."""
    steps = [slice(None, None, -1 if n == 1 else 1) for n in np.shape(array)]
    view = np.asarray(array)[tuple(steps)]
    assert min(view.strides) < 0
    return view


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_axes_of_length_1_against_memory(dtype):
    X = iris()[:, 2:3].astype(dtype)
    expected = KeOpsGaussianMixture(2, random_state=0).fit(X)
    model = KeOpsGaussianMixture(2, random_state=0).fit(against(X))
    np.testing.assert_array_equal(model.means_, expected.means_)
    for method in METHODS:
        found = getattr(model, method)(against(X))
        np.testing.assert_array_equal(found, getattr(expected, method)(X))
    np.testing.assert_array_equal(model.predict(against(X[:1])), model.predict(X[:1]))
    pieces = KeOpsGaussianMixture(2, random_state=0).fit([against(X)])
    assert_allclose(pieces.means_, expected.means_, rtol=1e-4)


def test_parameters_against_memory():
    X = iris()[:, 2:3].copy()
    arrays = np.array([[4.0]]), np.ones(1), np.ones((1, 1, 1))
    means, weights, matrices = (against(array) for array in arrays)
    model = KeOpsGaussianMixture(
        1, means_init=means, weights_init=weights, precisions_init=matrices
    )
    assert model.partial_fit(against(X)).means_ == pytest.approx(X.mean())
    counts = np.arange(150.0)[::-1]
    model.fit(against(X), sample_weight=counts)
    assert model.means_ == pytest.approx(np.average(X[:, 0], weights=counts))
    known = KeOpsGaussianMixture.from_parameters(weights, means, matrices)
    np.testing.assert_array_equal(known.means_, [[4.0]])


def test_values_given_against_memory():
    model = KeOpsGaussianMixture(2, random_state=0).fit(iris())
    reversed_view = np.array([6.0, 3.0])[::-1]
    for features, values in (([1, 0], reversed_view), (0, against([6.0]))):
        found = model.condition(features, values)
        expected = model.condition(features, list(values))
        np.testing.assert_array_equal(found.means_, expected.means_)


def test_memmap(tmp_path):
    X = np.memmap(tmp_path / "X.dat", dtype=np.float32, mode="w+", shape=(150, 4))
    X[:] = iris()
    X.flush()
    read_only = np.memmap(tmp_path / "X.dat", dtype=np.float32, mode="r", shape=X.shape)
    model = KeOpsGaussianMixture(3, random_state=0).fit(read_only)
    assert type(model.means_) is np.ndarray
    np.testing.assert_array_equal(model.predict(read_only), model.predict(np.array(X)))


def test_integers_are_converted():
    X = np.rint(10 * iris()).astype(np.int32)
    model = KeOpsGaussianMixture(3, random_state=0).fit(X)
    expected = KeOpsGaussianMixture(3, random_state=0).fit(X.astype(float))
    assert model.means_.dtype == np.float64
    np.testing.assert_array_equal(model.means_, expected.means_)


@pytest.mark.parametrize(
    "library", ["pandas", pytest.param("polars", marks=new_scikit_learn)]
)
def test_frames(library):
    frames = pytest.importorskip(library)
    X = iris()
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    model = KeOpsGaussianMixture(3, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == names
    plain = KeOpsGaussianMixture(3, random_state=0).fit(X)
    assert_allclose(model.score_samples(frame), plain.score_samples(X), rtol=1e-12)
