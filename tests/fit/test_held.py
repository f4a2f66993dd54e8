"""Parameters that are set between a fit and what goes on from it."""

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV

X = np.random.default_rng(0).normal(size=(400, 2))
FIRST, SECOND = X[:200], X[200:]
M = 3

# What steps do with a parameter that was set to another value.
REFUSED = {
    "n_components": 5,
    "covariance_type": "tied",
    "noise": "uniform",
    "noise_volume": 10.0,
}
HEEDED = {
    "sparsity": 3.0,
    "reg_covar": 0.1,
    "covariance_pooling": 20.0,
    "truncation": 1,
    "frozen": ["means"],
    "learning_decay": 1.0,
    "learning_offset": 0.0,
}
OF_THE_FIT = {
    "moves": True,
    "acceleration": "squarem",
    "tol": np.inf,
    "max_iter": 0,
    "n_init": 3,
    "init_params": "random",
    "init_size": 50,
    "weights_init": [0.2, 0.3, 0.5],
    "means_init": np.zeros((M, 2)),
    "precisions_init": np.ones((M, 2, 2)),
    "learning_rate": 1.0,
    "batch_size": 10,
    "random_state": 1,
    "warm_start": True,
    "verbose_interval": 1,
}
# Refused for what they are, the same for any data, and what prints.
OTHERS = {"prior", "solver", "backend", "device", "verbose"}


def fitted(**parameters):
    return KeOpsGaussianMixture(**{"n_components": M, "random_state": 0} | parameters)


def test_each_parameter_is_one_of_these():
    names = set(inspect.signature(KeOpsGaussianMixture).parameters)
    assert {*REFUSED, *HEEDED, *OF_THE_FIT, *OTHERS} == names


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_steps_refuse(name, again):
    model = fitted().fit(FIRST)
    before, given = model.means_.copy(), model.get_params()[name]
    model = again(model).set_params(**{name: REFUSED[name]})
    with pytest.raises(
        ValueError, match=f"^{name}={REFUSED[name]!r} was set.*{given!r}"
    ):
        model.partial_fit(SECOND)
    assert_array_equal(model.means_, before)
    twin = fitted().fit(FIRST).partial_fit(SECOND)
    model.set_params(**{name: given}).partial_fit(SECOND)
    assert_array_equal(model.means_, twin.means_)


@pytest.mark.parametrize("now", [{"noise": None}, {"noise_volume": 1e6}])
def test_noise_stays(now):
    model = fitted(noise="uniform").partial_fit(FIRST).set_params(**now)
    with pytest.raises(ValueError, match=r"goes on with .*call fit to begin anew"):
        model.partial_fit(SECOND)


@pytest.mark.parametrize("name", HEEDED)
def test_steps_heed(name):
    model, twin = fitted().fit(FIRST), fitted().fit(FIRST)
    model.set_params(**{name: HEEDED[name]}).partial_fit(SECOND)
    assert model.score(X) != twin.partial_fit(SECOND).score(X)


@pytest.mark.parametrize("name", OF_THE_FIT)
def test_steps_have_nothing_to_do_with(name):
    model, twin = fitted().fit(FIRST), fitted().fit(FIRST)
    model.set_params(**{name: OF_THE_FIT[name]}).partial_fit(SECOND)
    assert_array_equal(model.covariances_, twin.partial_fit(SECOND).covariances_)


def made():
    """Fitted mixtures that no fit of their own has made."""
    full = fitted().fit(FIRST)
    arrays = full.weights_, full.means_, full.covariances_
    return {
        "sklearn": KeOpsGaussianMixture.from_sklearn(full.to_sklearn()),
        "parameters": KeOpsGaussianMixture.from_parameters(*arrays),
        "marginal": full.marginal([0, 1]),
        "sorted": full.sorted_by("means"),
        "adapted": full.adapt(SECOND),
        "chosen": KeOpsGaussianMixtureCV(6, random_state=0).fit(FIRST).mixture_,
    }


@pytest.mark.parametrize("name", made())
def test_however_it_was_made(name):
    model = made()[name].set_params(n_components=8)
    with pytest.raises(ValueError, match="n_components=8 was set, but partial_fit"):
        model.partial_fit(SECOND)
    model.set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"but warm_start=True.*warm_start=False to"):
        model.fit(SECOND)
    assert model.set_params(warm_start=False).fit(SECOND).n_components_ == 8


@pytest.mark.parametrize("warm", [False, True])
def test_components_that_have_left(warm):
    """A mixture goes on with as many as there were, or as there are."""
    model = fitted(n_components=8, sparsity=5.0, warm_start=warm).fit(FIRST)
    go_on, alive = model.fit if warm else model.partial_fit, model.n_components_
    assert alive < 8
    for n_components in (8, alive):
        go_on(SECOND if n_components == 8 else FIRST)
        model.set_params(n_components=alive)
    model.set_params(n_components=alive + 1)
    with pytest.raises(ValueError, match=f"n_components={alive + 1} was set"):
        go_on(SECOND)


def test_warm_starts_take_other_noise():
    model = fitted(warm_start=True).fit(FIRST)
    assert model.set_params(noise="uniform").fit(SECOND).noise_weight_ > 0
    assert model.set_params(noise_volume=1e3).fit(SECOND).noise_log_density_ == (
        pytest.approx(-np.log(1e3))
    )
    assert not hasattr(
        model.set_params(noise=None, noise_volume=None).fit(X), "noise_box_"
    )


def test_mixtures_of_older_versions():
    """Of what these were fitted with their attributes tell."""
    model = fitted(noise="uniform").fit(FIRST)
    del model._settings
    model.partial_fit(SECOND)
    with pytest.raises(ValueError, match="noise=None was set"):
        model.set_params(noise=None).partial_fit(SECOND)


def test_a_mixture_by_hand():
    model = fitted().fit(FIRST)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        array = getattr(model, name)
        setattr(model, name, np.concatenate((array, array)))
    model.weights_ /= 2
    assert model.set_params(n_components=2 * M).partial_fit(SECOND).n_components_ == 6


def test_warm_starts_know_names():
    """Columns in another order would make means of other features."""
    frame = pd.DataFrame(FIRST, columns=["a", "b"])
    model = fitted(warm_start=True).fit(frame)
    before = model.means_.copy()
    for other in (frame[["b", "a"]], frame.rename(columns={"a": "z"})):
        with pytest.raises(ValueError, match=r"features \['a', 'b'\], but X has"):
            model.fit(other)
        assert list(model.feature_names_in_) == ["a", "b"]
        assert_array_equal(model.means_, before)
    model.fit(frame).fit(FIRST)
    fitted().fit(frame).fit(frame[["b", "a"]])


def test_what_differs_from_the_mixture_of_scikit_learn():
    """It is of the next fit."""
    peer = fitted().fit(FIRST).to_sklearn()
    for differs in ({"n_components": 5}, {"noise": "uniform"}):
        model = KeOpsGaussianMixture.from_sklearn(peer, **differs)
        with pytest.raises(ValueError, match="was set, but partial_fit goes on"):
            model.partial_fit(SECOND)
        assert np.isfinite(model.fit(SECOND).score(X))
    model = KeOpsGaussianMixture.from_sklearn(peer, covariance_type="diag")
    with pytest.raises(ValueError, match=r"'diag' was set after .* fitted with 'full'"):
        model.predict(X)
    assert model.fit(SECOND).covariances_.shape == (M, 2)
