"""Random mixtures whose components overlap by as much as is asked for."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import logsumexp

# Components of the designs, features, samples for each component, the largest overlap
# of two components, and by how much variances of one component differ.
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
FEATURES = (1, 2, 3, 5, 8, 12, 20)
SAMPLES = (20, 50, 100, 200, 500, 1000)
OVERLAPS = (0.001, 0.01, 0.05)
CONDITIONS = (1.0, 10.0, 100.0)
# So many draws of each component tell the overlap.
_DRAWS = 2000


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: weights (K,), means (K, D) and covariances (K, D, D)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def sample(self, rng, N):
        """Return N samples and their labels."""
        labels = rng.choice(len(self.weights), size=N, p=self.weights)
        roots = np.linalg.cholesky(self.covariances)
        normal = rng.normal(size=(N, self.means.shape[1]))
        return self.means[labels] + np.einsum(
            "nij,nj->ni", roots[labels], normal
        ), labels

    def log_joint(self, X):
        """Return log(weight_j p_j(x_i)), (N, K)."""
        K, D = self.means.shape
        columns = []
        for j in range(K):
            root = np.linalg.cholesky(self.covariances[j])
            white = np.linalg.solve(root, (X - self.means[j]).T)
            log_det = np.log(np.diag(root)).sum()
            square = (white * white).sum(0)
            columns.append(np.log(self.weights[j]) - log_det - 0.5 * square)
        return np.stack(columns, 1) - 0.5 * D * np.log(2 * np.pi)

    def score(self, X):
        """Return the mean log-likelihood."""
        return float(logsumexp(self.log_joint(X), axis=1).mean())


def draw_mixture(rng, K, D, overlap, condition, covariance_type="full"):
    """Return a mixture whose two closest components overlap by `overlap`.

    Its covariances are of that type: "full", "diag" or "spherical".

    The overlap of two is the sum of both probabilities that a sample of one is more
    likely under the other (Maitra and Melnykov, "Simulating data to study performance
    of finite mixture modeling and clustering algorithms", Journal of Computational and
    Graphical Statistics 19, 2010), found from draws.
    """
    weights = 0.3 / K + 0.7 * rng.dirichlet(np.full(K, 3.0))
    if rng.uniform() < 0.5:
        weights = np.full(K, 1.0 / K)
    rotations = np.linalg.qr(rng.normal(size=(K, D, D))).Q
    if covariance_type != "full":
        rotations = np.tile(np.eye(D), (K, 1, 1))
    if covariance_type == "spherical":
        condition = 1.0
    exponents = rng.uniform(-0.5, 0.5, size=(K, 1, D))
    variances = condition**exponents * np.exp(rng.uniform(-0.5, 0.5, size=(K, 1, 1)))
    covariances = rotations * variances @ rotations.transpose(0, 2, 1)
    means = rng.normal(size=(K, D))
    if K == 1:
        return Mixture(weights, means, covariances)
    normal = rng.normal(size=(_DRAWS, D))
    low, high = 0.0, 1.0
    while largest_overlap(weights, means * high, covariances, normal) > overlap:
        low, high = high, 2 * high
    for _ in range(18):
        middle = (low + high) / 2
        found = largest_overlap(weights, means * middle, covariances, normal)
        low, high = (middle, high) if found > overlap else (low, middle)
    return Mixture(weights, means * high, covariances)


def largest_overlap(weights, means, covariances, normal):
    """Return the largest overlap of two components."""
    roots = np.linalg.cholesky(covariances)
    log_dets = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
    constants = np.log(weights) - log_dets

    def misses(i, j):
        X = means[i] + normal @ roots[i].T
        white = np.linalg.solve(roots[j], (X - means[j]).T)
        own = constants[i] - 0.5 * (normal * normal).sum(1)
        return (constants[j] - 0.5 * (white * white).sum(0) > own).mean()

    return max(
        misses(i, j) + misses(j, i) for i, j in combinations(range(len(means)), 2)
    )


def draw(seed, covariance_type="full"):
    """Return a design, its mixture, samples and as many new samples."""
    rng = np.random.default_rng(seed)
    design = {
        "K": int(rng.choice(SIZES)),
        "D": int(rng.choice(FEATURES)),
        "per_component": int(rng.choice(SAMPLES)),
        "overlap": float(rng.choice(OVERLAPS)),
        "condition": float(rng.choice(CONDITIONS)),
    }
    K, D = design["K"], design["D"]
    mixture = draw_mixture(
        rng, K, D, design["overlap"], design["condition"], covariance_type
    )
    N = max(30, K * design["per_component"])
    X, labels = mixture.sample(rng, N)
    new, _ = mixture.sample(rng, N)
    smallest = int(np.bincount(labels, minlength=K).min())
    return (
        design | {"N": N, "smallest": smallest, "band": band(K, D, smallest)},
        mixture,
        X,
        new,
    )


def band(K, D, smallest):
    """Return how well the data tell the components apart, by the smallest of them."""
    if K == 1:
        return "one"
    if smallest >= 10 * (D + 1):
        return "well"
    return "mid" if smallest >= 4 * (D + 1) else "few"
