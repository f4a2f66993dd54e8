"""What a criterion says of the truth, were the search perfect."""

import warnings
from itertools import combinations

import numpy as np

from sklearn_keops_gmm import KeOpsGaussianMixture

# So many mergers of the closest pairs, and splits of the heaviest components.
_MERGERS, _SPLITS = 4, 3


def lic(model, X):
    """Return the location information criterion of a model of full covariances."""
    K, D = model.means_.shape
    own = D + D * (D + 1) / 2
    deviance = -2 * len(X) * model.score(X)
    return deviance + 3 * K * own + 2 * K * np.log(len(X))


def fitted(X, weights, means, covariances):
    """Return the mixture that EM reaches from some parameters."""
    model = KeOpsGaussianMixture(
        len(weights),
        weights_init=weights / weights.sum(),
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        reg_covar="auto",
        covariance_pooling="auto",
        tol=0.3 / len(X),
        max_iter=500,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X)


def prefers_truth(mixture, X):
    """Tell whether the criterion is lowest at the true number, by one more or less."""
    weights, means, covariances = mixture.weights, mixture.means, mixture.covariances
    best = lic(fitted(X, weights, means, covariances), X)
    others = [*merged(mixture), *split(mixture)]
    return all(lic(fitted(X, *other), X) > best for other in others)


def merged(mixture):
    """Yield the parameters of one component less."""
    weights, means, covariances = mixture.weights, mixture.means, mixture.covariances
    candidates = []
    for i, j in combinations(range(len(weights)), 2):
        both = weights[[i, j]]
        shares = both / both.sum()
        mean = shares @ means[[i, j]]
        offsets = means[[i, j]] - mean
        union = np.einsum("k,kab->ab", shares, covariances[[i, j]])
        union += np.einsum("k,ka,kb->ab", shares, offsets, offsets)
        volumes = np.linalg.slogdet(np.stack([union, *covariances[[i, j]]])).logabsdet
        loss = both.sum() * volumes[0] - both @ volumes[1:]
        candidates.append((loss, i, j, mean, union))
    for _, i, j, mean, union in sorted(candidates, key=lambda c: c[0])[:_MERGERS]:
        kept = np.delete(np.arange(len(weights)), [i, j])
        yield (
            np.append(weights[kept], weights[[i, j]].sum()),
            np.concatenate([means[kept], mean[None]]),
            np.concatenate([covariances[kept], union[None]]),
        )


def split(mixture):
    """Yield the parameters of one component more."""
    weights, means, covariances = mixture.weights, mixture.means, mixture.covariances
    for j in np.argsort(-weights)[:_SPLITS]:
        values, vectors = np.linalg.eigh(covariances[j])
        step = 0.5 * np.sqrt(values[-1]) * vectors[:, -1]
        halves = weights.copy()
        halves[j] /= 2
        moved = means.copy()
        moved[j] -= step
        yield (
            np.append(halves, halves[j]),
            np.concatenate([moved, means[j][None] + step]),
            np.concatenate([covariances, covariances[j][None]]),
        )
