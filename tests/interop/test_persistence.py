"""Saved and loaded: by another process, on another machine, by another version."""

import copy
import pickle
import pickletools
import subprocess
import sys
import typing
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal

import sklearn_keops_gmm
from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    SparsityPath,
)
from tests.common import IS_NEW, iris, new_scikit_learn
from tests.reference import COVARIANCE_TYPES
from tests.saved.make import log_likelihoods

# Before there were folders, files held a pickled dictionary of mixtures.
SAVED = sorted((Path(__file__).parents[1] / "saved").glob("*.pkl"))
SAVED_ONE_BY_ONE = [
    pytest.param(path, id=f"{path.parent.name}/{path.name}")
    for path in sorted((Path(__file__).parents[1] / "saved").glob("*/*.*"))
    if path.suffix in (".pkl", ".skops")
]

# What README.rst says has to be trusted.
TRUSTED = ["sklearn_keops_gmm.KeOpsGaussianMixture"]
TRUSTED_FOR_A_CHOICE = [
    "sklearn_keops_gmm.KeOpsGaussianMixtureCV",
    "sklearn_keops_gmm.SparsityPath",
]
# What files name that were saved when these classes had no public name.
TRUSTED_ONCE = [
    "sklearn_keops_gmm._mixture.KeOpsGaussianMixture",
    "sklearn_keops_gmm._path.SparsityPath",
    "sklearn_keops_gmm._selection.KeOpsGaussianMixtureCV",
]


def fitted(**parameters):
    given = {"n_components": 4, "sparsity": 2.0, "reg_covar": 0.01, "random_state": 0}
    return KeOpsGaussianMixture(**given | parameters).fit(iris())


def assert_same(model, expected):
    """Parameters, attributes and answers are the same."""
    assert type(model) is type(expected)
    assert set(vars(model)) == set(vars(expected))
    for name, value in vars(expected).items():
        found = getattr(model, name)
        assert type(found) is type(value)
        if name != "random_state":
            assert_array_equal(found, value)
    for a, b in zip(model.sample(5), expected.sample(5), strict=True):
        assert_array_equal(a, b)


WAYS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "old protocol": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
@pytest.mark.parametrize(
    "random_state", [0, None, np.random.RandomState(3)], ids=["int", "none", "stream"]
)
@pytest.mark.fast(4)
def test_round_trip(way, random_state):
    model = fitted(random_state=random_state)
    if random_state is None:
        model.set_params(random_state=1)
    again = way(copy.deepcopy(model))
    assert_same(again, model)
    assert_array_equal(again.predict_proba(iris()), model.predict_proba(iris()))


@every_way
def test_unfitted(way):
    again = way(KeOpsGaussianMixture(7, means_init=torch.ones(7, 2)))
    assert again.n_components == 7
    assert isinstance(again.means_init, torch.Tensor)
    assert not hasattr(again, "means_")


@pytest.mark.parametrize("options", [{}, {"compress": 3}], ids=["plain", "compressed"])
def test_joblib(options, tmp_path):
    model = fitted()
    joblib.dump(model, tmp_path / "model", **options)
    assert_same(joblib.load(tmp_path / "model"), model)


def test_joblib_memory_map(tmp_path):
    """Attributes that cannot be written to are read all the same."""
    model = fitted()
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode="r")
    assert isinstance(again.means_, np.memmap)
    assert_array_equal(again.score_samples(iris()), model.score_samples(iris()))
    assert_array_equal(again.sample(3)[0], model.sample(3)[0])
    again.condition(0, 5.0).predict(iris()[:, 1:])


def test_pickles_name_nothing_private():
    """Files may move: what is saved names the package, and what it shows."""
    choice = KeOpsGaussianMixtureCV(3, random_state=0).fit(iris())
    models = [fitted().partial_fit(iris()), choice, choice.path_]
    for model in models:
        names = {
            str(argument)
            for operation, argument, _ in pickletools.genops(pickle.dumps(model))
            if "sklearn_keops_gmm" in str(argument)
        }
        assert names == {"sklearn_keops_gmm"}
    for name in sklearn_keops_gmm.__all__:
        assert getattr(sklearn_keops_gmm, name).__module__ == "sklearn_keops_gmm"


def test_public_classes_keep_their_types():
    hints = typing.get_type_hints(SparsityPath)
    assert hints["costs"] is np.ndarray
    assert hints["mixtures"] == tuple[KeOpsGaussianMixture, ...]


def test_skops_of_a_choice():
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    model = KeOpsGaussianMixtureCV(3, random_state=0).fit(iris())
    data = io.dumps(model)
    trusted = [*TRUSTED, *TRUSTED_FOR_A_CHOICE]
    assert set(io.get_untrusted_types(data=data)) == set(trusted)
    again = io.loads(data, trusted=trusted)
    assert_array_equal(again.predict(iris()), model.predict(iris()))
    assert len(again.path_.mixtures) == len(model.path_.mixtures)


@pytest.mark.parametrize("names", [None, ["a", "b", "c", "d"]])
def test_skops(names):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    model = fitted()
    if names is not None:
        model.feature_names_in_ = np.array(names, dtype=object)
    data = io.dumps(model)
    assert io.get_untrusted_types(data=data) == TRUSTED
    assert_same(io.loads(data, trusted=TRUSTED), model)


@new_scikit_learn
@every_way
@pytest.mark.fast(5)
def test_tensors(way, device):
    with sklearn.config_context(array_api_dispatch=True):
        X = torch.tensor(iris(), dtype=torch.float32, device=device)
        model = KeOpsGaussianMixture(3, random_state=0, means_init=X[:3]).fit(X)
        again = way(model)
        for name in ("means_", "covariances_", "means_init"):
            found = getattr(again, name)
            assert isinstance(found, torch.Tensor)
            assert (found.device, found.dtype) == (X.device, X.dtype)
        assert torch.equal(again.predict(X), model.predict(X))


