"""Drives the compiled modules through all that they do, for .ci/sanitize.

That builds them so that a read or a write out of bounds, or an overflow, ends the
process. Answers are held to the dense reference. Nothing here needs pytest.
"""

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from itertools import count, product
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning

from sklearn_keops_gmm import KeOpsGaussianMixture
from sklearn_keops_gmm._model._parameters import Components, Frame
from sklearn_keops_gmm.backends import get_backend
from sklearn_keops_gmm.backends._native import (
    _blocks,
    _candidates,
    _incomplete,
    _kmeans,
    _m_step,
    _modules,
    _nearest,
    _reductions,
    _truncated,
)
from tests import reference
from tests.backends.arguments import (
    ANY_BYTES,
    FEATURES,
    RESTS_OF_EACH,
    SOME_RESTS,
    SOME_SCALES,
    UGLY,
    hand_over_ugly,
    huge_mixtures,
    mixture_arguments,
    overlapping,
    reduction_arguments,
    refused,
    wrong_above,
    wrong_mixtures,
    wrong_reductions,
)
from tests.backends.cluster_arguments import (
    assign_arguments,
    nearest_arguments,
    seeds_arguments,
    wrong_cluster_arguments,
)
from tests.backends.incomplete_arguments import (
    incomplete_arguments,
    wrong_incomplete_arguments,
)
from tests.backends.sanitized_m_step import check_m_steps, check_sparse_weights

TOLERANCES = {np.float64: 1e-10, np.float32: 1e-3}
SAMPLES, COMPONENTS = [1, 31, 67, 133], [1, 5, 35]
# Too little for a tile, so that each is as short as can be; and what is usual.
MEBIBYTES = [0, 1024]


def draw(rng, structure, dtype, n_samples, n_components, n_features):
    """Return points, weights or None, and a mixture."""
    shape = reference.shape_of_factors(structure, n_components, n_features)
    factors = rng.uniform(0.5, 2, size=shape)
    if structure in ("full", "tied"):
        factors = 0.2 * np.triu(factors, 1) + np.eye(n_features)
    means = rng.normal(size=(n_components, n_features))
    shares = rng.dirichlet(np.ones(n_components))
    offsets = reference.offsets_of(structure, shares, means, factors)
    points = rng.normal(size=(n_samples, n_features)).astype(dtype)
    weights = rng.uniform(0, 2, n_samples).astype(dtype) if n_samples % 3 else None
    return points, weights, (structure, offsets, means, factors)


def reductions_of(points, weights, scale=1.0):
    """Return them in the frame with that unit."""
    frame = Frame(torch.zeros(points.shape[1], dtype=torch.float64), scale)
    weights = None if weights is None else torch.from_numpy(weights)
    return get_backend("native")(torch.from_numpy(points), weights, frame)


def all_of(reductions, mixture):
    """Return the log-densities, the responsibilities, the labels and the moments."""
    components = Components(mixture[0], *map(torch.from_numpy, mixture[1:]))
    log_density = reductions.log_density(components)
    floors = log_density.double().median().expand(reductions.n_samples).contiguous()
    return SimpleNamespace(
        log_density=log_density,
        above=reductions.rows_above(components, floors),
        responsibilities=reductions.responsibilities(components),
        labels=reductions.labels(components),
        moments=reductions.moments(components),
    )


