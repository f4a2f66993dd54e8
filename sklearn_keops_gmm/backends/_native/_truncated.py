"""Moments for which each sample has few components: its candidates."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from sklearn_keops_gmm._model import Components, Frame, Moments, Structure
from sklearn_keops_gmm.backends._native._candidates import Candidates
from sklearn_keops_gmm.backends._native._reductions import NativeReductions
from sklearn_keops_gmm.backends._threads import single_thread


class TruncatedReductions(NativeReductions):
    """Reductions whose moments are those of truncated EM; all others are exact.

    Each sample keeps `truncation` candidates, the components of the largest densities
    that were found, and all others have no share in it. In the first calls of `moments`
    and in every third of the others they are sought among the last ones, the neighbours
    of the best of them, a few of theirs, and what samples with the same best one have.
    So if each call has the M-step of the one before, the log-likelihood, which leaves
    out all other components too, never falls: the E-step is the best of those with so
    many components, among some of which one is that of the call before. In the first
    calls they are three times as many, until fewer have no smaller a log-likelihood
    than all had before.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    sample_weight : Tensor of shape (N,) or None
    frame : Frame
    truncation : int
        How many candidates a sample has.

    References
    ----------
    Salwig, Kahlke, Hirschberger, Forster and Lücke, "Sublinear variational
    optimization of Gaussian mixture models with millions to billions of parameters"
    (2025); Forster and Lücke, "Can clustering scale sublinearly with its clusters? A
    variational EM acceleration of GMMs and k-means", AISTATS (2018).
    """

    def __init__(
        self,
        points: Tensor,
        sample_weight: Tensor | None,
        frame: Frame,
        *,
        truncation: int,
    ) -> None:
        super().__init__(points, sample_weight, frame)
        self._truncation = truncation
        self._candidates: Candidates | None = None

    def moments(self, components: Components) -> Moments:
        """Return the moments about ``components.means``, and the truncated bound."""
        n_components = len(components.offsets)
        with single_thread():
            local = components.in_frame(self._frame)
            held = self._candidates
            if held is None or held.n_components != n_components:
                given = self._points, self._frame, self._sample_weight
                held = Candidates(*given, self._truncation, local)
                self._candidates = held
            return held.step(local)

    def leaders(self) -> Tensor:
        """Return the best candidate of each sample, (N,), int64, of the last call."""
        assert self._candidates is not None
        return self._candidates.leaders()


@dataclass(frozen=True)
class TruncatedBackend:
    """A backend whose moments are those of few candidates for each sample.

    Attributes
    ----------
    truncation : int
        How many.
    """

    truncation: int

    @property
    def structures(self) -> Collection[Structure]:
        """The structures of covariances that it can compute with."""
        return TruncatedReductions.structures

    def __call__(
        self, points: Tensor, sample_weight: Tensor | None, frame: Frame
    ) -> TruncatedReductions:
        return TruncatedReductions(
            points, sample_weight, frame, truncation=self.truncation
        )
