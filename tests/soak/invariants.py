"""What holds for every mixture that a fit returns."""

import numpy as np

from tests import reference
from tests.common import mixture_of
from tests.soak.rounding import expected

_ARRAYS = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
)
_NUMBERS = ("cost_", "costs_", "lower_bound_", "lower_bounds_")
# Points whose answers are compared with those of the reference: the farthest, others.
_FAR, _OTHERS = 20, 60


class Violation(AssertionError):  # noqa: N818
    """An invariant does not hold; its name says which."""

    def __init__(self, name, detail=""):
        super().__init__(f"{name}: {detail}")
        self.name = name


def require(holds, name, detail=""):
    """Raise Violation unless something holds."""
    if not np.all(holds):
        raise Violation(name, detail)


def check_attributes(model):
    """Finite attributes, weights on the simplex, covariances positive definite."""
    n_iter = getattr(model, "n_iter_", 0)
    for name in (*_ARRAYS, *_NUMBERS):
        values = np.asarray(getattr(model, name, 0.0))
        by_design = name == "lower_bound_" and n_iter == 0 and values == -np.inf
        require(np.isfinite(values) | by_design, f"{name} finite", values)
    weights = model.weights_
    require(weights >= 0, "weights not negative", weights)
    # Those of a start need not sum to 1, as in scikit-learn.
    started = n_iter > 0 or not hasattr(model, "costs_")
    error = abs(weights.sum(dtype=float) - 1) if started else 0.0
    allowed = 1e-6 if weights.dtype == np.float32 else 1e-12
    require(error <= allowed, "weights sum to 1", error)
    _check_definite(model)


def _check_definite(model):
    """Covariances, in units in which their diagonals are 1, and their inverses."""
    structure, means = model.covariance_type, model.means_
    covariances, precisions, factors = (
        reference.as_matrices(structure, array.astype(float), means)
        for array in (model.covariances_, model.precisions_, model.precisions_cholesky_)
    )
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    require(variances > 0, "variances positive", variances.min())
    require(np.tril(factors, -1) == 0, "factors triangular")
    require(np.diagonal(factors, axis1=1, axis2=2) > 0, "factors positive")
    kind = np.finfo(means.dtype)
    eps = 8 * means.shape[1] * float(kind.eps)
    size = abs(factors) @ abs(factors).mT
    error = abs(precisions - factors @ factors.mT)
    allowed = eps * size + means.shape[1] * float(kind.tiny)
    require(error <= allowed, "precisions are A A^T", (error - allowed).max())
    units = np.sqrt(variances)
    covariances = covariances / units[:, :, None] / units[:, None, :]
    for covariance, factor in zip(
        covariances, factors * units[:, :, None], strict=True
    ):
        least = np.linalg.eigvalsh(covariance)[0]
        require(least > -eps, "covariances positive definite", least)
        _check_inverse(covariance, factor, eps)


def _check_inverse(covariance, factor, eps):
    """``A^T Sigma A`` is 1, up to conditioning."""
    allowed = eps * abs(factor.T) @ abs(covariance) @ abs(factor)
    # Of the factor, which an algorithm makes, no more is known than its size.
    allowed = allowed + eps * np.linalg.norm(factor) ** 2
    error = abs(factor.T @ covariance @ factor - np.eye(len(factor)))
    require((error <= allowed) | (allowed > 0.1), "inverse", error.max())


def check_answers(model, case):
    """Compare what the model answers with the reference; return the slack of it."""
    X = computed(case.points)
    rows = _chosen(X, case.seed)
    with np.errstate(all="ignore"):
        truth = expected(
            X[rows],
            model.covariance_type,
            mixture_of(model),
            model.precisions_cholesky_,
        )
    found = model.score_samples(X)
    require(~np.isnan(found), "score_samples not NaN")
    _check_log_density(found[rows], truth, "score_samples")
    _check_probabilities(model, X[rows], truth)
    _check_mean(model, case, X, found, truth)
    backend = "native" if model.backend == "torch" else "torch"
    with _using(model, backend):
        other = model.score_samples(X)
    require(~np.isnan(other), f"score_samples of {backend} not NaN")
    _check_log_density(other[rows], truth, f"score_samples of {backend}")
    return truth


def computed(X):
    """Return points as a fit computes with them: integers are float64."""
    return X if X.dtype == np.float32 else X.astype(np.float64)


class _using:  # noqa: N801
    """Within this context a model answers by another backend."""

    def __init__(self, model, backend):
        self.model, self.backend, self.before = model, backend, model.backend

    def __enter__(self):
        self.model.backend = self.backend

    def __exit__(self, *_):
        self.model.backend = self.before


def _chosen(X, seed):
    """Return some rows: those farthest from the median, and random ones."""
    with np.errstate(over="ignore"):
        distances = abs(X - np.median(X, axis=0)).max(axis=1)
    far = np.argsort(distances)[-_FAR:]
    rng = np.random.default_rng(seed)
    others = rng.choice(len(X), min(len(X), _OTHERS), replace=False)
    return np.union1d(far, others)


