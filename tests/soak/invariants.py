"""What holds for every mixture that a fit returns."""

import numpy as np

from tests import reference
from tests.data import mixture_of
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
    error = abs(weights.sum(dtype=float) - 1)
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
    units = np.sqrt(variances)
    unit_free = covariances / units[:, :, None] / units[:, None, :]
    factors = factors * units[:, :, None]
    precisions = precisions * units[:, :, None] * units[:, None, :]
    eps = 8 * means.shape[1] * float(np.finfo(means.dtype).eps)
    for covariance, precision, factor in zip(
        unit_free, precisions, factors, strict=True
    ):
        least = np.linalg.eigvalsh(covariance)[0]
        require(least > -eps, "covariance positive definite", least)
        _check_inverse(covariance, precision, factor, eps)


def _check_inverse(covariance, precision, factor, eps):
    """``A A^T`` is the precision and ``A^T Sigma A`` is 1, up to conditioning."""
    size = abs(factor) @ abs(factor.T)
    require(abs(precision - factor @ factor.T) <= eps * size, "precision is A A^T")
    allowed = eps * abs(factor.T) @ abs(covariance) @ abs(factor)
    # Rounding of the factor itself, beside which nothing is known of the product.
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
    _check_mean(model, case, X, found)
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


def _check_mean(model, case, X, values):
    """The score is the mean of the scores of the samples, however they are held."""
    held, held_weights = case.held()
    for given, weights in ((X, None), (X, case.sample_weight), (held, held_weights)):
        plain = None if weights is None else case.sample_weight
        counts = slice(None) if plain is None else plain > 0
        wide = values[counts].astype(reference.Wide)
        mean = np.average(wide, weights=None if plain is None else plain[counts])
        size = np.average(abs(wide), weights=None if plain is None else plain[counts])
        found = model.score(given, sample_weight=weights)
        allowed = 64 * float(np.finfo(values.dtype).eps) * (size + 1)
        near = abs(found - mean) <= allowed if np.isfinite(mean) else found == mean
        name = "score is the mean" + (" weighted" if plain is not None else "")
        require(near, name, f"{found} for {float(mean)}")


def check_costs(model, case, truth):
    """No step of EM ends above where it began, and the fit not above its last."""
    costs = np.array([*model.costs_, model.cost_])
    if model.reg_covar > 0 or len(costs) < 2:
        return  # with a floor under the variances something else is lowered
    allowed = allowed_rise(costs, case, truth)
    rises = np.diff(costs)
    last_rise = rises[-1]
    require(last_rise <= allowed, "cost_ not above the last", (last_rise, allowed))
    if model.solver == "em":
        worst = rises.max()
        require(worst <= allowed, "costs never rise", (worst, allowed))


def allowed_rise(costs, case, truth):
    """Return what rounding may add to a cost."""
    dtype = np.float32 if case.points.dtype == np.float32 else np.float64
    slack = truth.slack[truth.representable]
    eps = case.points.shape[1] * float(np.finfo(dtype).eps)
    largest = 1 + abs(costs).max()
    return max(float(slack.mean()) if len(slack) else 0.0, 1e-11) + 32 * eps * largest


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
