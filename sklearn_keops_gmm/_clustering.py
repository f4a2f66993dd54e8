"""The estimator that merges components into clusters."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import ClusterMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_keops_gmm._data import (
    ArrayKind,
    Bound,
    GroupMeans,
    Groups,
    SampleFunction,
    all_or_nothing,
    as_source,
    fitted_model,
    has_noise,
    log_density,
    summarise,
    to_numpy,
)
from sklearn_keops_gmm._estimator import (
    PackageEstimator,
    function_of_held,
    hand_on_features,
)
from sklearn_keops_gmm._mixture import KeOpsGaussianMixture
from sklearn_keops_gmm._mixture_cv import KeOpsGaussianMixtureCV
from sklearn_keops_gmm._model import (
    LINKAGES,
    Comparison,
    MergeTree,
    MixtureSummary,
    indicators,
    label_shares,
)
from sklearn_keops_gmm._sparsity_path import sparsity_path, without_sparsity
from sklearn_keops_gmm.backends import single_thread, warn_user

# Parameters that are handed on to what fits the mixture: a path, and a choice from it.
_OF_THE_PATH = (
    "covariance_pooling",
    "tol",
    "reg_covar",
    "max_iter",
    "init_params",
    "init_size",
    "noise",
    "noise_volume",
    "backend",
    "device",
    "random_state",
)
_OF_THE_CHOICE = (*_OF_THE_PATH, "covariance_type", "criterion", "n_jobs")
# Scores that differ by so many units of rounding are equal.
_ROUNDING = 1e3


class MixtureClustering(ClusterMixin, PackageEstimator):
    """Clusters of any shape, each made of one or more Gaussian components.

    A cluster need not be Gaussian: a core with a halo, or a banana, takes several
    components. So a mixture is fitted, as :class:`KeOpsGaussianMixtureCV` does, and
    its components are merged into clusters, the most alike first. The density stays
    what it is.

    Parameters
    ----------
    n_clusters : int, default=None
        The number of clusters. None finds it. With 'confusion' the tree of mergers is
        cut where what is merged becomes least alike all at once, where components
        within clusters are linked more strongly than between them, and rather not where
        that leaves a small one, or many samples between two; if no link that holds all
        components together is weak, there is one. The other linkages merge what is more
        alike than 0.025 ('misclassification'), 0.05 ('entropy') or 0.5 ('saddle').
    distance_threshold : float, default=None
        Merge clusters below this distance, as in
        :class:`sklearn.cluster.AgglomerativeClustering`; not together with
        `n_clusters`.
    linkage : {'confusion', 'misclassification', 'entropy', 'saddle'}, \
default='confusion'
        How alike two clusters a and b are; their distance is minus its logarithm.
        'confusion' is ``C_ab / (min(p_a, p_b) sqrt(max(p_a, p_b)))``, with p_a the
        weight of a, and C_ab the frequency with which two draws from the posterior of
        a sample are a and b. It needs one pass through the samples; 'misclassification'
        and 'entropy' need one for each component, 'saddle' none.
        'misclassification' is the larger of the probabilities that a sample of one is
        labelled as the other [1]_. 'entropy' is the entropy of the labels that the
        merger removes, in bits per sample [2]_; for at most 100 components. 'saddle' is
        the density at the saddle between the two over that at the lower peak, sought on
        the ridge lines between components [3]_.
    n_components : int, default=30
        The largest number of components, or `n_clusters` if that is more.
    covariance_type : str or list of str, default='full'
        As in :class:`KeOpsGaussianMixtureCV`.
    covariance_pooling : float or 'auto', default='auto'
        As in :class:`KeOpsGaussianMixtureCV`.
    criterion : {'lic', 'bic', 'icl', 'cv'}, default='lic'
        What the number of components is chosen by. If it chooses fewer than
        `n_clusters`, the best mixture with enough is taken.
    contamination : float, default=0.0
        The share of the samples, in [0, 0.5), that are in no cluster: those of least
        likelihood. Their label is -1.
    tol : float or 'auto', default='auto'
        As in :class:`KeOpsGaussianMixtureCV`.
    reg_covar : float or 'auto', default='auto'
        As in :class:`KeOpsGaussianMixtureCV`.
    max_iter : int, default=300
        The largest number of iterations from one mixture of the path to the next.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'merge'}, \
