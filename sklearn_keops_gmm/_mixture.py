"""The estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from sklearn_keops_gmm._base import FittedMixture
from sklearn_keops_gmm._data import (
    Data,
    all_or_nothing,
    as_source,
    check_component_labels,
    forget_noise,
    keep_settings,
)
from sklearn_keops_gmm._fit import (
    STARTS,
    CallbackSupport,
    FitProblem,
    FitTasks,
    adapted_mixture,
    build_problem,
    check_components_stay,
    check_held,
    continues,
    has_steps,
    history_of,
    known_mixture,
    makes_moves,
    online_step,
    remembered,
    solve,
    warm_start_of,
    warn_of_large_ridge,
    warn_of_weak_components,
)
from sklearn_keops_gmm._interop import from_sklearn
from sklearn_keops_gmm._model import (
    Prior,
    PriorFunction,
    SolverResult,
)
from sklearn_keops_gmm._model.covariances import COVARIANCES
from sklearn_keops_gmm.backends import BACKENDS, single_thread, warn_user
from sklearn_keops_gmm.solvers import ACCELERATIONS, SOLVERS

# One of the package's own types, or one that was registered.
CovarianceType = (
    Literal["full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"] | str
)


class KeOpsGaussianMixture(CallbackSupport, FittedMixture):
    """Gaussian mixture with a sparsity prior, fitted without the N x M matrix.

    A drop-in for :class:`sklearn.mixture.GaussianMixture`: the parameters that the
    two share mean the same. The fit minimises ::

        cost = -mean_i log sum_j W_j N(x_i; mu_j, Sigma_j) + (s / M) sum_j sqrt(W_j)

    with s = `sparsity` and M = `n_components`, plus `prior` if there is one. With
    s > 0, M is an upper bound: components that the prior extinguishes are removed.

    Parameters
    ----------
    n_components : int, default=1
        The number of components M to start from.
    covariance_type : {'full', 'tied', 'diag', 'spherical', 'tied_diag', \
'tied_spherical'}, default='full'
        A matrix per component, one matrix for all, a diagonal per component, a
        variance per component, one diagonal for all, or one variance for all.
    sparsity : float, default=0.0
        Strength s >= 0 of the prior on the weights; 0 is maximum likelihood.
    prior : callable, default=None
        A second prior, ``prior(weights, means, precisions_cholesky)``: a term of the
        cost, for 'lbfgs' and 'adam', which torch differentiates. It is given float64
        tensors on the device of the computation, of the shapes of the attributes
        with these names for the components alive, the factors upper-triangular,
        and returns a tensor of shape ().
    solver : {'em', 'adam', 'lbfgs'}, default='em'
        'em' is expectation-maximisation, penalised by majorising the prior; 'lbfgs'
        is quasi-Newton descent; 'adam' is gradient descent in the units of the data:
        scale them.
    moves : bool or 'auto', default='auto'
        Let 'em' continue after it has converged: merge, drop and split components as
        long as that lowers the cost, and leave out those on so few samples that only
        luck pays for them. Without `sparsity` their number stays: two are
        merged and another is split, as long as that raises the likelihood and leaves no
        component on fewer samples than features plus one. 'auto' is with `sparsity`.
    acceleration : {'squarem'}, default=None
        Let 'em' extrapolate two of its steps wherever that lowers the cost: many times
        fewer iterations where components overlap and `tol` is small. Extrapolations
        that fail count in `max_iter`, not in `n_iter_`.
    truncation : int, default=None
        So many components that each sample belongs to at most, in a fit, but in its
        first steps, which have three times as many until fewer do not lower the bound.
        'em' then looks for those of the largest densities among few, which makes it
        many times faster from a thousand components on. It maximises the likelihood of
        these alone, a lower bound; predictions and scores are exact. 3 to 10 are usual.
        None, or as many as there are components, is EM. It takes samples in memory, the
        start 'kmeans' (in a form of its own, for very many components) or
        'random_from_data', and no `sparsity`, `noise`, `moves`, `acceleration`,
        `n_init` or `component_labels`.
    tol : float, default=1e-3
        'em' stops when the cost changes by less; 'lbfgs' when it falls by less, also
        once it has begun anew; 'adam' when its mean over ten iterations changes by
        less.
    reg_covar : float or 'auto', default=1e-6
        Added to the diagonals of the covariances, in squared units of the data. 'auto'
        is a millionth of the variance of each feature, whatever its unit, without what
        is a thousand times as far out as most.
    covariance_pooling : float or 'auto', default=0.0
        So many samples of a common shape, and a scale near its own, are added to each
        component: it keeps components off single samples. 'auto' is the number of free
        parameters of a covariance divided by that of features, (D + 1) / 2 for 'full',
        1 for 'diag', 1 / D for 'spherical'; covariances that components share are not
        pulled. Values that were rounded, as to whole minutes, then also stand for all
        that round to them.
    max_iter : int, default=100
        The largest number of iterations; for 'adam' passes through the data. With
        `moves`, 'em' may take as many each time that it runs, and `n_iter_` is their
        sum.
    n_init : int, default=1
        The number of starts; the one with the lowest cost is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'merge'}, \
