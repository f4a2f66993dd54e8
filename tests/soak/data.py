"""Points to fit, tame and ugly, and the ways in which a user may hold them."""

import numpy as np

# How far float32 goes, less than its squares do; float64 as far as they ask for.
_POWERS = {np.float32: 30.0, np.float64: 150.0}
_FARTHEST = {np.float32: 37.0, np.float64: 200.0}


def points(rng, n_samples, n_features, dtype):
    """Draw points, (N, D), and return them with the names of what was done to them.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_samples, n_features : int
    dtype : {numpy.float32, numpy.float64}
        What the points must fit.
    """
    X, name = _shapely(rng, n_samples, n_features)
    names = [name]
    for _ in range(rng.choice([0, 1, 2], p=[0.35, 0.5, 0.15])):
        name = str(rng.choice(list(_SPOILERS)))
        if name not in names:
            X = _SPOILERS[name](rng, X, dtype)
            names.append(name)
    limit = 0.1 * float(np.finfo(dtype).max)
    return np.clip(X, -limit, limit).astype(dtype), "+".join(names)


def _shapely(rng, n_samples, n_features):
    """Draw blobs, mostly, or what comes from elsewhere."""
    name = str(rng.choice(["blobs", "blobs", "normal", "lattice", "heavy"]))
    if name == "lattice":
        width = int(rng.integers(1, 6))
        return rng.integers(-width, width + 1, (n_samples, n_features)) * 1.0, name
    if name == "heavy":
        return rng.standard_t(
            rng.choice([0.5, 1.0, 2.0]), (n_samples, n_features)
        ), name
    X = rng.normal(size=(n_samples, n_features))
    if name == "blobs":
        n_blobs = int(rng.integers(1, 8))
        centres = rng.normal(scale=6.0, size=(n_blobs, n_features))
        X += centres[rng.integers(n_blobs, size=n_samples)]
    return X, name


def _duplicated(rng, X, dtype):
    n_distinct = int(rng.integers(1, max(2, len(X) // 4)))
    return X[rng.integers(n_distinct, size=len(X))]


def _single(rng, X, dtype):
    return np.tile(X[:1], (len(X), 1))


def _constant(rng, X, dtype):
    chosen = rng.random(X.shape[1]) < 0.5
    return np.where(chosen, rng.choice([0.0, 3.0, 1e6]), X)


def _offset(rng, X, dtype):
    return X + rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(6, 12)


def _scaled(rng, X, dtype):
    return X * 10 ** rng.uniform(-_POWERS[dtype], _POWERS[dtype])


def _scaled_apart(rng, X, dtype):
    return X * 10 ** rng.uniform(-6, 6, X.shape[1])


def _outliers(rng, X, dtype):
    """Some rows, one often, lie far from all others."""
    X = X.copy()
    n_far = min(len(X), int(rng.choice([1, 1, 2, 5])))
    rows = rng.choice(len(X), n_far, replace=False)
    power = rng.choice([rng.uniform(7, 15), rng.uniform(7, _FARTHEST[dtype])])
    X[rows] *= 10**power
    return X


def _collinear(rng, X, dtype):
    X = X.copy()
    noise = 10 ** rng.uniform(-14, -2) * rng.normal(size=len(X))
    X[:, -1] = X.sum(axis=1) + noise
    return X


_SPOILERS = {
    "duplicated": _duplicated,
    "single": _single,
    "constant": _constant,
    "offset": _offset,
    "scaled": _scaled,
    "scaled apart": _scaled_apart,
    "outliers": _outliers,
    "collinear": _collinear,
}


def weights(rng, kind, n_samples):
    """Draw sample weights of a kind, or None."""
    if kind == "none":
        return None
    uniform = rng.random(n_samples) + 1e-3
    if kind == "zeros":
        return uniform * (rng.random(n_samples) < 0.7)
    if kind == "integers":
        return rng.integers(0, 4, n_samples) * 1.0
    if kind == "tiny":
        return uniform * 10 ** rng.uniform(-30, -6)
    if kind == "huge":
        return uniform * 10 ** rng.uniform(6, 12)
    return uniform


def _strided(X):
    wide = np.zeros((2 * len(X), 2 * X.shape[1] + 1), X.dtype)
    wide[::2, 1::2] = X
    return wide[::2, 1::2]


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _frame(X):
    import pandas

    return pandas.DataFrame(X, columns=[f"x{d}" for d in range(X.shape[1])])


def _dask(X):
    import dask.array

    rows = max(1, -(-len(X) // 3))
    return dask.array.from_array(X, chunks=(rows, -1))


# From how an array is held to what holds it; those in parts come last.
WHOLE = {
    "plain": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "read-only": _read_only,
    "lists": lambda X: X.tolist(),
    "frame": _frame,
}
IN_PARTS = {
    "chunks": lambda X: np.array_split(X, 3),
    "dask": _dask,
}


def held(layout, X, sample_weight):
    """Return the points and their weights as a user may hold them."""
    layouts = {**WHOLE, **IN_PARTS}
    if layout == "chunks" and sample_weight is not None:
        return layouts[layout](X), np.array_split(sample_weight, 3)
    return layouts[layout](X), sample_weight