default='kmeans'
        How the path starts.
    init_size : 'auto', int or None, default='auto'
        As in :class:`KeOpsGaussianMixture`.
    noise : {'uniform'}, default=None
        Let some samples be noise, as in :class:`KeOpsGaussianMixture`. They are in no
        cluster: where noise is more probable than each of these the label is -1.
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

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        The cluster of each sample, from 0; -1 for those in none. For a dask array or
        data frame a dask array, not computed yet.
    n_clusters_ : int
        The number of clusters.
    component_labels_ : ndarray of shape (n_components,), int64
        The cluster of each component of `mixture_`.
    mixture_ : KeOpsGaussianMixture
        The density.
    results_ : dict of ndarrays of shape (n_compared,)
        The mixtures that were compared, as in :class:`KeOpsGaussianMixtureCV`.
    children_ : ndarray of shape (n_components - 1, 2), int64
        What each merger joins: components, or results of earlier mergers, whose
        numbers are from n_components on.
    distances_ : ndarray of shape (n_components - 1,)
        Between them: minus the logarithm of how alike they are, from 0 for what cannot
        be told apart to 20.7. It never falls: a merger that is closer than the one
        before gets the distance of that.
    n_iter_ : int
        The number of mixtures of the path, each of which takes up to `max_iter`
        iterations.
    offset_ : float
        The log-likelihood below which a sample is in no cluster.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where `X` has them.

    See Also
    --------
    KeOpsGaussianMixtureCV : The mixture alone, with as many components as pay.
    MergeDisplay : Draws the tree.

    References
    ----------
    .. [1] C. Hennig, "Methods for merging Gaussian mixture components", Advances in
       Data Analysis and Classification 4, 2010.
    .. [2] J.-P. Baudry, A. E. Raftery, G. Celeux, K. Lo and R. Gottardo, "Combining
       mixture components for clustering", Journal of Computational and Graphical
       Statistics 19, 2010.
    .. [3] S. Ray and B. G. Lindsay, "The topography of multivariate normal mixtures",
       The Annals of Statistics 33, 2005.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn.metrics import adjusted_rand_score
    >>> from sklearn_keops_gmm import MixtureClustering
    >>> X, y = make_moons(1000, noise=0.07, random_state=0)
    >>> clustering = MixtureClustering(random_state=0).fit(X)
    >>> clustering.n_clusters_
    2
    >>> bool(adjusted_rand_score(y, clustering.labels_) > 0.98)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "distance_threshold": [Interval(Real, 0, None, closed="left"), None],
        "linkage": [StrOptions(set(LINKAGES))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "contamination": [Interval(Real, 0, 0.5, closed="left")],
    } | {
        name: KeOpsGaussianMixtureCV._parameter_constraints[name]
        for name in _OF_THE_CHOICE
    }

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        distance_threshold: float | None = None,
        linkage: Literal[
            "confusion", "misclassification", "entropy", "saddle"
        ] = "confusion",
        n_components: int = 30,
        covariance_type: Any = "full",
        covariance_pooling: float | Literal["auto"] = "auto",
        criterion: Literal["lic", "bic", "icl", "cv"] = "lic",
        contamination: float = 0.0,
        tol: float | Literal["auto"] = "auto",
        reg_covar: float | Literal["auto"] = "auto",
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
    ) -> None:
        self.n_clusters = n_clusters
        self.distance_threshold = distance_threshold
        self.linkage = linkage
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.covariance_pooling = covariance_pooling
        self.criterion = criterion
        self.contamination = contamination
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.init_params = init_params
        self.init_size = init_size
        self.noise = noise
        self.noise_volume = noise_volume
        self.backend = backend
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @single_thread()
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> MixtureClustering:
        """Fit the mixture and merge its components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
            As in :meth:`KeOpsGaussianMixtureCV.fit`.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples, as there.

        Returns
        -------
        self : MixtureClustering

        Raises
        ------
        ValueError
            If a parameter or `X` is unusable, if both `n_clusters` and
            `distance_threshold` are given, or if there are too many components for the
            linkage.
        """
        _check_not_both(self.n_clusters, self.distance_threshold)
        with all_or_nothing(self):
            self._fit(X, sample_weight)
        return self

    def _fit(self, X: Any, sample_weight: Any) -> None:
        source = as_source(X, sample_weight)
        data = source.read(self, min_samples=2)
        self.mixture_ = self._fitted_mixture(X, sample_weight)
        self._sample_size = float(data.sample_size)
        model = fitted_model(self.mixture_)
        means = GroupMeans(data, model, self.backend)
        tree = MergeTree.of(LINKAGES[self.linkage](model, means), model.n_components)
        self._n_found = LINKAGES[self.linkage].rule(tree, means.confusions)
        wanted = self._number(tree, self.n_clusters, self.distance_threshold)
        labels = _without_empty(tree, wanted, means)
        self.n_clusters_ = int(labels.max()) + 1
        kind = data.kind
        self.component_labels_ = kind.wrap(torch.from_numpy(labels))
        self.children_ = kind.wrap(torch.from_numpy(tree.children))
        self.distances_ = kind.wrap(torch.from_numpy(tree.distances))
        self.offset_ = -np.inf
        if self.contamination > 0:
            self.offset_ = _quantile(*means.scores(), self.contamination)
        self.labels_ = self.predict(X)
        if self.n_clusters is not None and self.n_clusters_ < self.n_clusters:
            warn_user(
                f"Only {self.n_clusters_} clusters were found that have samples, fewer "
                f"than n_clusters={self.n_clusters}. Ask for fewer, or give more "
                "distinct samples.",
                ConvergenceWarning,
            )

    def _fitted_mixture(self, X: Any, sample_weight: Any) -> KeOpsGaussianMixture:
        """Return the best mixture with as many components as clusters are wanted."""
        least = self.n_clusters or 1
        selection = KeOpsGaussianMixtureCV(
            max(self.n_components, least),
            **{name: getattr(self, name) for name in _OF_THE_CHOICE},
        ).fit(X, sample_weight=sample_weight)
        path, self.results_ = selection.path_, selection.results_
        self.n_iter_ = len(path.mixtures)
        if selection.n_components_ >= least:
            return selection.mixture_
        enough = np.flatnonzero(path.n_components >= least)
        if len(enough):
            criterion = np.asarray(to_numpy(selection.criterion_))
            best = enough[np.argmin(criterion[enough])]
            return without_sparsity(path.mixtures[best])
        # There are too few samples for a choice among so many components.
        settings = {name: getattr(self, name) for name in _OF_THE_PATH}
        settings["covariance_type"] = selection.covariance_type_
        path = sparsity_path(X, least, sample_weight=sample_weight, **settings)
        self.n_iter_ += len(path.mixtures)
        found = without_sparsity(path.mixtures[0])
        hand_on_features(self, found)
        return found

    def _number(
        self, tree: MergeTree, n_clusters: int | None, distance: float | None
    ) -> int:
        """Return the number of clusters that is asked for, or found."""
        if n_clusters is not None:
            return min(n_clusters, tree.n_components)
        if distance is not None:
            return tree.n_clusters_at(distance)
        # Attributes of older versions do not tell.
        return self._n_found if hasattr(self, "_n_found") else self.n_clusters_

    def fit_predict(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit, and return the cluster of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            `labels_`.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    @single_thread()
    def summary(
        self, X: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> MixtureSummary:
        """Return what was found as a table that can be read.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask, \
default=None
            With samples the summary has counts, the log-likelihood, AIC, BIC and ICL,
            all of components.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples.

        Returns
        -------
        summary : MixtureSummary
            That of `mixture_`, with the cluster of each component.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If `X` or `sample_weight` is unusable.
        """
        check_is_fitted(self)
        clusters = np.asarray(to_numpy(self.component_labels_))
        choice = None
        # Attributes of older versions do not tell.
        if hasattr(self, "results_"):
            found = self.mixture_
            choice = Comparison.among(
                self.criterion,
                self.results_,
                found.n_components_,
                found.covariance_type_,
            )
        size = getattr(self, "_sample_size", np.inf)
        return summarise(
            self,
            self.mixture_,
            X,
            sample_weight,
            sample_size=size,
            choice=choice,
            clusters=clusters,
        )

    def cut_tree(
        self, n_clusters: int | None = None, distance_threshold: float | None = None
    ) -> np.ndarray:
        """Return other clusters of the components, without another fit.

        Parameters
        ----------
        n_clusters : int, default=None
            No more than there are components.
        distance_threshold : float, default=None
            Merge clusters below this distance. With neither of the two, the number is
            found as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_components,), int64
            The cluster of each component of `mixture_`.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If both are given, or there are not as many components.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_keops_gmm import MixtureClustering
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(c, 1, (200, 2)) for c in (0, 5, 20)])
        >>> clustering = MixtureClustering(random_state=0).fit(X)
        >>> labels = clustering.cut_tree(n_clusters=2)[clustering.mixture_.predict(X)]
        >>> np.sort(np.bincount(labels))
        array([200, 400])
        """
        check_is_fitted(self)
        tree = MergeTree(to_numpy(self.children_), to_numpy(self.distances_))
        _check_not_both(n_clusters, distance_threshold)
        _check_cut(n_clusters, distance_threshold, tree.n_components)
        labels = tree.labels(self._number(tree, n_clusters, distance_threshold))
        return self._kind().wrap(torch.from_numpy(labels))

    @single_thread()
    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the cluster of each sample: the most probable one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            -1 where the log-likelihood is below `offset_`, and where noise is the most
            probable. For a dask array or data
            frame a dask array, not computed yet.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If `X` is unusable.
        """
        answer = self._groups().labels
        return as_source(X).map(self._function("predict", answer, dtype=np.int64))

    @single_thread()
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Compute the probability of each cluster: the sum of its components'.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_clusters_)
            Rows sum to 1, whatever `contamination` is. With `noise` its probability is
            one more column, the last. For a dask array or data frame a
            dask array, not computed yet.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If `X` is unusable.
        """
        answer = self._groups().probabilities
        n_columns = self.n_clusters_ + has_noise(self.mixture_)
        function = self._function("predict_proba", answer, n_columns=n_columns)
        return as_source(X).map(function)

    @single_thread()
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Compute the log-likelihood of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), a sequence of them, or dask

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            That of `mixture_`. For a dask array or data frame a dask array, not
            computed yet.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        ValueError
            If `X` is unusable.
        """
        check_is_fitted(self, "mixture_")
        return as_source(X).map(self._function("score_samples", log_density))

    def sample(
        self, n_samples: int = 1, random_state: int | RandomState | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw random samples from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
        y : ndarray of shape (n_samples,), int64
            The clusters, -1 for noise.

        Raises
        ------
        NotFittedError
            If nothing was fitted yet.
        TypeError
            If `n_samples` is no integer.
        ValueError
            If it is less than 1.
        """
        check_is_fitted(self)
        given = self.random_state if random_state is None else random_state
        points, components = self.mixture_.sample(n_samples, given)
        labels = self.component_labels_[components]
        labels[components < 0] = -1
        return points, labels

    def _groups(self) -> Groups:
        """Return what the clusters answer."""
        check_is_fitted(self, "component_labels_")
        members = indicators(np.asarray(to_numpy(self.component_labels_)))
        least = getattr(self, "offset_", -np.inf)
        return Groups(torch.from_numpy(members), least, has_noise(self.mixture_))

    def _function(
        self, method: str, answer: Callable[[Bound], Tensor], **of_the_answer: Any
    ) -> SampleFunction:
        """Return what is answered about samples, as the estimator is now."""
        return function_of_held(
            self, self.mixture_, self, method, answer, **of_the_answer
        )

    def _kind(self) -> ArrayKind:
        return ArrayKind.of(self.children_)


def _check_not_both(n_clusters: int | None, distance_threshold: float | None) -> None:
    """Raise ValueError if a tree is to be cut in two ways."""
    if n_clusters is not None and distance_threshold is not None:
        raise ValueError(
            f"Give n_clusters or distance_threshold, or neither; got {n_clusters=} and "
            f"{distance_threshold=}."
        )


def _check_cut(n_clusters: Any, distance_threshold: Any, most: int) -> None:
    """Raise ValueError if a tree cannot be cut there."""
    counts = isinstance(n_clusters, Integral) and not isinstance(n_clusters, bool)
    if n_clusters is not None and not (counts and 1 <= n_clusters <= most):
        raise ValueError(
            f"'n_clusters' must be an integer from 1 to {most}, the number of "
            f"components; got {n_clusters!r}."
        )
    is_number = isinstance(distance_threshold, Real)
    if distance_threshold is not None and not (is_number and distance_threshold >= 0):
        raise ValueError(
            f"'distance_threshold' must be a number >= 0; got {distance_threshold!r}."
        )


def _without_empty(tree: MergeTree, n_clusters: int, means: GroupMeans) -> np.ndarray:
    """Return the clusters of components, of which none is left without a sample."""
    while True:
        labels = tree.labels(n_clusters)
        if n_clusters == 1 or _all_have_samples(indicators(labels), means):
            return labels
        n_clusters -= 1


def _all_have_samples(members: np.ndarray, means: GroupMeans) -> bool:
    """Tell whether each cluster is the most probable one of some sample."""
    confusions = members.T @ means.confusions @ members
    # Where no probability is above one half, none of the squares is above its half.
    if (2 * confusions.diagonal() > (1 + 1e-6) * confusions.sum(axis=0)).all():
        return True
    return bool(means(label_shares, members).min() > 0)


def _quantile(scores: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return what so large a share of scores, or little less, is below.

    It is halfway between two scores, and equal ones stay together: the rounding of
    scores changes nothing.
    """
    order = np.argsort(scores)
    total = np.cumsum(weights[order], dtype=np.float64)
    ordered = scores[order].astype(np.float64)
    gaps = np.diff(ordered, prepend=-np.inf)
    rounding = _ROUNDING * np.finfo(scores.dtype).eps * np.maximum(1, np.abs(ordered))
    most = share * total[-1] * (1 + 1e-12)
    # The first whose weight would make it too many stays, and so do its equals.
    first = np.searchsorted(total, most, side="right")
    first = np.flatnonzero(gaps[: first + 1] > rounding[: first + 1])[-1]
    return -np.inf if first == 0 else float(ordered[first - 1 : first + 1].mean())
