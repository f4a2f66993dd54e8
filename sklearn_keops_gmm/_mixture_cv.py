"""The estimator that chooses the number of components along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_keops_gmm._base import FittedMixture
from sklearn_keops_gmm._data import (
    Data,
    all_or_nothing,
    as_source,
    attributes_of,
    forget_noise,
)
from sklearn_keops_gmm._estimator import hand_on_features
from sklearn_keops_gmm._fit import (
    CallbackSupport,
    Fold,
    Member,
    Path,
    PathProgress,
    PathReporter,
    PathSearch,
    PathTasks,
    check_can_hold_out,
    components_in_folds,
    fold_scores,
    folds_of,
    most_components,
    n_distinct_rows,
    say_upper_bound,
    warn_of_weak_components,
)
from sklearn_keops_gmm._mixture import CovarianceType, KeOpsGaussianMixture
from sklearn_keops_gmm._model import (
    CRITERIA,
    AllNoiseError,
    Comparison,
    best_row,
    comparison_table,
    tied_rows,
)
from sklearn_keops_gmm._model.covariances import COVARIANCES, resolve_types
from sklearn_keops_gmm._sparsity_path import (
    as_path,
    attributes_with,
    without_sparsity,
)
from sklearn_keops_gmm.backends import single_thread, warn_user

# Parameters that are handed on to the mixtures of the path.
_OF_THE_MIXTURE = (
    "covariance_type",
    "reg_covar",
    "covariance_pooling",
    "max_iter",
    "init_params",
    "init_size",
    "noise",
    "noise_volume",
    "backend",
    "device",
    "random_state",
)


class KeOpsGaussianMixtureCV(CallbackSupport, FittedMixture):
    """Gaussian mixture that finds its number of components.

    Paths of mixtures are fitted, from `n_components` components down to one (see
    :func:`sparsity_path`; many go several at a time; the bound of Runnalls [2]_ ranks
    which to merge), and the best by a criterion is kept: in the manner of
    :class:`sklearn.linear_model.LassoCV` and ``LassoLarsIC``.

    Parameters
    ----------
    n_components : int, default=30
        The largest number of components. No more are tried than leave each, on
        average, 2 (n_features + 1) samples; features that are constant, or linear
        functions of others, do not count. Without full covariances up to five are
        tried where each has eight samples.
    covariance_type : {'full', 'tied', 'diag', 'spherical', 'tied_diag', \
'tied_spherical', 'auto'} or list of these, default='full'
        As in :class:`KeOpsGaussianMixture`. Of a list, or of all with 'auto', a path is
        followed for each, and the best mixture of all paths is kept.
    criterion : {'lic', 'bic', 'icl', 'cv'}, default='lic'
        'lic' is minus twice the log-likelihood, plus 3 for each parameter of a
        component or covariance, as in AIC3 [1]_, and 2 log N for each component, for
        which of N samples it is at: a criterion of this package. 'bic' is the Bayesian
        information criterion; 'icl' adds the entropy of the responsibilities to it,
        against components that overlap. 'cv' is the mean log-likelihood of samples that
        were held out. A feature that is constant has no parameters where features have
        variances of their own; nor has one that is a linear function of others, where
        they have covariances. Rounded values count with the mean log-likelihood of all
        that rounds to them.
    cv : int, cross-validation generator or iterable, default=None
        The folds of 'cv'. An integer k, or None for 5, is k shuffled folds.
    one_standard_error : bool, default=False
        With 'cv', take the fewest components whose score is within one standard
        error of the best.
    tol : float or 'auto', default='auto'
        Each mixture of the path has converged when by extrapolation less mean
        log-likelihood is to be gained. 'auto' is one nat over all samples: criteria
        compare totals.
    reg_covar : float or 'auto', default='auto'
        Added to the diagonals of the covariances, in squared units of the data. 'auto'
        is a millionth of the variance of each feature, whatever its unit, without what
        is a thousand times as far out as most.
    covariance_pooling : float or 'auto', default='auto'
        So many samples of a common shape, and a scale near its own, are added to each
        component: without it the likelihood has no maximum, and components that sit
        on few samples pay. 'auto' is as in :class:`KeOpsGaussianMixture`.
    max_iter : int, default=300
        The largest number of iterations from one mixture of the path to the next.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'merge'}, \
