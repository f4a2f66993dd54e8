"""What the compiled module takes to find clusters, and what it must refuse.

Nothing here imports pytest: `sanitized` runs where there is none.
"""

import numpy as np


def order_arguments():
    """What `block_order` takes."""
    return {"n_features": 3, "points": np.ones((70, 3)), "order": np.zeros(70, int)}


def assign_arguments():
    """What `assign` takes: 70 samples in two blocks, and two centres."""
    return {
        "n_clusters": 2,
        "columns": np.ones((2, 3, 64)),
        "weights": np.ones(128),
        "centres": np.zeros((2, 3)),
        "moved": np.zeros(2),
        "labels": np.zeros(128, int),
        "margins": np.zeros((2, 2), np.float32),
        "sums": np.zeros((2, 4)),
    }


def seeds_arguments():
    """What `seeds` takes: the same samples, and four trials for the second seed."""
    return {
        "n_features": 3,
        "columns": np.ones((2, 3, 64)),
        "order": np.minimum(np.arange(128), 69),
        "weights": np.ones(70),
        "uniform": np.zeros((1, 4)),
        "seeds": np.array([5, 0]),
    }


def nearest_arguments():
    """What `nearest` takes: two of five means in three groups, for seven points."""
    return {
        "n_features": 3,
        "points": np.ones((7, 3)),
        "centres": np.zeros((3, 3)),
        "means": np.zeros((5, 3)),
        "bounds": np.array([0, 1, 3, 5]),
        "n_probes": 2,
        "distances": np.zeros((7, 2)),
        "indices": np.zeros((7, 2), int),
    }


def wrong_cluster_arguments():
    """Yield a function, the name of an argument, and arguments of which it is wrong."""
    for name, value in (
        ("n_features", 0),
        ("n_features", "3"),
        ("points", np.ones((70, 2)).ravel()[:139]),
        ("points", np.ones((70, 3), int)),
        ("points", None),
        ("order", np.zeros(69, int)),
        ("order", np.zeros(70)),
    ):
        yield "block_order", name, order_arguments() | {name: value}
    memory = np.zeros(210)
    overlapping = {"points": memory, "order": memory[:70].view(int)}
    yield "block_order", "order", order_arguments() | overlapping
    for name, value in (
        ("n_clusters", 0),
        ("n_clusters", None),
        ("columns", np.ones((2, 3, 63))),
        ("columns", np.ones((0, 3, 64))),
        ("columns", np.ones((2, 3, 64), int)),
        ("weights", np.ones(70)),
        ("weights", np.ones(128, np.float32)),
        ("centres", np.zeros(5)),
        ("centres", np.zeros((2, 3), np.float32)),
        ("moved", np.zeros(3)),
        ("labels", np.full(128, 2)),
        ("labels", np.full(128, -1)),
        ("labels", np.zeros(127, int)),
        ("margins", np.zeros((2, 2))),
        ("margins", None),
        ("sums", np.zeros((2, 3))),
        ("sums", None),
    ):
        yield "assign", name, assign_arguments() | {name: value}
    numbers = np.zeros(8)
    overlapping = {"moved": numbers[:2], "sums": numbers}
    yield "assign", "sums", assign_arguments() | overlapping
    for name, value in (
        ("n_features", -1),
        ("columns", np.ones((2, 3, 60))),
        ("order", np.arange(128)),
        ("order", np.zeros(128, int)),
        ("order", np.zeros(70, int)),
        ("weights", np.ones(0)),
        ("weights", np.ones(70, np.float32)),
        ("uniform", np.zeros(0)),
        ("uniform", np.zeros(4, np.float32)),
        ("uniform", None),
        ("seeds", np.array([70, 0])),
        ("seeds", np.array([-1, 0])),
        ("seeds", np.zeros(2)),
    ):
        yield "seeds", name, seeds_arguments() | {name: value}
    for name, value in (
        ("n_features", 0),
        ("points", np.ones((7, 2))),
        ("centres", np.zeros((3, 3), np.float32)),
        ("means", np.zeros(14)),
        ("bounds", np.array([0, 1, 3, 6])),
        ("bounds", np.array([0, 3, 3, 5])),
        ("bounds", np.array([1, 2, 3, 5])),
        ("bounds", np.array([0, 1, 3, 4])),
        ("bounds", np.array([0, 3, 5])),
        ("n_probes", 0),
        ("distances", np.zeros(13)),
        ("distances", np.zeros((7, 2), np.float32)),
        ("indices", np.zeros((7, 3), int)),
        ("indices", np.zeros((7, 2))),
    ):
        yield "nearest", name, nearest_arguments() | {name: value}
    numbers = np.zeros(14)
    overlapping = {"distances": numbers, "indices": numbers.view(int)}
    yield "nearest", "distances", nearest_arguments() | overlapping
