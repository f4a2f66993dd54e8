"""Fits by every package for Gaussian mixtures, of the same data from the same start.

Each function takes samples, a start as keyword arguments of scikit-learn's class, and
the device to compute on, and returns a function that fits with a number of iterations.
torchgmm takes only the means of the start, and scikit-learn knows only the CPU.
"""

import numpy as np


def parse_shape(shape):
    """Return N, D, M and the structure of "NxDxM" or "NxDxM:structure"."""
    numbers, _, structure = shape.partition(":")
    return *map(int, numbers.split("x")), structure or "full"


def ours(X, start, device, backend="auto"):
    """Fit by KeOpsGaussianMixture."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    given = {**start, "device": device, "backend": backend}
    return lambda max_iter: KeOpsGaussianMixture(max_iter=max_iter, **given).fit(X)


def ours_by_torch(X, start, device):
    """Fit by KeOpsGaussianMixture, whatever it would choose."""
    return ours(X, start, device, "torch")


def ours_by_keops(X, start, device):
    """Fit by KeOpsGaussianMixture, whatever it would choose."""
    return ours(X, start, device, "keops")


def scikit_learn(X, start, device):
    """Fit by sklearn.mixture.GaussianMixture."""
    from sklearn.mixture import GaussianMixture

    return lambda max_iter: GaussianMixture(max_iter=max_iter, **start).fit(X)


def scikit_learn_on_torch(X, start, device):
    """Fit by sklearn.mixture.GaussianMixture, given tensors."""
    import torch
    from sklearn import config_context

    tensors = {
        name: torch.tensor(value, device=device)
        if isinstance(value, np.ndarray)
        else value
        for name, value in start.items()
    }
    # k-means, of which it makes no use here, is refused with tensors.
    tensors["init_params"] = "random_from_data"
    fit_one = scikit_learn(torch.tensor(X, device=device), tensors, device)

    def fit(max_iter):
        with config_context(array_api_dispatch=True):
            fit_one(max_iter)

    return fit


def torchgmm(X, start, device):
    """Fit by torchgmm.bayes.GaussianMixture."""
    import logging

    import torch
    from torchgmm.bayes import GaussianMixture

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    points, means = torch.from_numpy(X), torch.from_numpy(start["means_init"])

    def fit(max_iter):
        GaussianMixture(
            start["n_components"],
            covariance_type=start["covariance_type"],
            init_means=means,
            convergence_tolerance=0.0,
            covariance_regularization=start["reg_covar"],
            trainer_params={
                "max_epochs": max_iter,
                "accelerator": {"cpu": "cpu", "cuda": "gpu"}[device],
                "precision": 8 * X.itemsize,
                "logger": False,
                "enable_progress_bar": False,
                "enable_checkpointing": False,
                "enable_model_summary": False,
            },
        ).fit(points)

    return fit


def gmmx(X, start, device):
    """Fit by gmmx.EMFitter."""
    import jax

    jax.config.update("jax_platforms", device)
    jax.config.update("jax_enable_x64", X.dtype == np.float64)
    from gmmx import EMFitter, GaussianMixtureModelJax

    mixture = GaussianMixtureModelJax.from_squeezed(
        means=start["means_init"],
        covariances=covariances_of(start),
        weights=start["weights_init"],
        covariance_type=start["covariance_type"],
    )
    points = jax.numpy.asarray(X)

    def fit(max_iter):
        fitter = EMFitter(max_iter, tol=0.0, reg_covar=start["reg_covar"])
        found = fitter.fit(points, mixture)
        if found.n_iter < max_iter:
            raise ArithmeticError(f"log-likelihood {found.log_likelihood}: it stopped")

    return fit


def pomegranate(X, start, device):
    """Fit by pomegranate.gmm.GeneralMixtureModel."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    points = torch.tensor(X, device=device)
    means, covariances = start["means_init"], covariances_of(start)
    structure = start["covariance_type"]
    structure = {"spherical": "sphere"}.get(structure, structure)

    def fit(max_iter):
        normals = [
            Normal(
                torch.tensor(mean),
                torch.tensor(np.atleast_1d(covariance)),
                structure,
            )
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        GeneralMixtureModel(
            normals,
            priors=torch.from_numpy(start["weights_init"]),
            max_iter=max_iter,
            tol=-np.inf,
        ).to(device).fit(points)

    return fit


def covariances_of(start):
    """Return the inverses of the precisions of a start."""
    precisions = start["precisions_init"]
    return np.linalg.inv(precisions) if precisions.ndim == 3 else 1 / precisions


# name: the module that has to be installed, and what makes the fits
PEERS = {
    "sklearn_keops_gmm": ("sklearn_keops_gmm", ours),
    "sklearn_keops_gmm, torch": ("sklearn_keops_gmm", ours_by_torch),
    "sklearn_keops_gmm, KeOps": ("pykeops", ours_by_keops),
    "scikit-learn": ("sklearn", scikit_learn),
    "scikit-learn on torch": ("sklearn", scikit_learn_on_torch),
    "torchgmm": ("torchgmm", torchgmm),
    "gmmx": ("gmmx", gmmx),
    "pomegranate": ("pomegranate", pomegranate),
}