default='kmeans'
        How the path starts.
    init_size : 'auto', int or None, default='auto'
        As in :class:`KeOpsGaussianMixture`.
    noise : {'uniform'}, default=None
        Let some samples be noise, from no component, as there.
    noise_volume : float, default=None
        What noise has a density of one over; None is the volume of the box of the
        samples.
    backend : {'auto', 'native', 'torch', 'keops'}, default='auto'
        What computes the sums over pairs.
    device : {'auto', 'cpu', 'cuda'} or torch.device, default='auto'
        Where to compute.
    n_jobs : int, default=None
        How many folds of 'cv' to run in parallel, as in joblib.
    random_state : int, RandomState instance or None, default=None
        Seeds `sample`, starts other than 'kmeans', and with criterion 'cv' folds and
        starts. Else neither it nor the order of the samples decides what is found.
    verbose : int, default=0
        1 prints paths, folds and the choice, 2 also each mixture.

    Attributes
    ----------
    n_components_ : int
        The number of components found.
    covariance_type_ : str
        The covariance type found.
    sparsity_ : float
        The smallest sparsity at which the mixture found costs least on the path;
        nan if there is none.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        Of the mixture found, as in :class:`KeOpsGaussianMixture`.
    mixture_ : KeOpsGaussianMixture
        The mixture found, as one of that many components without sparsity.
    converged_ : bool
        Whether one more iteration would gain less than `tol`.
    n_iter_ : int
        The number of mixtures of `path_`, each of which takes up to `max_iter`
        iterations.
    lower_bound_ : float
        Mean log-likelihood of the samples.
    cost_ : float
        Minus that, with what pools covariances and what rounding costs added.
    reg_covar_ : ndarray of shape (n_features,)
        What was added to the variance of each feature.
    covariance_pooling_ : float
        How many samples were added to each component.
    noise_weight_, noise_log_density_ : float
        Of noise, as in :class:`KeOpsGaussianMixture`.
    noise_box_, noise_log_widths_ : ndarray
        Of noise, as in :class:`KeOpsGaussianMixture`.
    path_ : SparsityPath
        The best mixture of that type with each number of components. Except with 'cv'
        it ends where no mixture with fewer components can be better, and of more than
        32 components it leaves out numbers above what is needed.
    results_ : dict of ndarrays of shape (n_compared,)
        A row for each mixture of all types: 'covariance_type', 'n_components',
        'n_parameters', 'log_likelihood' (its sum over the samples), 'criterion' and
        'rank', 1 for the lowest criterion.
    alternatives_ : dict of ndarrays of shape (n_alternatives,)
        The other rows of `results_`, the best first, whose criterion is above the
        lowest by at most 2, or 0.01 per sample: too little to tell them apart. Empty
        with 'cv'.
    criterion_ : ndarray of shape (n_mixtures,)
        The criterion for each mixture of `path_`, the lower the better; with 'cv'
        minus the mean score.
    scores_ : ndarray of shape (n_mixtures, n_folds)
        Mean log-likelihood of what each fold held out, as in `criterion`; only with
        'cv'.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where `X` has them.

    References
    ----------
    .. [1] H. Bozdogan, "Mixture-model cluster analysis using model selection criteria
       and a new informational measure of complexity", Proceedings of the first US/Japan
       conference on the frontiers of statistical modeling, 1994.
    .. [2] A. R. Runnalls, "Kullback-Leibler approach to Gaussian mixture
       reduction", IEEE Transactions on Aerospace and Electronic Systems 43, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import KeOpsGaussianMixtureCV
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(c, 1, (500, 2)) for c in (-5, 0, 5)])
    >>> KeOpsGaussianMixtureCV(random_state=0).fit(X).n_components_
    3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        name: KeOpsGaussianMixture._parameter_constraints[name]
        for name in _OF_THE_MIXTURE
    } | {
        "covariance_type": [
            StrOptions({"auto"}),
            StrOptions(COVARIANCES.keys()),
            list,
            tuple,
        ],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions({*CRITERIA, "cv"})],
        "cv": ["cv_object"],
        "one_standard_error": ["boolean"],
        "tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 30,
        *,
        covariance_type: CovarianceType
        | Literal["auto"]
        | Sequence[CovarianceType] = "full",
        criterion: Literal["lic", "bic", "icl", "cv"] = "lic",
        cv: int | BaseCrossValidator | Any = None,
        one_standard_error: bool = False,
        tol: float | Literal["auto"] = "auto",
        reg_covar: float | Literal["auto"] = "auto",
        covariance_pooling: float | Literal["auto"] = "auto",
        max_iter: int = 300,
        init_params: Literal[
            "kmeans", "k-means++", "random", "random_from_data", "merge"
        ] = "kmeans",
        init_size: int | Literal["auto"] | None = "auto",
        noise: Literal["uniform"] | None = None,
        noise_volume: float | None = None,
        backend: Literal["auto", "native", "torch", "keops"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.criterion = criterion
        self.cv = cv
        self.one_standard_error = one_standard_error
        self.tol = tol
        self.reg_covar = reg_covar
        self.covariance_pooling = covariance_pooling
        self.max_iter = max_iter
        self.init_params = init_params
        self.init_size = init_size
        self.noise = noise
        self.noise_volume = noise_volume
        self.backend = backend
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @single_thread()
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> KeOpsGaussianMixtureCV:
        """Fit the path and choose from it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            As in :meth:`KeOpsGaussianMixture.fit`; one array for 'cv', which holds
            rows out.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples; an integer counts as that many equal rows.
            Other weights count as their effective number of samples, ``sum(w)**2 /
            sum(w**2)`` (Kish, Survey Sampling, 1965), whatever their unit.

        Returns
        -------
        self : KeOpsGaussianMixtureCV

        Raises
        ------
        ValueError
            If a parameter or `X` is unusable, or with ``reg_covar=0`` a component
            collapses.
        """
        with all_or_nothing(self):
            progress = self._fit(X, y, sample_weight)
        progress.tasks.end()
        if not self.converged_:
            warn_user(
                "The mixture found has not converged. Increase max_iter or tol, or "
                "check for degenerate data.",
                ConvergenceWarning,
            )
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> PathProgress:
        source = as_source(X, sample_weight)
        check_can_hold_out(self, X, source.parts)
        data = source.read(self, min_samples=2)
        folds = folds_of(self, source.length(data), data.counts)
        types = resolve_types(self.covariance_type)
        tasks = PathTasks(self, len(types), len(folds))
        tasks.begin(X, y, sample_weight, source.length(data))
        progress = PathProgress(tasks, PathReporter(self.verbose), self.criterion)
        choices = self._choices(types, data, folds, progress)
        best = min(choices, key=lambda choice: choice.criterion.min())
        self.results_ = comparison_table(
            [
                (choice.path.mixture.covariance_type, member.evidence)
                for choice in choices
                for member in choice.members
            ],
            np.concatenate([choice.criterion for choice in choices]),
        )
        self.alternatives_ = tied_rows(self.results_, data.sample_size, bool(folds))
        self._has_more_rows = best.has_more_rows
        self._set_result(best, data)
        value = float(best.criterion[best.chosen])
        progress.reporter.choice(self.n_components_, self.covariance_type_, value)
        return progress

    def _choices(
        self,
        types: Sequence[str],
        data: Data,
        folds: list[Fold],
        progress: PathProgress,
    ) -> list[Choice]:
        """Choose from the path of each covariance type that does not lose to noise."""
        found: list[Choice] = []
        for covariance_type in types:
            least = min((choice.criterion.min() for choice in found), default=np.inf)
            try:
                found.append(
                    self._choose(covariance_type, data, folds, progress, least)
                )
            except AllNoiseError as error:
                lost = error
            if found and progress.stopped:
                break
        if not found:
            raise lost
        return found

    def _choose(
        self,
        covariance_type: str,
        data: Data,
        folds: list[Fold],
        progress: PathProgress,
        least: float,
    ) -> Choice:
        """Follow the path of one covariance type, and choose from it."""
        settings = {name: getattr(self, name) for name in _OF_THE_MIXTURE}
        bound = min(self.n_components, most_components(data, covariance_type))
        n_most = n_distinct_rows(data.points, bound)
        n_most = components_in_folds(folds, data.points, n_most)
        settings["covariance_type"] = covariance_type
        mixture = KeOpsGaussianMixture(n_most, **settings)
        path = Path(mixture, data, self.tol, progress.member)
        progress.begin(covariance_type, n_most, partial(attributes_with, path, data))
        if self.criterion != "cv":
            members, criterion = PathSearch(path, self.criterion).run(least)
            chosen = int(np.argmin(criterion))
            scores = None
        else:
            members = path.converged()
            progress.end(members[0])
            scores = self._held_out_scores(path, data, members, folds, progress)
            criterion = -scores.mean(1)
            chosen = best_row(scores, one_standard_error=self.one_standard_error)
        # One that another step would lose to noise raises an error.
        converged = path.has_converged(members[chosen])
        progress.end(members[chosen])
        more = n_most == bound
        return Choice(path, members, criterion, chosen, more, converged, scores)

    def _set_result(self, choice: Choice, data: Data) -> None:
        """Set the fitted attributes."""
        mixture, task = choice.path.mixture, choice.path.task
        hand_on_features(self, mixture)
        self.criterion_ = data.kind.wrap(torch.from_numpy(choice.criterion))
        if choice.scores is not None:
            self.scores_ = data.kind.wrap(torch.from_numpy(choice.scores))
        self.path_ = as_path(choice.path, data, choice.members)
        self.mixture_ = without_sparsity(self.path_.mixtures[choice.chosen])
        self.sparsity_ = float(self.path_.sparsities[choice.chosen, 0])
        for name in ("reg_covar_", "covariance_pooling_"):
            setattr(self, name, getattr(self.mixture_, name))
        member = choice.members[choice.chosen]
        self.converged_ = self.mixture_.converged_ = choice.converged
        self.n_iter_ = len(choice.members)
        self.lower_bound_, self.cost_ = self.mixture_.lower_bound_, self.mixture_.cost_
        model = task.model(member.parameters)
        forget_noise(self)
        self.__dict__.update(attributes_of(model, data.kind, data.points.dtype))
        self._sample_size = float(data.sample_size)
        self._warn(task.weak_components(member.state))

    def _warn(self, weak: list[int]) -> None:
        """Warn where the answer rests on few samples, or on the upper bound."""
        warn_of_weak_components(
            weak, "Fit fewer features or another covariance_type, or give more samples."
        )
        if bound := self._of_upper_bound():
            warn_user(bound)

    def _of_upper_bound(self) -> str:
        """Return what there is to say if the largest number tried was the best."""
        most = int(self.path_.n_components[0])
        # Attributes of older versions do not tell.
        more = getattr(self, "_has_more_rows", True)
        if not (more and self.n_components_ == most and self.n_components > 1):
            return ""
        return say_upper_bound(most, self.n_components)

    # -- what is about the mixture found, and not about the choice -------------------

    def to_sklearn(self) -> GaussianMixture:
        """Return the mixture found as a fitted one of scikit-learn.

        Returns
        -------
        mixture : sklearn.mixture.GaussianMixture

        Raises
        ------
        NotFittedError
            If no mixture was found yet.
        ValueError
            If scikit-learn lacks the covariance type.
        """
        check_is_fitted(self)
        return self.mixture_.to_sklearn()

    def _template(self) -> KeOpsGaussianMixture:
        return self.mixture_

    def _beside(self) -> dict[str, Any]:
        bound = self._of_upper_bound()
        known: dict[str, Any] = {"warnings": (bound,) if bound else ()}
        # Attributes of older versions do not tell.
        if hasattr(self, "results_"):
            known["choice"] = Comparison.among(
                self.criterion, self.results_, self.n_components_, self.covariance_type_
            )
        if hasattr(self, "_sample_size"):
            known["sample_size"] = self._sample_size
        return known

    # -- cross-validation ----------------------------------------------------------

    def _held_out_scores(
        self,
        path: Path,
        data: Data,
        members: list[Member],
        folds: list[Fold],
        progress: PathProgress,
    ) -> np.ndarray:
        """Return mean log-likelihoods, (n_members, n_folds), of held-out samples."""
        progress.tasks.begin_folds()
        columns = []
        for column in Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(fold_scores)(path.mixture, data, fold, self.tol) for fold in folds
        ):
            columns.append(column)
            progress.fold(len(columns) - 1, len(folds))
        counts = [member.n_components for member in members]
        return np.array([[column[k] for column in columns] for k in counts])


@dataclass(frozen=True)
class Choice:
    """A path, and what was chosen from it.

    Attributes
    ----------
    path : Path
    members : list of Member
    criterion : ndarray of shape (n_members,)
    chosen : int
        Which of them.
    has_more_rows : bool
        Whether more components could have been tried, for what distinct rows there are.
    converged : bool
        Whether another iteration would gain less than the tolerance.
    scores : ndarray of shape (n_members, n_folds) or None
    """

    path: Path
    members: list[Member]
    criterion: np.ndarray
    chosen: int
    has_more_rows: bool
    converged: bool
    scores: np.ndarray | None = None
