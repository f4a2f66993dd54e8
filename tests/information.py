"""Standard errors by automatic Hessians, of samples that may miss values."""

import numpy as np
import torch


def automatic_errors(model, X, weights):
    """Standard errors of weights and means by torch's Hessian, all others in numbers.

    Covariances are those of `_matrices`, which knows nothing of the package. The weight
    of noise, if there is some, is the last.
    """
    M, D = model.means_.shape
    log_noise = getattr(model, "noise_log_density_", None)
    n_free = M - 1 if log_noise is None else M
    start = np.concatenate(
        (model.weights_[:n_free], model.means_.ravel(), _free(model).ravel())
    )
    v = torch.tensor(weights)

    def log_likelihood(theta):
        free, means = theta[:n_free], theta[n_free : n_free + M * D].reshape(M, D)
        shares = torch.cat((free, 1 - free.sum()[None]))
        covariances = _matrices(model, theta[n_free + M * D :], M, D)
        pairs = _observed_pairs(X, means, covariances)
        if log_noise is not None:
            noise = torch.tensor(~np.isnan(X) @ -model.noise_log_widths_)
            pairs = torch.cat((pairs, noise[:, None]), dim=1)
        return (v * torch.logsumexp(shares.log() + pairs, dim=1)).sum()

    hessian = torch.autograd.functional.hessian(log_likelihood, torch.tensor(start))
    covariance = np.linalg.inv(-hessian.numpy())
    errors = np.sqrt(np.diag(covariance))
    of_last = np.sqrt(covariance[:n_free, :n_free].sum())
    of_weights = np.append(errors[:n_free], of_last)
    return of_weights, errors[n_free : n_free + M * D].reshape(M, D)


def _free(model):
    """The entries of covariances that are free."""
    D = model.means_.shape[1]
    if model.covariance_type in ("full", "tied"):
        rows, columns = np.triu_indices(D)
        return model.covariances_[..., rows, columns]
    return model.covariances_


def _matrices(model, free, M, D):
    kind = model.covariance_type
    if kind in ("full", "tied"):
        rows, columns = np.triu_indices(D)
        places = np.zeros((D, D), dtype=int)
        places[rows, columns] = places[columns, rows] = np.arange(len(rows))
        per_one = free.reshape(-1, len(rows))
        return per_one[:, places.ravel()].reshape(-1, D, D).expand(M, D, D)
    columns = {"diag": (M, D), "tied_diag": (1, D), "spherical": (M, 1)}
    shape = columns.get(kind, (1, 1))
    return torch.diag_embed(free.reshape(shape).expand(M, D))


def _observed_pairs(X, means, covariances):
    """The log-densities of what is observed of each row, in its own pattern."""
    patterns, of_rows = np.unique(~np.isnan(X), axis=0, return_inverse=True)
    pairs = torch.zeros(len(X), len(means), dtype=torch.float64)
    for i, pattern in enumerate(patterns):
        seen, rows = np.flatnonzero(pattern), np.flatnonzero(of_rows == i)
        if len(seen):
            own = covariances[:, seen[:, None], seen]
            normal = torch.distributions.MultivariateNormal(means[:, seen], own)
            some = torch.tensor(X[rows][:, None, seen])
            pairs = pairs.index_add(0, torch.tensor(rows), normal.log_prob(some))
    return pairs