def compare(answers, points, weights, mixture):
    """Hold each of them to the reference."""
    tolerance = TOLERANCES[points.dtype.type]
    pulls = reference.responsibilities(points, *mixture).astype(float)
    sums = reference.moments(points, weights, *mixture)
    densities = reference.log_density(points, *mixture)
    for found in answers:
        rows, above = found.above
        np.testing.assert_allclose(above, found.log_density[rows], rtol=tolerance)
        middle = found.log_density.double().median()
        far = found.log_density > middle + tolerance * abs(middle)
        assert far.sum() <= len(rows) <= len(points) // 2 + 1
        chosen = np.take_along_axis(pulls, found.labels.numpy()[:, None], 1)[:, 0]
        for have, want in (
            (found.log_density, densities),
            (found.responsibilities, pulls),
            (chosen, pulls.max(1)),
            (found.moments.mass, sums.mass),
            (found.moments.first, sums.first),
            (found.moments.second, sums.second),
            (found.moments.log_likelihood, sums.log_likelihood),
        ):
            want = np.asarray(want, float)
            atol = tolerance * max(1, np.abs(want).max())
            np.testing.assert_allclose(np.asarray(have, float), want, rtol=0, atol=atol)


def cases(rng):
    """Yield a case for each structure, precision and number of features."""
    turn = count()
    for structure, dtype, n_features in product(
        reference.STRUCTURES, TOLERANCES, FEATURES
    ):
        k = next(turn)
        n_samples, n_components = SAMPLES[k % 4], COMPONENTS[k % 3]
        yield draw(rng, structure, dtype, n_samples, n_components, n_features)


def check_answers(rng):
    """Compare all reductions, in tiles of one group and in usual ones."""
    for points, weights, mixture in cases(rng):
        answers = []
        for mebibytes in MEBIBYTES:
            with config_context(working_memory=mebibytes):
                answers.append(all_of(reductions_of(points, weights, 0.5), mixture))
        compare(answers, points, weights, mixture)


def check_many_components(rng):
    """Take some components at a time, and leave others out of the moments."""
    for structure, dtype in product(reference.STRUCTURES, TOLERANCES):
        points, weights, mixture = draw(rng, structure, dtype, 70, 1030, 3)
        mixture[2][::3] += 40
        compare(
            [all_of(reductions_of(points, weights), mixture)], points, weights, mixture
        )


def check_components_far_apart(rng):
    """The same of components that share a factor, one or more of them at a place."""
    for n_features, dtype, distance in product(FEATURES, TOLERANCES, (20.0, 300.0)):
        points, weights, mixture = draw(rng, "tied", dtype, 67, 35, n_features)
        mixture[2][::2] += distance * rng.normal(size=mixture[2][::2].shape)
        near = mixture[2][rng.integers(35, size=67)]
        points = (near + points).astype(dtype)
        answers = []
        for mebibytes in MEBIBYTES:
            with config_context(working_memory=mebibytes):
                answers.append(all_of(reductions_of(points, weights), mixture))
        compare(answers, points, weights, mixture)


def check_ugly_numbers(rng):
    """See to it that they do no harm; what comes of them is for other tests."""
    for points, weights, mixture in cases(rng):
        arrays = [points.copy(), *(array.copy() for array in mixture[1:])]
        if weights is not None:
            arrays.append(weights.copy())
        for array in arrays:
            before = array.copy()
            places = rng.integers(array.size, size=3)
            with np.errstate(over="ignore"):
                array.flat[places] = rng.choice(UGLY, size=3).astype(array.dtype)
            ugly = mixture[0], *arrays[1:4]
            some = arrays[4] if weights is not None else None
            scale = rng.choice([1.0, 5e-324, 2.0**1023])
            # A factor that is not triangular is decomposed, unless it is not finite.
            with suppress(torch.linalg.LinAlgError):
                all_of(reductions_of(arrays[0], some, float(scale)), ugly)
            array[...] = before


def check_pruned(rng):
    """Answers and ugly numbers once more, where pairs are left out."""
    orders = "_WORTH_AN_ORDER_OF_SUMS", "_WORTH_AN_ORDER"
    settings = ("_PRUNED_COMPONENTS", "_PRUNED_ROWS", *orders)
    usual = {name: getattr(_reductions, name) for name in settings}
    for name in settings:
        setattr(_reductions, name, 1)
    check_answers(rng)
    check_ugly_numbers(rng)
    for name, value in usual.items():
        setattr(_reductions, name, value)


