"""Makes the fit of a case, and says how it ended."""

import re
import time
import traceback
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sklearn_keops_gmm
from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from tests.soak import invariants
from tests.soak.cases import draw
from tests.soak.invariants import Violation, require

# The errors that data may meet. All else that is raised is a failure, also what says
# that there is an infinity in the data: there is none.
_DOCUMENTED = (
    "Fitting the mixture model failed because some components have ill-defined",
    "Expected n_samples >= n_components but got",
    "Found array with 1 sample",
    "Expected 2D array, got 1D array instead",
    "X has no row in any of its parts",
    "Sample weights must contain at least one non-zero number",
    "solver='adam' diverged at iteration",
    r"The cost is (inf|nan|-inf): some samples are so far",
    r"\w+_ would hold numbers that are not finite in float",
    r"Fold \d+ of cv has",
    r"cv=.* cannot split \d+ samples",
)
_PACKAGE = str(Path(sklearn_keops_gmm.__file__).parent)


class Outcome(NamedTuple):
    """How a case ended.

    Attributes
    ----------
    seed : int
    kind : str
        "fitted", "refused", or what failed; failures of a kind have the same.
    detail : str
    seconds : float
    """

    seed: int
    kind: str
    detail: str = ""
    seconds: float = 0.0

    @property
    def failed(self):
        """Whether that must not happen."""
        return self.kind not in ("fitted", "refused")


def run(seed):
    """Return the `Outcome` of a case."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind, detail = _end_of(draw(seed))
    except Violation as error:
        kind, detail = f"violated: {error.name}", str(error)
    except Exception as error:
        first = str(error).split("\n")[0][:70]
        kind = f"{type(error).__name__} in {_where(error)}: {first}"
        detail = traceback.format_exc()
    return Outcome(seed, kind, detail, time.perf_counter() - start)


def _where(error):
    """Name the deepest line of the package that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}, {frame.name}"


def _end_of(case):
    """Fit and check; return "fitted" or "refused", and by which error."""
    model = _model(case)
    with _dask_in_this_thread(case):
        try:
            if case.history == "path":
                _check_path(case)
                return "fitted", ""
            if case.history == "refit":
                _fit_to_tame_data(model, case)
            _unless_refused(model, lambda: _fit(model, case))
            _check_fit(model, case)
            _go_on(model, case)
        except Refused as error:
            return "refused", str(error)
    return "fitted", ""


class Refused(Exception):  # noqa: N818
    """A documented error; what was there before is unchanged."""


def _unless_refused(model, fit):
    """Fit; raise Refused for a documented error, after a look at the model."""
    before = invariants.snapshot(model)
    try:
        return fit()
    except ValueError as error:
        ours = type(error) is ValueError
        pattern = rf"^(\w+(\[[\d:]+\])*: )*({'|'.join(_DOCUMENTED)})"
        if not (ours and re.match(pattern, str(error))):
            raise
        invariants.check_unchanged(model, before)
        raise Refused(str(error)) from error


def _model(case):
    if case.history == "cv":
        return KeOpsGaussianMixtureCV(**case.parameters)
    return KeOpsGaussianMixture(**case.parameters)


def _dask_in_this_thread(case):
    if case.layout != "dask":
        return nullcontext()
    import dask

    return dask.config.set(scheduler="synchronous")


def _fit(model, case):
    X, sample_weight = case.held()
    model.fit(X, sample_weight=sample_weight)


def _fit_to_tame_data(model, case):
    """Fit to data that cannot fail, to see whether what follows breaks it."""
    n_samples = 10 * case.parameters["n_components"] + 10
    rng = np.random.default_rng(case.seed)
    X = rng.normal(size=(n_samples, case.points.shape[1]))
    _unless_refused(model, lambda: model.fit(X))


def _check_fit(model, case):
    """Check all that is known of a fit."""
    invariants.check_attributes(model)
    truth = invariants.check_answers(model, case)
    if case.history != "cv":
        invariants.check_costs(model, case, truth)
        _check_cost(model, case, truth)


def _check_cost(model, case, truth):
    """The cost is that of the attributes, if they are as precise as the fit."""
    if model.weights_.dtype != np.float64 or not truth.representable.all():
        return
    roots = np.sqrt(model.weights_).sum()
    penalty = model.sparsity / model.n_components * roots
    X = invariants.computed(case.points)
    expected = penalty - model.score(X, sample_weight=case.sample_weight)
    allowed = invariants.allowed_rise(np.array([expected]), model, case, truth)
    error = abs(model.cost_ - expected)
    require(error <= allowed, "cost_ is the cost", (model.cost_, expected, allowed))


def _go_on(model, case):
    """Make what comes after the fit, if something does."""
    if case.history == "warm start":
        model.set_params(warm_start=True)
        before = model.cost_
        _unless_refused(model, lambda: _fit(model, case))
        _check_fit(model, case)
        if model.reg_covar == 0 and model.solver == "em":
            rise = model.cost_ - before
            truth = invariants.check_answers(model, case)
            allowed = invariants.allowed_rise(np.array([before]), model, case, truth)
            require(rise <= allowed, "a warm start goes down", (rise, allowed))
    if case.history == "partial fit":
        for rows in (slice(None, None, 2), slice(1, None, 2), slice(None)):
            _unless_refused(model, lambda rows=rows: _step(model, case, rows))
            invariants.check_attributes(model)
            invariants.check_answers(model, case)


def _step(model, case, rows):
    weights = case.sample_weight
    if len(case.points[rows]):
        model.partial_fit(
            case.points[rows], sample_weight=None if weights is None else weights[rows]
        )


def _check_path(case):
    """Check mixtures at both ends of a path and in the middle."""
    X, sample_weight = case.held()
    path = _unless_refused(
        None, lambda: sparsity_path(X, sample_weight=sample_weight, **case.parameters)
    )
    falls = np.diff(path.n_components) == -1
    require(falls, "a path falls by one", path.n_components)
    for k in sorted({0, len(path.mixtures) // 2, len(path.mixtures) - 1}):
        invariants.check_attributes(path.mixtures[k])
        invariants.check_answers(path.mixtures[k], case)
