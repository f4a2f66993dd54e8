"""What the compiled module takes of incomplete rows, and what it must refuse.

Nothing here imports pytest: `sanitized` runs where there is none.
"""

import numpy as np


def incomplete_arguments(n_components=2, n_features=3):
    """What `incomplete_moments` takes, all as it should be: three patterns."""
    n_sums = 1 + n_features + n_features * (n_features + 1) // 2
    observed = np.ones((3, n_features), bool)
    observed[1, 0] = observed[2] = False
    return {
        "observed": observed,
        "sizes": np.array([4, 0, 2]),
        "points": np.ones((6, n_features)),
        "weights": np.ones(6),
        "offsets": np.zeros(n_components),
        "means": np.zeros((n_components, n_features)),
        "precisions": np.tile(np.eye(n_features), (n_components, 1, 1)),
        "log_unit": 0.0,
        "out": np.zeros(n_components * n_sums + 2),
    }


def wrong_incomplete_arguments():
    """Yield the name of an argument, and arguments of which that is wrong."""
    given = incomplete_arguments()
    wrong = {
        "observed": [given["observed"][:2], given["observed"].astype(float), None],
        "sizes": [np.array([4, 0, -2]), np.array([7.0]), np.array([2**62] * 3), None],
        "points": [
            np.ones((5, 3)),
            np.ones((6, 3), np.float32),
            np.ones((6, 6))[:, ::2],
        ],
        "weights": [np.ones(5), np.ones(6, np.float32), "many"],
        "offsets": [np.zeros(0), np.zeros(2, np.float32), None],
        "means": [np.zeros(1), np.zeros((2, 3), np.float32), None],
        "precisions": [np.ones((3, 3, 3)), np.ones((2, 3)), None],
        "log_unit": [np.nan, np.inf, "1", None],
        "out": [np.zeros(4), np.zeros(22, np.float32), np.broadcast_to(0.0, 22), None],
    }
    for name, values in wrong.items():
        for value in values:
            yield name, given | {name: value}
    shared = np.zeros(40)
    yield "out", given | {"points": shared[:18].reshape(6, 3), "out": shared[10:32]}