def check_truncated(rng):
    """Sums over few candidates, from call to call, also where numbers are ugly."""
    for points, weights, mixture in cases(rng):
        for truncation, n_ugly in product((1, 3, 64), (0, 3)):
            arrays = [points.copy(), *(array.copy() for array in mixture[1:])]
            for array in arrays if n_ugly else ():
                with np.errstate(over="ignore"):
                    ugly = rng.choice(UGLY, size=n_ugly).astype(array.dtype)
                array.flat[rng.integers(array.size, size=n_ugly)] = ugly
            frame = Frame(torch.zeros(points.shape[1], dtype=torch.float64), 0.5)
            given = None if weights is None else torch.from_numpy(weights)
            reductions = _truncated.TruncatedReductions(
                torch.from_numpy(arrays[0]), given, frame, truncation=truncation
            )
            components = Components(mixture[0], *map(torch.from_numpy, arrays[1:]))
            with suppress(torch.linalg.LinAlgError):
                for _ in range(8):
                    found = reductions.moments(components)
            if not n_ugly:
                total = len(points) if weights is None else weights.sum()
                np.testing.assert_allclose(found.mass.sum(), total, rtol=1e-5)


def check_arguments(module):
    """Hand it what it must refuse, and what is unusual."""
    for _, wrong in wrong_mixtures():
        refused(module.mixture, wrong.values())
    for _, wrong in (*wrong_reductions(module), *overlapping(module)):
        refused(module.log_density, wrong.values())
    for _, wrong in wrong_above(module):
        refused(module.above, wrong.values())
    for _, wrong in huge_mixtures():
        refused(module.mixture, ("d", *wrong))
    refused(module.n_sums, (None,))
    for name, values in (
        ("tile_bytes", ANY_BYTES),
        ("scale", SOME_SCALES),
        ("rest", SOME_RESTS),
        ("rests", RESTS_OF_EACH),
    ):
        for value in values:
            module.log_density(*{**reduction_arguments(module), name: value}.values())
    given = reduction_arguments(module)
    for name in _modules.modules_for_this_processor():
        other = import_module(f"{_modules.__package__}.{name}")
        if other is not module:
            given["mixture"] = other.mixture(*mixture_arguments().values())
            refused(module.log_density, given.values())
    # More than .ci/sanitize lets anyone have at once.
    many = 2**21
    arrays = np.zeros(many), np.zeros(many), np.ones(many)
    mixture = module.mixture("d", "diag", np.zeros(1), 1.0, *arrays)
    room = np.zeros(7)
    points = np.zeros(1), 1.0, -np.inf, np.zeros(7), None, None, 2**20
    refused(module.log_density, (mixture, *points, room), MemoryError)


def check_incomplete(module, rng):
    """Sum over rows of all patterns, hand over what is ugly, and what is wrong."""
    for n_features, n_components in product((1, 2, 5, 16), (1, 5, 35)):
        given = incomplete_arguments(n_components, n_features)
        sizes = rng.choice([0, 1, 2, 3, 4, 5, 9, 40], size=30)
        observed = rng.random((30, n_features)) < 0.6
        points = rng.normal(size=(sizes.sum(), n_features))
        points[~observed.repeat(sizes, axis=0)] = 0.0
        given |= {"observed": observed, "sizes": sizes, "points": points}
        for weights in (None, rng.uniform(size=len(points))):
            given |= {"weights": weights, "out": np.zeros_like(given["out"])}
            module.incomplete_moments(*given.values())
            total = len(points) if weights is None else weights.sum()
            masses = given["out"][:-2].reshape(n_components, -1)[:, 0]
            np.testing.assert_allclose(masses.sum(), total, rtol=1e-10)
        names = ("points", "offsets", "means", "precisions")
        hand_over_ugly(module.incomplete_moments, given, names, rng)
    for _, wrong in wrong_incomplete_arguments():
        refused(module.incomplete_moments, wrong.values())


