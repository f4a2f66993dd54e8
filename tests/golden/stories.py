"""What is fitted and asked in each case, by name."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from tests.golden.cases import (
    FULL,
    Case,
    grid,
    held_as,
    parameters,
    points,
    weights_for,
)
from tests.golden.describe import fitted

Answers = dict[str, Any]
PLAIN = {
    "type": "full",
    "solver": "em",
    "backend": "native",
    "dtype": "float64",
    "data": "plane",
    "start": "kmeans",
    "held": "whole",
    "weights": "equal",
    "n_init": 1,
    "init_size": "auto",
    "reg_covar": 1e-6,
}
# For what a path and a choice do not take.
_OF_A_CHOICE = ("covariance_type", "backend", "device", "max_iter", "random_state")


def stories() -> dict[str, Callable[[], Answers]]:
    """Return the cases by name, each as a function that returns what there is."""
    found = {name_of(case): partial(fit, case) for case in grid()}
    for story in (steps, warm_start, path, tensors, *CHOICES):
        for levels in product(FULL["type"], FULL["backend"], FULL["dtype"]):
            case = dict(zip(("type", "backend", "dtype"), levels, strict=True))
            if story in CHOICES[1:] and case["dtype"] == "float32":
                continue
            name = getattr(story, "__name__", None) or f"choice {story.args[0]}"
            found[f"{name} {name_of(case)}"] = partial(story, PLAIN | case)
    found["frame"] = partial(frame, PLAIN)
    for structure in ("full", "diag"):
        case = {"type": structure, "backend": "keops"}
        found[f"keops {structure}"] = partial(fit, PLAIN | case)
    return found


def name_of(case: Case) -> str:
    """Return the levels of a case, in words."""
    return " ".join(map(str, case.values()))


def inputs(case: Case) -> tuple[np.ndarray, Any, Any]:
    """Return the samples whole, and samples and weights as they are held."""
    X = points(case["data"], case["dtype"])
    weights = weights_for(X) if case["weights"] == "weighted" else None
    return X, held_as(case["held"], X), held_as(case["held"], weights)


# -- what there is after a fit -----------------------------------------------------


def fit(case: Case) -> Answers:
    """Fit, and ask all questions."""
    X, held, weights = inputs(case)
    model = KeOpsGaussianMixture(**parameters(case, X))
    return answers(model.fit(held, sample_weight=weights), X, held, weights)


def answers(model: Any, X: np.ndarray, held: Any, weights: Any = None) -> Answers:
    """Return the attributes of a mixture and all that it can be asked."""
    told = fitted(model)
    for name in ("score_samples", "predict", "predict_proba"):
        told[name] = computed(getattr(model, name)(held))
    for name in ("score", "bic", "aic"):
        told[name] = getattr(model, name)(held, sample_weight=weights)
    told["sample"] = model.sample(5)
    if X.shape[1] > 1:
        told["marginal"] = model.marginal([1, 0])
        told["condition"] = model.condition(0, float(X[0, 0]))
        given = np.ascontiguousarray(X[:, :1])
        told["conditional_mean"] = model.conditional_mean([0], given)
    if not model.covariance_type.startswith("tied_"):
        told["to_sklearn"] = fitted(model.to_sklearn())
    return told


def computed(answer: Any) -> Any:
    """Return the answer of a lazy array, or of one that is not."""
    return answer.compute() if hasattr(answer, "compute") else answer


# -- other ways to a mixture -------------------------------------------------------


def steps(case: Case) -> Answers:
    """Go on from batch to batch, with weights in one of them."""
    X = points("many", case["dtype"])
    model = KeOpsGaussianMixture(**parameters(case, X), sparsity=1.0)
    for i, batch in enumerate(np.split(X, 5)):
        weights = weights_for(batch) if i == 2 else None
        model.partial_fit(batch, sample_weight=weights)
    return answers(model, X, X)


def warm_start(case: Case) -> Answers:
    """Go on with other samples, after a fit that was cut short."""
    X = points("iris", case["dtype"])
    model = KeOpsGaussianMixture(**parameters(case, X), warm_start=True)
    model.set_params(max_iter=2).fit(X[:50])
    model.set_params(max_iter=10, sparsity=1.0, reg_covar=1e-4).fit(X)
    return answers(model, X, X)


def path(case: Case) -> Answers:
    """Follow a path."""
    X = points("iris", case["dtype"])
    given = _for_a_choice(case, X)
    found = sparsity_path(X, 5, sample_weight=weights_for(X), **given)
    return answers(found.at(2.0), X, X) | {"path": found}


def choice(criterion: str, case: Case) -> Answers:
    """Choose from a path, where that can be of parts."""
    X = points("plane", case["dtype"])
    held = X if criterion == "cv" else held_as("pieces", X)
    given = _for_a_choice(case, X)
    model = KeOpsGaussianMixtureCV(5, criterion=criterion, cv=3, **given)
    return answers(model.fit(held), X, held)


CHOICES = [partial(choice, criterion) for criterion in ("lic", "bic", "icl", "cv")]


def _for_a_choice(case: Case, X: np.ndarray) -> dict[str, Any]:
    given = parameters(case, X)
    return {name: given[name] for name in _OF_A_CHOICE}


def tensors(case: Case) -> Answers:
    """Fit to a tensor, and be asked about one."""
    X = points("iris", case["dtype"])
    held = held_as("tensor", X)
    with sklearn.config_context(array_api_dispatch=True):
        model = KeOpsGaussianMixture(**parameters(case, X)).fit(held)
        told = fitted(model)
        for name in ("score_samples", "predict", "predict_proba", "score"):
            told[name] = getattr(model, name)(held)
        return told


def frame(case: Case) -> Answers:
    """Fit to named features."""
    X = pd.DataFrame(points("iris", case["dtype"]), columns=list("abcd"))
    model = KeOpsGaussianMixture(**parameters(case, X.to_numpy())).fit(X)
    told = {
        "marginal": model.marginal(["c", "a"]),
        "condition": model.condition("b", 3),
    }
    return fitted(model) | told | {"predict_proba": model.predict_proba(X)}