default='kmeans'
        How to start, as in scikit-learn. 'merge' starts from three times as many
        components, and merges them down. With `moves` but without `sparsity` it starts
        from twice as many, or at most 16 components by k-means; it then joins what it
        has found with the components of other starts up to six times, merges again,
        and keeps what costs less. With `sparsity` and `moves`, up to 100 components and
        without `covariance_pooling`, 'kmeans' draws the same from every `random_state`
        and in every order of the samples; only further starts of `n_init` differ.
    init_size : 'auto', int or None, default='auto'
        The number of samples, drawn at random, that 'kmeans' and 'k-means++' see if
        there are more; the clusters of 'kmeans' then take in all samples. 'auto' is
        20,000, or 100 per component where that is more; None is all samples. With
        no more samples than that the start is scikit-learn's; from 200,000 samples
        times components on it is found by loops of our own, with the same draws, and
        is the same but for rounding.
    weights_init : array-like of shape (n_components,), default=None
        Initial weights; they sum to 1.
    means_init : array-like of shape (n_components, n_features), default=None
        Initial means.
    precisions_init : array-like, default=None
        Initial precisions (inverse covariances), of the shape of `covariances_`.
    noise : {'uniform'}, default=None
        Let some samples be noise, from no component: it has the same density
        everywhere, and a weight that is fitted. Neither `sparsity`, `reg_covar` nor
        `covariance_pooling` has to do with it. Starts leave out samples that have few
        others near them, and 'kmeans' is the best of ten runs.
    noise_volume : float, default=None
        What noise has a density of one over. None is the volume of the box of the
        samples. Features that are constant do not count, nor with covariances that are
        matrices those that are linear functions of others: along these noise is as
        dense as components are.
    frozen : list of {'weights', 'means', 'covariances'} or dict, default=None
        What 'em' and 'lbfgs' leave bit by bit as it is at the start: given by the
        arrays above, or by `warm_start`. A dictionary has True, or a mask of shape
        (n_components,), for each. The rest is fitted to it: weights fill what frozen
        ones leave, and covariances are about frozen means. Where components may leave,
        as with `sparsity` or `moves`, none can be frozen.
    learning_rate : float, default=0.1
        Step size of 'adam'.
    batch_size : int, default=None
        At most so many samples in a step of 'adam', which then takes several in a
        pass through the shuffled data. None takes all samples in one step.
    learning_decay : float, default=0.7
        Exponent, in (0.5, 1], by which steps of `partial_fit` shrink with their number.
    learning_offset : float, default=10.0
        What is added to that number: the more, the smaller are the first steps.
    backend : {'auto', 'native', 'torch', 'keops'}, default='auto'
        What computes the sums over pairs. 'auto' is 'native' on a CPU, if the
        package was installed with a compiler, else 'torch'.
    device : {'auto', 'cpu', 'cuda'} or torch.device, default='auto'
        Where to compute. 'auto' is CUDA if there is one and samples times
        components times features reach 1e8, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts, the batches, and `sample`.
    warm_start : bool, default=False
        Start from the result of the previous fit; `n_init` and what else says how to
        start are then ignored. `n_components` and `covariance_type` have to stay.
    verbose : int, default=0
        1 prints starts and iterations, 2 also times and changes of the cost.
    verbose_interval : int, default=10
        Number of iterations between lines.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components_,)
        Weights of the components; they sum to 1, or with `noise` to 1 -
        ``noise_weight_``.
    means_ : ndarray of shape (n_components_, n_features)
        Means of the components.
    covariances_ : ndarray
        Shape (n_components_, n_features, n_features) for 'full', (n_features,
        n_features) for 'tied', (n_components_, n_features) for 'diag',
        (n_components_,) for 'spherical', (n_features,) for 'tied_diag', (1,) for
        'tied_spherical'.
    precisions_ : ndarray
        Inverses of the covariances, of the same shape.
    precisions_cholesky_ : ndarray
        Upper-triangular A with ``precisions_ = A @ A.T``, of the same shape.
    n_components_ : int
        The number of components alive.
    covariance_type_ : str
        The covariance type that was fitted.
    reg_covar_ : ndarray of shape (n_features,)
        What was added to the variance of each feature.
    covariance_pooling_ : float
        How many samples were added to each component.
    noise_weight_ : float
        The part of noise; only with `noise`, and so are the next three.
    noise_log_density_ : float
        The logarithm of its density.
    noise_box_ : ndarray of shape (2, n_features)
        The least and the greatest value of each feature: where `sample` draws noise.
    noise_log_widths_ : ndarray of shape (n_features,)
        What its density is one over in each feature, in logarithms.
    converged_ : bool
        Whether the kept start stopped by `tol`.
    n_iter_ : int
        Iterations of the kept start.
    lower_bound_ : float
        Mean log-likelihood of the parameters that the last iteration started from;
        with `truncation` a bound below it, as in `lower_bounds_`, `cost_` and `costs_`.
    lower_bounds_ : list of float
        The same for each iteration.
    cost_ : float
        Penalised cost of the fitted attributes, on all the data.
    costs_ : list of float
        Penalised cost of the parameters that each iteration started from. With
        `batch_size` the mean over batches, each at the start of its own step.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where `X` has them.

    References
    ----------
    The prior is that of the KeOps tutorial "Fitting a Gaussian Mixture Model";
    majorise-minimise for it follows Hunter and Lange, "A tutorial on MM
    algorithms", The American Statistician 58 (2004). 'squarem' is that of Varadhan
    and Roland, Scandinavian Journal of Statistics 35 (2008); 'adam' that of Kingma
    and Ba, ICLR (2015); 'lbfgs' that of SciPy, L-BFGS-B (Byrd et al., 1995). Noise is
    that of Banfield and Raftery, "Model-based Gaussian and non-Gaussian clustering",
    Biometrics 49 (1993).
    `truncation` follows Forster and Lücke, "Can clustering scale sublinearly with its
    clusters?", AISTATS (2018), and Salwig, Kahlke, Hirschberger, Forster and Lücke,
    "Sublinear variational optimization of Gaussian mixture models with millions to
    billions of parameters" (2025).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import KeOpsGaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> mixture = KeOpsGaussianMixture(n_components=2, random_state=0).fit(X)
    >>> mixture.means_
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> mixture.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions(COVARIANCES.keys())],
        "sparsity": [Interval(Real, 0.0, None, closed="left")],
        "prior": [callable, Prior, None],
        "solver": [StrOptions(SOLVERS.keys())],
        "moves": ["boolean", StrOptions({"auto"})],
        "acceleration": [StrOptions({name for name in ACCELERATIONS if name}), None],
        "truncation": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
        "covariance_pooling": [
            Interval(Real, 0.0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({*STARTS, "merge"})],
        "init_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "noise": [StrOptions({"uniform"}), None],
        "noise_volume": [Interval(Real, 0.0, None, closed="neither"), None],
        "frozen": [list, tuple, dict, None],
        "learning_rate": [Interval(Real, 0.0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_decay": [Interval(Real, 0.5, 1.0, closed="right")],
        "learning_offset": [Interval(Real, 0.0, None, closed="left")],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        sparsity: float = 0.0,
        prior: PriorFunction | Prior | None = None,
        solver: Literal["em", "adam", "lbfgs"] = "em",
        moves: bool | Literal["auto"] = "auto",
        acceleration: Literal["squarem"] | None = None,
        truncation: int | None = None,
        tol: float = 1e-3,
        reg_covar: float | Literal["auto"] = 1e-6,
        covariance_pooling: float | Literal["auto"] = 0.0,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Literal[
            "kmeans", "k-means++", "random", "random_from_data", "merge"
        ] = "kmeans",
        init_size: Literal["auto"] | int | None = "auto",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        noise: Literal["uniform"] | None = None,
        noise_volume: float | None = None,
        frozen: Sequence[str] | Mapping[str, ArrayLike] | None = None,
        learning_rate: float = 0.1,
        batch_size: int | None = None,
        learning_decay: float = 0.7,
        learning_offset: float = 10.0,
        backend: Literal["auto", "native", "torch", "keops"] = "auto",
        device: str | torch.device = "auto",
        random_state: int | RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.sparsity = sparsity
        self.prior = prior
        self.solver = solver
        self.moves = moves
        self.acceleration = acceleration
        self.truncation = truncation
        self.tol = tol
        self.reg_covar = reg_covar
        self.covariance_pooling = covariance_pooling
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.init_size = init_size
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.noise = noise
        self.noise_volume = noise_volume
        self.frozen = frozen
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.backend = backend
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    @classmethod
    def from_sklearn(cls, mixture: GaussianMixture, **parameters: Any) -> Self:
        """Return a fitted mixture with the attributes of scikit-learn's.

        Parameters
        ----------
        mixture : sklearn.mixture.GaussianMixture
            Fitted.
        **parameters
            Parameters that it lacks, or that are to differ.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            Its `cost_` is that before scikit-learn's last M-step.

        Raises
        ------
        TypeError
            If `mixture` is of another class.
        NotFittedError
            If it is not fitted.
        ValueError
            If one of the parameters is unusable.
        """
        twin: Self = from_sklearn(cls, mixture, **parameters)
        twin._validate_params()
        # Whatever the parameters that are to differ: these are of the next fit.
        known = {"n_components": twin.n_components_, "noise": None}
        keep_settings(twin, **known, noise_volume=None)
        return twin

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        component_labels: ArrayLike | None = None,
    ) -> KeOpsGaussianMixture:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            float32 stays float32; anything else numeric is taken as float64. NaN, None,
            NA and masks stand for what was not observed: the likelihood is that of
            what was, and samples of which nothing was do not count. A
            sequence, anything with a length and items, and a large `numpy.memmap`
            are read piece by piece, once for each step, and so are the partitions
            of a dask array or data frame, where they are: persist it if it fits the
            memory of the workers. Starts then see a random part of `init_size`
            samples only.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples; an integer counts as that many equal rows
            (but if they sum to more than ten million and twice the rows, the starts
            'random' and 'random_from_data' draw other numbers than for such rows).
            For a sequence one such array for each of its items; for dask an array
            or series with the same partitions, or any array if the sizes of chunks
            are known.
        component_labels : array-like of shape (n_samples,), default=None
            The component that each sample is known to be of, an integer from 0, and -1
            where it is unknown. Such a sample belongs to that component alone, whose
            number stays, and its likelihood is that of weight and component together.
            Starts take the others to the nearest of centres that begin at the means of
            labelled samples. For a sequence or dask they are held as `sample_weight`
            is. Only where components cannot leave.

        Returns
        -------
        self : KeOpsGaussianMixture

        Raises
        ------
        ValueError
            If a parameter or `X` is unusable (of pieces and partitions it names the
            one), if with ``reg_covar=0`` a component collapses (but 'em' without
            `sparsity` may give one of a single sample the width of rounding error, as
            scikit-learn does), or if `prior` returns
            anything but a finite scalar tensor.
        """
        with all_or_nothing(self):
            best, stopped = self._fit(X, y, sample_weight, component_labels)
        if not (best.converged or stopped) and self.max_iter > 0:
            warn_user(
                "Best performing initialization did not converge. Try different init "
                "parameters, or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
            )
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, component_labels: Any
    ) -> tuple[SolverResult, bool]:
        """Fit; return the result, and whether a callback has ended a start."""
        n_starts = 1 if continues(self) else self.n_init
        tasks = FitTasks(self, n_starts, None if makes_moves(self) else self.max_iter)
        names = getattr(self, "feature_names_in_", None)
        with single_thread():
            source = as_source(X, sample_weight)
            if component_labels is not None:
                check_components_stay(self, "component_labels")
                source = source.labelled(component_labels)
            data = source.read(self, self.n_components)
            past = warm_start_of(self, data.points.shape[1], names)
            start_size = len(past.parameters.weights) if past else self.n_components
            data = check_component_labels(data, start_size)
            task = build_problem(self, data)
            warn_of_large_ridge(self.reg_covar, task.problem)
            describe = partial(task.attributes, data)
            tasks.describe(describe)
            tasks.begin(X, y, sample_weight, source.length(data))
            best = solve(self, task, past, tasks)
            self._set_result(best, task, data)
        tasks.end()
        return best, tasks.stopped

    def fit_predict(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        component_labels: ArrayLike | None = None,
    ) -> np.ndarray:
        """Fit the mixture and predict the most probable component of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples, as in `fit`.
        component_labels : array-like of shape (n_samples,), default=None
            Components that are known, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The same as `predict` after `fit` with these.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        return self.fit(X, None, sample_weight, component_labels).predict(X)

    def _set_result(self, result: SolverResult, task: FitProblem, data: Data) -> None:
        """Set the fitted attributes."""
        state = task.objective.evaluate(result.parameters)
        forget_noise(self)
        self.__dict__.update(task.attributes(data, result.parameters))
        self.__dict__.update(history_of(result, state.cost))
        keep_settings(self)
        self._forget()
        if task.pooling > 0:
            self._memory = remembered(
                state.moments, result.parameters, self.means_, task
            )
        if self.sparsity > 0 and task.pooling == 0.0:
            warn_of_weak_components(
                task.weak_components(state),
                "Use covariance_pooling='auto', or increase reg_covar.",
            )

    # -- known parameters ----------------------------------------------------------

    @classmethod
    @single_thread()
    def from_parameters(
        cls,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        covariance_type: str = "full",
        **parameters: Any,
    ) -> Self:
        """Return a fitted mixture with parameters that are known, without a fit.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Not negative; they sum to 1.
        means : array-like of shape (n_components, n_features)
            Names of the columns become those of the features.
        covariances : array-like
            Positive definite, of the shape that `covariances_` has for this type.
        covariance_type : str, default='full'
            As of the estimator.
        **parameters
            Other parameters of the estimator.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            With these attributes, in float32 if all three are. `converged_` is True,
            `n_iter_` is 0, `costs_` and `lower_bounds_` are empty, `cost_` and
            `lower_bound_` are nan. With ``warm_start=True`` a fit starts from them.

        Raises
        ------
        ValueError
            If an array has another shape, or is not finite, or if they do not make a
            mixture; or if another parameter is unusable.

        Examples
        --------
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> mixture = KeOpsGaussianMixture.from_parameters(
        ...     weights=[0.3, 0.7],
        ...     means=[[0.0, 0.0], [5.0, 0.0]],
        ...     covariances=[[1.0, 2.0], [1.0, 1.0]],
        ...     covariance_type="diag",
        ... )
        >>> mixture.predict([[1.0, 1.0], [4.0, 1.0]])
        array([0, 1])
        >>> X, components = mixture.sample(1000, random_state=0)
        >>> X.shape
        (1000, 2)
        """
        mixture: Self = known_mixture(
            cls, weights, means, covariances, covariance_type, parameters
        )
        return mixture

    @single_thread()
    def adapt(
        self,
        X: ArrayLike,
        relevance: float = 16.0,
        *,
        weights: bool = False,
        covariances: bool = False,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Return a mixture adapted to few samples of another population.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            Any number of samples, one will do.
        relevance : float, default=16.0
            How many samples each component of this mixture counts as, > 0.
        weights : bool, default=False
            Whether to adapt weights, too.
        covariances : bool, default=False
            Whether to adapt covariances, too.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples. Those that are no counts count as their
            effective number, ``sum(w)**2 / sum(w**2)``.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            A copy with other parameters; `costs_`, `cost_` and the like tell of its
            adaptation.

        Raises
        ------
        NotFittedError
            If this mixture is not fitted.
        ValueError
            If `X` is unusable or has other features, or another parameter is
            unusable.

        Notes
        -----
        With tau = `relevance`, responsibilities g_ij, their sums r_j and those of
        samples F_j, a mean becomes ``(F_j + tau mu0_j) / (r_j + tau)`` [1]_: where a
        component has few samples, it stays where it was. Covariances become those of
        its samples and of tau samples of what it was. Weights become ``(r_j + tau M
        w0_j) / (n + tau M)`` with M components. This is EM for the maximum under the
        conjugate prior [2]_, repeated by `tol` and `max_iter`; nothing is added to
        covariances.

        References
        ----------
        .. [1] D. A. Reynolds, T. F. Quatieri and R. B. Dunn, "Speaker verification
           using adapted Gaussian mixture models", Digital Signal Processing 10 (2000).
        .. [2] J.-L. Gauvain and C.-H. Lee, "Maximum a posteriori estimation for
           multivariate Gaussian mixture observations of Markov chains", IEEE
           Transactions on Speech and Audio Processing 2 (1994).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> mixture = KeOpsGaussianMixture.from_parameters(
        ...     [0.5, 0.5], [[1.0], [9.0]], [1.0, 1.0], "spherical"
        ... )
        >>> mixture.adapt(np.full((16, 1), 10.0)).means_
        array([[1. ],
               [9.5]])
        """
        adapted: Self = adapted_mixture(
            self,
            X,
            relevance,
            weights=weights,
            covariances=covariances,
            sample_weight=sample_weight,
        )
        return adapted

    # -- online ------------------------------------------------------------------

    @available_if(has_steps)
    @_fit_context(prefer_skip_nested_validation=True)
    @single_thread()
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from one batch of samples: a step of online EM.

        The first call fits the mixture to its batch, as `fit` does, with `moves` and
        `acceleration`; so it needs `n_components` samples, and better many more. Each
        call after that, or after `fit`, makes a step: the running moments move
        towards those of the batch by ``(t + learning_offset) ** -learning_decay`` of
        the way, t counting the steps from 1, and an M-step follows, with `sparsity`.
        `noise` keeps the density that it has from the first call. Steps heed what
        `sparsity`, `reg_covar`, `covariance_pooling`, `truncation`, `frozen`,
        `learning_decay`, `learning_offset`, `backend` and `device` are then;
        `n_components`, `covariance_type`, `noise` and `noise_volume` have to stay; all
        others have a say in the first call only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            One batch, in no particular order: shuffle what is sorted.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples beside the others of the batch. A batch is one
            step, however many samples it has.

        Returns
        -------
        self : KeOpsGaussianMixture
            After a step `n_iter_` counts the steps, `lower_bounds_` and `costs_` hold
            the mean log-likelihood and the cost of each one's batch before it, `cost_`
            is the last of these, and `converged_` is False.

        Raises
        ------
        ValueError
            If `X` is unusable or has other features than before, if there is a
            `prior`, or if a parameter that has to stay was set to something else.
        AttributeError
            If `solver` is not 'em'.

        Notes
        -----
        The algorithm is that of Cappé and Moulines, "On-line expectation-maximization
        algorithm for latent data models", Journal of the Royal Statistical Society B
        71 (2009), on batches.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import KeOpsGaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> mixture = KeOpsGaussianMixture(n_components=2, random_state=0)
        >>> for _ in range(50):
        ...     batch = rng.normal(size=(100, 1)) + rng.choice([-5, 5], size=(100, 1))
        ...     mixture = mixture.partial_fit(batch)
        >>> np.sort(mixture.means_.ravel()).round()
        array([-5.,  5.])
        """
        if not hasattr(self, "means_"):
            return self.fit(X, sample_weight=sample_weight)
        check_held(self, "partial_fit")
        with all_or_nothing(self):
            data = as_source(X, sample_weight).read(self, 1, reset=False)
            self.__dict__.update(online_step(self, data, self._model()))
        return self

    def _forget(self) -> None:
        """Begin to count the steps anew."""
        self.__dict__.pop("_memory", None)