def _check_log_density(found, truth, name):
    known = truth.representable
    inside = (truth.low <= found) & (found <= truth.high)
    error = np.where(known, abs(found - truth.log_density) / truth.slack, 0.0)
    worst = int(error.argmax())
    detail = (
        f"{found[worst]} for {truth.log_density[worst]:.17g}, "
        f"allowed {truth.slack[worst]:.3g}"
    )
    require(inside | ~known, f"{name} as in the reference", detail)


def _check_probabilities(model, X, truth):
    """Rows sum to 1, are those of the reference, and labels are the most probable."""
    found, labels = model.predict_proba(X), model.predict(X)
    require(np.isfinite(found), "probabilities finite")
    known = truth.representable
    eps = 8 * (found.shape[1] + 1) * float(np.finfo(found.dtype).eps)
    error = abs(found.sum(axis=1, dtype=float) - 1)[known]
    require(error <= eps, "probabilities sum to 1", error.max(initial=0))
    with np.errstate(all="ignore"):
        low = np.exp(truth.terms - truth.rounding - truth.high[:, None])
        high = np.exp(truth.terms + truth.rounding - truth.low[:, None])
    inside = (low * (1 - eps) - eps <= found) & (found <= high * (1 + eps) + eps)
    require(inside[known], "probabilities as in the reference")
    rows = np.arange(len(X))
    chosen = (truth.terms + truth.rounding)[rows, labels]
    best = (truth.terms - truth.rounding).max(axis=1)
    require((chosen >= best)[known], "labels the most probable")


def _check_mean(model, case, X, values, truth):
    """The score is the mean of the scores of the samples, however they are held.

    In parts they are rounded otherwise than all at once.
    """
    held, held_weights = case.held()
    for given, weights in ((X, None), (X, case.sample_weight), (held, held_weights)):
        plain = None if weights is None else case.sample_weight
        counts = slice(None) if plain is None else plain > 0
        wide = values[counts].astype(reference.Wide)
        mean = np.average(wide, weights=None if plain is None else plain[counts])
        size = np.average(abs(wide), weights=None if plain is None else plain[counts])
        found = model.score(given, sample_weight=weights)
        allowed = 64 * float(np.finfo(values.dtype).eps) * (size + 1)
        if given is held:
            allowed += truth.slack[truth.representable].max(initial=0)
        near = abs(found - mean) <= allowed if np.isfinite(mean) else found == mean
        name = "score is the mean" + (" weighted" if plain is not None else "")
        require(near, name, f"{found} for {float(mean)}")


def check_costs(model, case, truth):
    """No step of EM ends above where it began, and no descent above its last."""
    costs = np.array([*model.costs_, model.cost_])
    if model.solver == "adam" or model.reg_covar > 0 or len(costs) < 2:
        return  # with a floor under the variances something else is lowered
    if _collapsed(model):
        return
    allowed = allowed_rise(costs, model, case, truth)
    rises = np.diff(costs)
    require(rises[-1] <= allowed, "cost_ not above the last", (rises[-1], allowed))
    if model.solver == "em":
        worst = int(rises.argmax())
        detail = f"by {rises[worst]} at step {worst + 1}, allowed {allowed:.3g}"
        require(rises[worst] <= allowed, "costs never rise", detail)


def allowed_rise(costs, model, case, truth):
    """Return what rounding may add to a cost.

    An M-step adds a floor to every mass, at the origin, which a component that has
    collapsed to less than the rounding of its mean feels.
    """
    dtype = np.float32 if case.points.dtype == np.float32 else np.float64
    slack = truth.slack[truth.representable]
    n_features = case.points.shape[1]
    largest = 1 + abs(costs).max()
    rounding = 32 * n_features * float(np.finfo(dtype).eps) * largest
    floor = n_features * _mass_floor(model)
    return max(float(slack.mean()) if len(slack) else 0.0, 1e-11) + rounding + floor


def _collapsed(model):
    """Tell whether a component is so flat that rounding decides what its cost is."""
    means = model.means_
    covariances = reference.as_matrices(
        model.covariance_type, model.covariances_.astype(float), means
    )
    units = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    covariances = covariances / units[:, :, None] / units[:, None, :]
    least = np.linalg.eigvalsh(covariances).min()
    flat = least < 64 * means.shape[1] * float(np.finfo(means.dtype).eps)
    return flat or _mass_floor(model) > 0.01


def _mass_floor(model):
    """Return by which part the mass floor widens covariances in an M-step, the mean."""
    means = model.means_.astype(float)
    factors = reference.as_matrices(
        model.covariance_type, model.precisions_cholesky_.astype(float), means
    )
    whitened = np.einsum("jab,ja->jb", factors, means)
    parts = 10 * np.finfo(float).eps * (whitened**2).sum(axis=1)
    return float(model.weights_ @ parts)


def snapshot(model):
    """Return copies of the fitted attributes that there are."""
    names = [name for name in (*_ARRAYS, *_NUMBERS) if hasattr(model, name)]
    return {name: np.array(getattr(model, name)) for name in names}


def check_unchanged(model, before):
    """A fit that was refused leaves the mixture that was there before."""
    after = snapshot(model)
    require(before.keys() == after.keys(), "a refused fit changes nothing")
    for name, value in before.items():
        same = np.array_equal(value, after[name], equal_nan=True)
        require(same, "a refused fit changes nothing", name)