def check_clusters(module, rng):
    """Find clusters of all sizes, hand over what is ugly, and what is wrong."""
    for n_samples, n_features, dtype in product(SAMPLES, FEATURES, TOLERANCES):
        X = rng.normal(size=(n_samples, n_features)).astype(dtype)
        weights = rng.uniform(size=n_samples) if n_samples % 3 else None
        n_clusters = int(rng.integers(1, min(n_samples, 40) + 1))
        for mebibytes in MEBIBYTES:
            with config_context(working_memory=mebibytes):
                random_state = np.random.RandomState(0)
                given = n_clusters, weights, 1e-4, random_state
                found = _kmeans.native_kmeans(X, *given)
        middle = found.cluster_centers_.mean(axis=0)
        nearest = ((X[:, None] - found.cluster_centers_) ** 2).sum(axis=2)
        own = np.take_along_axis(nearest, found.labels_[:, None], 1)[:, 0]
        np.testing.assert_allclose(own, nearest.min(axis=1), atol=1e-4)
        found.predict(np.tile(middle, (3, 1)).astype(dtype))
    ugly = (
        (module.assign, assign_arguments, ("columns", "centres", "moved", "weights")),
        (module.seeds, seeds_arguments, ("columns", "weights", "uniform")),
        (module.nearest, nearest_arguments, ("points", "centres", "means")),
    )
    for function, make, names in ugly:
        for name, value in product(names, UGLY):
            given = make()
            given[name].flat[rng.integers(given[name].size)] = value
            function(*given.values())
    points = rng.choice(UGLY, size=(200, 3))
    order = np.zeros(200, np.int64)
    module.block_order(3, points, order)
    np.testing.assert_array_equal(np.sort(order), np.arange(200))
    for function, _, wrong in wrong_cluster_arguments():
        refused(getattr(module, function), wrong.values())


def check_fits(rng, repeats):
    """Fit, and predict, mixtures of all structures with all solvers."""
    fits = product(reference.COVARIANCE_TYPES, TOLERANCES, ("em", "adam", "lbfgs"))
    for covariance_type, dtype, solver in list(fits) * repeats:
        n_samples, n_features = int(rng.integers(20, 200)), int(rng.integers(1, 7))
        X = rng.normal(size=(n_samples, n_features)).astype(dtype)
        model = KeOpsGaussianMixture(
            int(rng.integers(1, 6)),
            covariance_type=covariance_type,
            solver=solver,
            max_iter=3,
            random_state=0,
            backend="native",
        )
        weights = rng.uniform(size=n_samples) if n_samples % 2 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, sample_weight=weights)
        assert np.isfinite(model.score(X))
        assert len(model.predict(X)) == len(model.predict_proba(X)) == n_samples


def main(name):
    """Run everything with the module of that name."""
    torch.set_num_threads(2)
    module = import_module(f"{_modules.__package__}.{name}")
    # Not one that is installed, which no sanitizer watches.
    assert Path(module.__file__).is_relative_to(Path.cwd()), module.__file__
    users = _reductions, _incomplete, _blocks, _kmeans, _candidates, _m_step, _nearest
    for user in users:
        user.native_module = lambda: module
    for check, *arguments in (
        (check_arguments, module),
        (check_answers, np.random.default_rng(0)),
        (check_many_components, np.random.default_rng(7)),
        (check_components_far_apart, np.random.default_rng(3)),
        (check_ugly_numbers, np.random.default_rng(1)),
        (check_pruned, np.random.default_rng(5)),
        (check_truncated, np.random.default_rng(6)),
        (check_incomplete, module, np.random.default_rng(3)),
        (check_clusters, module, np.random.default_rng(4)),
        (check_m_steps, module, np.random.default_rng(8)),
        (check_sparse_weights, module, np.random.default_rng(9)),
        (check_fits, np.random.default_rng(2), 2),
    ):
        start = perf_counter()
        check(*arguments)
        seconds = perf_counter() - start
        print(f"{name}: {check.__name__}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
