"""How often the right number of clusters is found, of shapes that are drawn.

    python benchmarks/bench_shapes.py --seeds 10 --save shapes.json

The rule was tuned on draws of such shapes from other seeds.
"""

import argparse
from functools import partial

import numpy as np
from common import add_save, save

from sklearn_keops_gmm import MixtureClustering


def arc(rng, n, angle=2 * np.pi, width=0.08):
    """Return points near an arc of a circle of radius 1."""
    t = rng.uniform(0, angle, size=n)
    return np.stack((np.cos(t), np.sin(t)), axis=1) + width * rng.normal(size=(n, 2))


def disc(rng, n):
    """Return points of a disc."""
    t, radius = rng.uniform(0, 2 * np.pi, size=n), np.sqrt(rng.uniform(size=n))
    return radius[:, None] * np.stack((np.cos(t), np.sin(t)), axis=1)


def two_moons(rng, n):
    """Return points of two half circles, each of which reaches into the other."""
    moons = [arc(rng, n // 2, np.pi) for _ in range(2)]
    return np.concatenate((moons[0], [1, 0.5] - moons[1]))


def two_rings(rng, n):
    """Return points of two circles about one centre."""
    inner = 0.5 * arc(rng, n // 3)
    return np.concatenate((inner, arc(rng, n - n // 3, width=0.05)))


def cores_with_halos(rng, n):
    """Return points of two clusters of a narrow and a wide Gaussian."""
    centres = np.array([[0.0, 0.0], [9.0, 0.0]])[rng.integers(2, size=n)]
    return centres + rng.choice([0.3, 1.5], size=(n, 1)) * rng.normal(size=(n, 2))


def three_blobs(rng, n):
    """Return points of three Gaussians whose means are six deviations apart."""
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [3.0, 5.2]])
    return centres[rng.integers(3, size=n)] + rng.normal(size=(n, 2))


SHAPES = {
    "Gaussian": (lambda rng, n: rng.normal(size=(n, 2)), 1),
    "square": (lambda rng, n: rng.uniform(size=(n, 2)), 1),
    "disc": (disc, 1),
    "banana": (partial(arc, angle=np.pi), 1),
    "ring": (arc, 1),
    "two moons": (two_moons, 2),
    "two rings": (two_rings, 2),
    "cores with halos": (cores_with_halos, 2),
    "three blobs": (three_blobs, 3),
}


def compare(args):
    """Return a row for each shape, number of samples and seed."""
    rows = []
    for name, (draw, right) in SHAPES.items():
        for n in args.samples:
            found = []
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                X = draw(np.random.default_rng([seed, n]), n)
                clustering = MixtureClustering(random_state=seed).fit(X)
                found.append(clustering.n_clusters_)
                rows.append(
                    {
                        "shape": name,
                        "samples": n,
                        "seed": seed,
                        "right": right,
                        "found": clustering.n_clusters_,
                        "components": clustering.mixture_.n_components_,
                    }
                )
            share = np.mean(np.equal(found, right))
            print(f"{name:18}{n:6}  right {right}: {share:4.0%}  {found}", flush=True)
    return rows


def main():
    """Measure, and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=9000)
    parser.add_argument("--samples", type=int, nargs="+", default=[300, 1000, 3000])
    add_save(parser)
    args = parser.parse_args()
    save(args.save, rows=compare(args))


if __name__ == "__main__":
    main()
