"""What the compiled M-step and sparse weights take, and what they must refuse.

Nothing here imports pytest: `sanitized` runs where there is none.
"""

import numpy as np

from sklearn_keops_gmm._model.covariances import make_covariance
from tests.backends.arguments import NO_NAMES, NO_NUMBERS, OTHER_COUNTS

# What is neither an array nor a name; and so many arrays are read, the others written.
AMOUNTS, N_READ = ("price", "share", "whole"), 10
NOT_AMOUNTS = (-1.0, np.nan, np.inf, 10**999, 1j, "1", None)


def m_step_arguments(covariance_type="full", n_components=2, n_features=3):
    """What `m_step` takes, all as it should be."""
    covariance = make_covariance(covariance_type)
    shape = covariance.shape(n_components, n_features)
    second = (n_components, n_features, n_features)
    second = {"full": second, "tied": second[1:]}.get(covariance_type, second[:2])
    if covariance.structure == "spherical":
        second = (n_components,)
    given = {
        "type": covariance_type,
        "mass": np.full(n_components, 9.0),
        "first": np.zeros((n_components, n_features)),
        "second": np.zeros(second),
        "means": np.ones((n_components, n_features)),
        "ridge": np.ones(n_features),
        "weights": np.full(n_components, 1.0 / n_components),
        "start": np.full(n_components, 1.0 / n_components),
        "price": 0.5,
        "share": 1.0,
        "whole": 0.0,
        "kept": np.full(n_components, 0.5),
        "added": np.full(n_components, 2.0),
        "shape": np.ones(shape[1:]),
    }
    if covariance.shared:
        given |= dict.fromkeys(("kept", "added", "shape"))
    return given | {
        "new_weights": np.zeros(n_components),
        "new_means": np.zeros((n_components, n_features)),
        "covariances": np.zeros(shape),
        "factors": np.zeros(shape),
        "offsets": np.zeros(n_components),
    }


def wrong_m_steps():
    """Yield the name of an argument, and arguments of which that one is wrong."""
    given = m_step_arguments()
    for value in NO_NAMES["structure"]:
        yield "type", given | {"type": value}
    for name in AMOUNTS:
        for value in NOT_AMOUNTS:
            yield name, given | {name: value}
    arrays = [name for name in given if name not in ("type", *AMOUNTS)]
    for name in arrays:
        # These tell how many of all others there have to be.
        wrong = r"\w+" if name in ("mass", "ridge") else name
        for make in NO_NUMBERS.values():
            value = make(given[name])
            if value is not None or name not in ("weights", "start"):  # left out
                yield wrong, given | {name: value}
        for make in OTHER_COUNTS.values():
            # Which of them is wrong, who can tell?
            yield r"\w+", given | {name: make(given[name])}
    # All share one covariance, which is not pulled.
    shared = m_step_arguments("tied") | {"kept": given["kept"]}
    yield "kept", shared
    for i, out in enumerate(arrays[N_READ:], N_READ):
        for other in arrays[:i]:
            if given[other].size >= given[out].size:
                memory = given[other].ravel()[: given[out].size]
                yield r"\w+", given | {out: memory}


def sparse_weights_arguments(n_components=3):
    """What `sparse_weights` takes, all as it should be."""
    return {
        "fractions": np.full(n_components, 1.0 / n_components),
        "start": np.full(n_components, 1.0 / n_components),
        "price": 3.0,
        "weights": np.zeros(n_components),
    }


def wrong_sparse_weights():
    """Yield the name of an argument, and arguments of which that one is wrong."""
    given = sparse_weights_arguments()
    for value in NOT_AMOUNTS:
        yield "price", given | {"price": value}
    for name in ("fractions", "start", "weights"):
        # The first tells how many of all others there have to be.
        wrong = r"\w+" if name == "fractions" else name
        for make in NO_NUMBERS.values():
            yield wrong, given | {name: make(given[name])}
        for make in OTHER_COUNTS.values():
            yield r"\w+", given | {name: make(given[name])}
    for name in ("fractions", "start"):
        yield "weights", given | {"weights": given[name]}
