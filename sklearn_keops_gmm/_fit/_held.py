"""What goes on from a fit holds some of its parameters: only a new fit changes them."""

from __future__ import annotations

from typing import Any

from sklearn_keops_gmm._data import SETTINGS, has_noise

# By what goes on: parameters that say what it goes on with, and how to begin anew. The
# covariance type is told by the arrays; all others are heeded from then on, or have a
# say in how a fit starts and runs only.
_HELD = {
    "partial_fit": (("n_components", "noise", "noise_volume"), "call fit"),
    "warm_start=True": (("n_components",), "set warm_start=False"),
}


def check_held(mixture: Any, what: str) -> None:
    """Raise ValueError if a parameter that is held was set to something else.

    Parameters
    ----------
    mixture : estimator
        Fitted.
    what : {"partial_fit", "warm_start=True"}
        Goes on from the fit.
    """
    names, anew = _HELD[what]
    fitted_with = _fitted_with(mixture)
    for name in names:
        given = getattr(mixture, name)
        if given in fitted_with.get(name, (given,)):
            continue
        held = " or ".join(f"{name}={value!r}" for value in fitted_with[name])
        raise ValueError(
            f"{name}={given!r} was set, but {what} goes on with a mixture that has "
            f"{held}. Set it to that again, or {anew} to begin anew."
        )


def _fitted_with(mixture: Any) -> dict[str, tuple[Any, ...]]:
    """Return what each parameter may be that the mixture was fitted with, if known."""
    # Of mixtures of older versions the attributes tell.
    noise = "uniform" if has_noise(mixture) else None
    settings = {"noise": noise} | vars(mixture).get(SETTINGS, {})
    known: dict[str, tuple[Any, ...]] = {
        name: (value,) for name, value in settings.items()
    }
    # Components that have left are none to go on with.
    alive = len(mixture.means_)
    if known.get("n_components", ()) not in ((), (alive,)):
        known["n_components"] += (alive,)
    return known
