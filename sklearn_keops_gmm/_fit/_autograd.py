"""The log-likelihood as a function that torch can differentiate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sklearn_keops_gmm._model import Components, Prior
from sklearn_keops_gmm._model.covariances import CovarianceStructure
from sklearn_keops_gmm.backends import Reductions


class LogLikelihood(torch.autograd.Function):
    """``sum_i v_i log p(x_i)`` with its gradient from the moments.

    Two reductions give both, where differentiating through the reductions would
    take four. By Fisher's identity the gradient is that of the expected complete
    log-likelihood, whose expectations the moments are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        offsets: Tensor,
        means: Tensor,
        factors: Tensor,
        log_noise: Tensor | None,
        covariance: CovarianceStructure,
        reductions: Reductions,
    ) -> tuple[Tensor, Tensor]:
        # Gradients are off in this thread only, and the sums may need other threads.
        components = Components(
            covariance.structure,
            offsets.detach(),
            means.detach(),
            factors.detach(),
            0.0 if log_noise is None else float(log_noise.exp()),
        )
        moments = reductions.moments(components)
        ctx.save_for_backward(factors)
        ctx.moments, ctx.covariance = moments, covariance
        ctx.mark_non_differentiable(moments.mass)
        return offsets.new_tensor(moments.log_likelihood), moments.mass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (factors,) = ctx.saved_tensors
        scale = gradients[0]
        means_gradient, factors_gradient = ctx.covariance.quadratic_gradient(
            factors, ctx.moments
        )
        return (
            scale * ctx.moments.mass,
            scale * means_gradient,
            scale * factors_gradient,
            scale * ctx.moments.noise if ctx.needs_input_grad[3] else None,
            None,
            None,
        )


def log_weights_of(
    prior: Prior, logits: Tensor, n_components: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the logarithms of weights, of these beside noise, and of its weight.

    Of noise, whose logit is the last if there is some, priors know nothing.
    """
    own = logits[:n_components]
    log_weights = torch.log_softmax(prior.logits(own), 0)
    if len(own) == len(logits):
        return log_weights, log_weights, None
    both = torch.stack((torch.logsumexp(own, 0), logits[-1]))
    log_share, log_noise = torch.log_softmax(both, 0)
    return log_weights, log_weights + log_share, log_noise