@new_scikit_learn
def test_tensors_in_skops(device):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    with sklearn.config_context(array_api_dispatch=True):
        X = torch.tensor(iris(), device=device)
        model = KeOpsGaussianMixture(3, random_state=0).fit(X)
        again = io.loads(io.dumps(model), trusted=TRUSTED)
        assert torch.equal(again.predict(X), model.predict(X))


@new_scikit_learn
def test_tensors_of_a_gpu_load_where_there_is_none(monkeypatch):
    """Their state is numpy arrays; a device that is absent gives way to the CPU."""
    with sklearn.config_context(array_api_dispatch=True):
        X = torch.tensor(iris())
        model = KeOpsGaussianMixture(3, random_state=0).fit(X)
        state = model.__getstate__()
        tensors = [v for v in state.values() if isinstance(v, dict) and "tensor" in v]
        assert len(tensors) == 6
        assert not any(isinstance(v, torch.Tensor) for v in state.values())
        for value in tensors:
            value["device"] = "cuda:0"
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        again = KeOpsGaussianMixture.__new__(KeOpsGaussianMixture)
        again.__setstate__(state)
        assert again.means_.device == torch.device("cpu")
        assert torch.equal(again.predict(X), model.predict(X))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_fitted_with_cuda_and_loaded_without():
    """It says what is missing, and works once it is told to use the CPU."""
    model = fitted()
    expected = model.score_samples(iris())
    again = pickle.loads(pickle.dumps(model.set_params(device="cuda")))
    with pytest.raises(ValueError, match=r"device='cuda' was asked for.*device='cpu'"):
        again.predict(iris())
    again.set_params(device="cpu")
    assert_array_equal(again.score_samples(iris()), expected)


@pytest.mark.slow
def test_loading_needs_no_keops(tmp_path):
    model = fitted()
    expected = model.score(iris())
    path = tmp_path / "mixture.pkl"
    path.write_bytes(pickle.dumps((model.set_params(backend="keops"), iris())))
    code = (
        "import pickle, sys; sys.modules['pykeops'] = None;"
        "model, X = pickle.load(open(sys.argv[1], 'rb'));"
        "print(repr(model.set_params(backend='torch').score(X)))"
    )
    command = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) == pytest.approx(expected, rel=1e-12)


def test_parameters_of_later_versions_get_their_defaults():
    state = fitted().__getstate__()
    del state["backend"], state["learning_rate"]
    again = KeOpsGaussianMixture.__new__(KeOpsGaussianMixture)
    again.__setstate__(state)
    assert (again.backend, again.learning_rate) == ("auto", 0.1)
    again.fit(iris())


def test_there_are_saved_versions():
    assert SAVED
    assert {path.values[0].suffix for path in SAVED_ONE_BY_ONE} == {".pkl", ".skops"}


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
@pytest.mark.slow
def test_saved_by_earlier_versions(path):
    """They score as they did, and can be fitted, sampled and conditioned."""
    saved = pickle.loads(path.read_bytes())
    assert set(saved) <= set(COVARIANCE_TYPES)
    for name, (model, expected) in saved.items():
        assert model.covariance_type == name
        assert_allclose(model.score_samples(iris()), expected, rtol=1e-9)
        assert model.n_components_ == len(model.means_)
        assert model.sample(3)[0].shape == (3, 4)
        model.condition([0, 1], [5.0, 3.0]).predict(iris()[:, 2:])
        model.set_params(warm_start=True, max_iter=2).fit(iris())


def loaded(path):
    """Load a saved pair, from skops with trust in what README.rst says."""
    if path.suffix == ".pkl":
        return pickle.loads(path.read_bytes())
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    prior = ["tests.saved.priors.total_precision"]
    return io.load(path, trusted=[*TRUSTED_ONCE, *prior])


@pytest.mark.parametrize("path", SAVED_ONE_BY_ONE)
def test_saved_one_by_one_by_earlier_versions(path):
    """Models of all classes answer as they did, and are of the classes of today."""
    if path.stem == "tensors" and not IS_NEW:
        pytest.skip("tensors need scikit-learn 1.9")
    model, expected = loaded(path)
    classes = {"choice": KeOpsGaussianMixtureCV, "path": SparsityPath}
    assert type(model) is classes.get(path.stem, KeOpsGaussianMixture)
    single = path.stem == "float32"
    found = log_likelihoods(model)
    assert found.dtype == expected.dtype == (np.float32 if single else np.float64)
    assert_allclose(found, expected, rtol=1e-4 if single else 1e-9)
    mixture = model.at(2.0) if isinstance(model, SparsityPath) else model
    assert mixture.sample(3)[0].shape == (3, 4)
    mixture.condition([0, 1], [5.0, 3.0]).predict(iris()[:, 2:])
    # What is saved once more, and by today's names, loads as well.
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(log_likelihoods(again), found)


@pytest.mark.parametrize("path", SAVED_ONE_BY_ONE)
@pytest.mark.fast(3)
def test_saved_one_by_one_go_on(path):
    """They can be fitted again; with a memory of steps, they go on from it."""
    model, _ = loaded(path)
    if path.stem == "memory":
        model.partial_fit(iris())
        assert model.n_iter_ == 2
    elif path.stem == "prior":
        assert model.prior(torch.ones(1), None, torch.ones(2)) > 0
        model.set_params(warm_start=True, max_iter=2).fit(iris())
    elif path.stem != "path":
        model.set_params(max_iter=2).fit(iris())
