"""The sparsity path: mixtures of all sizes, and the sparsities that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from sklearn_keops_gmm._data import (
    Data,
    as_source,
    attributes_of,
    keep_settings,
    to_numpy,
)
from sklearn_keops_gmm._fit import (
    EvidenceOfSamples,
    Fold,
    MixtureObjective,
    build_problem,
    drawn_start,
    in_order,
    n_distinct_rows,
    over_what_rounds,
    path_starts,
    rows_of,
)
from sklearn_keops_gmm._mixture import KeOpsGaussianMixture
from sklearn_keops_gmm._model import (
    Evidence,
    MixtureParameters,
    SparsityPrior,
    State,
    lower_envelope,
)
from sklearn_keops_gmm.backends import single_thread
from sklearn_keops_gmm.solvers import Search, SolverSettings, homotopy, refine

# So much mean log-likelihood may be left to gain, by extrapolation, on the way down the
# path; and no member gains so many times as much when it converges.
_LOOSE, _HOPE = 1e-3, 10.0
# Members are tied if their criteria differ by less than this part of the price of one
# component.
_TIED = 0.1
# Other starts seldom gain so much of the criterion for each sample.
_FAR = 0.25
# What a path is never given otherwise.
_FIXED: dict[str, Any] = {"sparsity": 0.0, "solver": "em", "n_init": 1, "moves": "auto"}
_FIXED |= {"warm_start": False, "verbose": 0, "acceleration": None, "batch_size": None}
_FIXED |= {"prior": None, "frozen": None, "truncation": None}
# What a path takes instead of the defaults of a mixture.
PATH_DEFAULTS: dict[str, Any] = {
    "tol": "auto",
    "reg_covar": "auto",
    "covariance_pooling": "auto",
    "max_iter": 300,
}


@dataclass(frozen=True, eq=False)
class Member:
    """A mixture on the path, without its data.

    Attributes
    ----------
    state : State
        The parameters, and where they were found.
    unit_penalty : float
        ``sum_j sqrt(W_j) / M``, by which the cost grows with the sparsity.
    evidence : Evidence
    """

    state: State
    unit_penalty: float
    evidence: Evidence

    @property
    def parameters(self) -> MixtureParameters:
        """The mixture."""
        return self.state.parameters

    @property
    def n_components(self) -> int:
        """The number of components."""
        return self.evidence.n_components

    @property
    def log_likelihood(self) -> float:
        """The mean log-likelihood of the samples."""
        return self.evidence.log_likelihood / self.evidence.n_samples


@dataclass(frozen=True, repr=False)
class SparsityPath:
    """What `sparsity_path` returns: K mixtures, that with most components first.

    They are mixtures of maximum likelihood: the sparsity decides how many components
    there are and does not pull at their weights.

    Attributes
    ----------
    n_components : ndarray of shape (K,)
        How many components each mixture has, falling by one; where many need not be
        told apart, as for a choice, by more.
    sparsities : ndarray of shape (K, 2)
        From which to which sparsity each costs less than all others on the path;
        nan where there is none.
    costs : ndarray of shape (K,)
        Penalised cost at the lower end of that interval; nan where there is none. With
        what rounding takes off the likelihood, where values were rounded, and the term
        of `covariance_pooling`, which intervals count too: without it, 0, they are
        those of minus `scores` and the sparsity's term alone.
    scores : ndarray of shape (K,)
        Mean log-likelihood per sample.
    mixtures : tuple of KeOpsGaussianMixture
        Fitted, with ``sparsity`` at the lower end of the interval.

    References
    ----------
    That the cheapest mixture changes at knots, the ratios of the likelihood that is
    lost to the ``sum_j sqrt(W_j)`` that is freed, is as in least-angle regression
    (Efron, Hastie, Johnstone and Tibshirani, Annals of Statistics 32, 2004).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import sparsity_path
    >>> X = np.random.default_rng(0).normal([[-4.0]] * 200 + [[4.0]] * 200)
    >>> path = sparsity_path(X, 3, random_state=0)
    >>> [path.at(sparsity).n_components_ for sparsity in (1.0, 100.0)]
    [2, 1]
    """

    n_components: np.ndarray
    sparsities: np.ndarray
    costs: np.ndarray
    scores: np.ndarray
    mixtures: tuple[KeOpsGaussianMixture, ...]

    def __len__(self) -> int:
        return len(self.mixtures)

    def __repr__(self) -> str:
        most, least = self.n_components[[0, -1]].tolist()
        return f"SparsityPath({len(self)} mixtures, from {most} to {least} components)"

    def at(self, sparsity: float) -> KeOpsGaussianMixture:
        """Return the mixture that costs least at a sparsity.

        Parameters
        ----------
        sparsity : float
            Not negative.

        Returns
        -------
        mixture : KeOpsGaussianMixture
            Fitted.

        Raises
        ------
        ValueError
            If `sparsity` is negative or not a finite number.
        """
        number = isinstance(sparsity, (int, float, np.integer, np.floating))
        if not number or not 0 <= sparsity < np.inf:
            raise ValueError(
                f"'sparsity' must be a finite number >= 0; got {sparsity!r}."
            )
        with np.errstate(invalid="ignore"):
            low, high = self.sparsities.T
            (found,) = np.nonzero((low <= sparsity) & (sparsity < high))
        return self.mixtures[found[0]]


@single_thread()
def sparsity_path(
    X: ArrayLike,
    n_components: int = 30,
    *,
    sample_weight: ArrayLike | None = None,
    **parameters: Any,
) -> SparsityPath:
    """Fit mixtures of all sizes, from `n_components` components down to one.

    Each is the start of the next, which merges the two components whose merger
    loses least likelihood.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), a sequence of them, or dask
        As in :meth:`KeOpsGaussianMixture.fit`.
    n_components : int, default=30
        The number of components M to start from; also that in the prior's s / M.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights >= 0 of the samples.
    **parameters
        Of :class:`KeOpsGaussianMixture`, with other defaults: ``reg_covar='auto'``,
        ``covariance_pooling='auto'``, ``max_iter=300`` from one mixture to the next,
        each of which converges when by extrapolation less than `tol` is to be gained:
        ``tol='auto'`` is one nat over all samples. The start is that of one fit. Not
        `sparsity` or `prior`, and no `solver` but 'em'.

    Returns
    -------
    path : SparsityPath

    Raises
    ------
    ValueError
        If a parameter or `X` is unusable, or is given that a path does not take.

    References
    ----------
    The candidates for a merger are ranked by the bound of A. R. Runnalls,
    "Kullback-Leibler approach to Gaussian mixture reduction", IEEE Transactions on
    Aerospace and Electronic Systems 43 (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_keops_gmm import sparsity_path
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(c, 1, (200, 2)) for c in (-8, 0, 8)])
    >>> path = sparsity_path(X, 5, random_state=0)
    >>> path
    SparsityPath(5 mixtures, from 5 to 1 components)
    >>> path.at(1.0).n_components_
    3
    """
    mixture, tol = path_estimator(n_components, parameters)
    data = as_source(X, sample_weight).read(mixture, min_samples=1)
    # There are never more components than distinct rows.
    mixture.n_components = n_distinct_rows(data.points, n_components)
    path = Path(mixture, data, tol)
    return as_path(path, data, path.converged())


def path_estimator(
    n_components: int, parameters: dict[str, Any]
) -> tuple[Any, float | str]:
    """Return the estimator whose parameters a path takes, checked, and its `tol`."""
    for name, value in _FIXED.items():
        if parameters.get(name, value) != value:
            raise ValueError(
                f"A sparsity path takes no {name!r} but {value!r}, got "
                f"{parameters[name]!r}."
            )
    given = {**PATH_DEFAULTS, **parameters}
    tol = given.pop("tol")
    if tol != "auto":
        given["tol"] = tol
    mixture = KeOpsGaussianMixture(n_components, **given)
    mixture._validate_params()
    return mixture, tol


# What follows the members of a path, and may end it.
Watch = Callable[[Member], bool]


def unwatched(member: Member) -> bool:
    """Let a path go on."""
    return False


class Path:
    """The members of a path, found one after another.

    Parameters
    ----------
    mixture : KeOpsGaussianMixture
    data : Data
    tol : float or "auto"
        A member has converged when less is left to gain; "auto" is one nat over all
        samples, as what criteria compare are totals.
    watch : callable
        Receives each member as it is found; returns True to end the path there.
    """

    def __init__(
        self, mixture: Any, data: Data, tol: float | str, watch: Watch = unwatched
    ) -> None:
        self.mixture = mixture
        self._watch = watch
        self._ended = False  # whether that has ended it
        task = build_problem(mixture, data)
        self.task = over_what_rounds(task, task.objective.ridge.rounded)
        if mixture.reg_covar == "auto":
            self.task = self.task.standardised()
        self.sample_size = self.task.sample_size
        self._evidence = EvidenceOfSamples(self.task)
        self.tol = 1.0 / self.sample_size if tol == "auto" else float(tol)

    def members(
        self, start: MixtureParameters, tol: float, worth: float = 0.0
    ) -> Iterator[Member]:
        """Yield the members, that with the most components first.

        Parameters
        ----------
        start : MixtureParameters
        tol : float
            So much may be left to gain for each before the next is sought.
        worth : float
            Of many components most of those that gain less are merged at once; 0
            gives members with each number.
        """
        for state in homotopy(self.task.objective, start, self._settings(tol), worth):
            member = self._member(state)
            self._ended |= self._watch(member)
            yield member
            if self._ended:
                return

    def converged(self) -> list[Member]:
        """Return all members, each where it converges."""
        members = self.members(drawn_start(self.mixture, self.task), self.tol)
        return [self.refined(member) for member in members]

    def searched(
        self, criterion: Callable[[Evidence], float], known: float = np.inf
    ) -> tuple[list[Member], np.ndarray]:
        """Return the members and their criterion, the best of them converged.

        A path goes down from each start. From the best of all on, moves to more and to
        fewer components follow where they lower the criterion. Where members are as
        good as tied, another path starts from the best with all components split: in
        all, each number of components has the best of several mixtures.

        Parameters
        ----------
        criterion : callable
            The lower the better; in units of the deviance, over all samples.
        known : float
            Of the best mixture of another type: far above it one start is enough.

        Returns
        -------
        members : list of Member
            Without those that have too few components to be better, and, of many
            components, without most of those that have more than are needed.
        values : ndarray of shape (n_members,)
        """
        self.task = in_order(self.task)
        self._evidence = EvidenceOfSamples(self.task)
        found: dict[Member, float] = {}
        for start in path_starts(self.mixture, self.task):
            for member, value in self._branch(start, criterion).items():
                _insert(found, member, value)
            if self._ended or min(found.values()) > known + _FAR * self.sample_size:
                break
        best = min(found, key=found.__getitem__)
        price = self._price(criterion)
        improved = best if self._ended else self._improved(best, price)
        if improved is not best:
            _insert(found, improved, criterion(improved.evidence))
        values = np.sort(list(found.values()))
        tied = len(values) > 1 and values[1] < values[0] + _TIED * price
        if tied and not self._ended:
            best = min(found, key=found.__getitem__)
            for member, value in self._branch(self._regrown(best), criterion).items():
                _insert(found, member, value)
        members = sorted(found, key=lambda member: -member.n_components)
        return members, np.array([found[member] for member in members])

    def _branch(
        self, start: MixtureParameters, criterion: Callable[[Evidence], float]
    ) -> dict[Member, float]:
        """Return the members of a path, with their criterion.

        On the way down they converge loosely. From the best on, each then converges
        wholly, unless it is too far behind or shows that it will not be better.
        """
        loose = max(_LOOSE, self.tol)
        found = {}
        least = np.inf
        loosely = list(self._useful_members(start, criterion, loose))
        values = np.array([criterion(member.evidence) for member in loosely])
        for i in np.argsort(values):
            member, value = loosely[i], values[i]
            behind = (value - least) / (2.0 * self.sample_size)
            if behind < _HOPE * loose:
                member = self.refined(member, max(behind, 0.0))
                value = criterion(member.evidence)
                least = min(least, value)
            found[member] = float(value)
        return found

    def _price(self, criterion: Callable[[Evidence], float]) -> float:
        """Return what a criterion charges for one more component."""
        one, two = (self._evidence.none(k) for k in (1, 2))
        return criterion(two) - criterion(one)

    def _improved(self, member: Member, price: float) -> Member:
        """Return where moves lead, at a price for each component."""
        priced = self.task.objective.priced(price / (2.0 * self.sample_size))
        settings = replace(self._settings(self.tol), nat=1.0 / self.sample_size)
        chain = [_at_the_price_of(priced, member.state)]
        Search(priced, settings).improve(chain, converged=True)
        if len(chain) == 1:
            return member
        found = _at_the_price_of(self.task.objective, chain[-1])
        return self.refined(self._member(found))

    def _regrown(self, member: Member) -> MixtureParameters:
        """Return a mixture with its components split, or the heaviest of them."""
        edits, parameters = self.task.objective.edits, member.parameters
        n_more = max(0, edits.n_components - member.n_components)
        heaviest = parameters.weights.argsort(descending=True)
        for j in heaviest[:n_more].tolist():
            parameters = edits.split(parameters, j)
        return parameters

    def _useful_members(
        self,
        start: MixtureParameters,
        criterion: Callable[[Evidence], float],
        tol: float,
    ) -> Iterator[Member]:
        """Yield members until none with fewer components can be better.

        Fewer components do not fit better, once they have converged: the best that
        they can do is to fit as well, at the price of one.
        """
        least = np.inf
        worth = self._price(criterion) / (2.0 * self.sample_size)
        for member in self.members(start, tol, worth):
            yield member
            least = min(least, criterion(member.evidence))
            one = replace(member.evidence, n_components=1, entropy=0.0)
            if criterion(one) > least + 2.0 * self.sample_size * _HOPE * tol:
                break

    def refined(self, member: Member, gain: float = 0.0) -> Member:
        """Return a member where it converges.

        Parameters
        ----------
        member : Member
        gain : float
            Of mean log-likelihood: a member that is not going to gain as much is left
            where that shows.
        """
        state = member.state
        target = state.cost - gain if gain > 0 else np.inf
        settings = self._settings(self.tol)
        return self._member(refine(self.task.objective, state, settings, target))

    def has_converged(self, member: Member) -> bool:
        """Tell whether another iteration would gain less than the tolerance."""
        objective, state = self.task.objective, member.state
        following = objective.evaluate(objective.maximize(state))
        return state.cost - following.cost < self.tol

    def _settings(self, tol: float) -> SolverSettings:
        mixture = self.mixture
        return SolverSettings(tol, mixture.max_iter, mixture.learning_rate)

    def _member(self, state: State) -> Member:
        objective = self.task.objective
        evidence = self._evidence.of(state)
        prior = SparsityPrior(1.0, objective.n_components)
        unit_penalty = float(prior.unit_value(state.parameters.weights))
        return Member(state, unit_penalty, evidence)


def _at_the_price_of(objective: MixtureObjective, state: State) -> State:
    """Return a state of the same samples with the penalty of another objective."""
    return replace(state, penalty=objective.penalty(state.parameters))


def _insert(found: dict[Member, float], member: Member, value: float) -> None:
    """Add a member, unless there is one as large that is not worse."""
    for other in list(found):
        if other.n_components == member.n_components:
            if found[other] <= value:
                return
            del found[other]
    found[member] = value


def as_path(path: Path, data: Data, members: list[Member]) -> SparsityPath:
    """Return the members with the sparsities at which each costs least."""
    scores = np.array([member.log_likelihood for member in members])
    slopes = np.array([member.unit_penalty for member in members])
    values = np.array([member.state.cost for member in members])
    sparsities = lower_envelope(values, slopes)
    # Those that cost least nowhere are given without sparsity.
    lowest = np.nan_to_num(sparsities[:, 0]).tolist()
    return SparsityPath(
        n_components=np.array([member.n_components for member in members]),
        sparsities=sparsities,
        costs=sparsities[:, 0] * slopes + values,
        scores=scores,
        mixtures=tuple(
            _fitted(path, data, member, sparsity)
            for member, sparsity in zip(members, lowest, strict=True)
        ),
    )


def _fitted(
    path: Path, data: Data, member: Member, sparsity: float
) -> KeOpsGaussianMixture:
    """Return an estimator with the attributes of a member."""
    # A copy, as a clone takes longer than the fit of a small mixture.
    fitted: KeOpsGaussianMixture = copy(path.mixture)
    fitted.sparsity = sparsity
    fitted.__dict__.update(path.task.attributes(data, member.parameters))
    fitted.converged_, fitted.n_iter_ = True, 0
    fitted.costs_, fitted.lower_bounds_ = [], []
    fitted.cost_ = sparsity * member.unit_penalty + member.state.cost
    fitted.lower_bound_ = member.log_likelihood
    keep_settings(fitted)
    return fitted


def without_sparsity(mixture: KeOpsGaussianMixture) -> KeOpsGaussianMixture:
    """Return a mixture of a path as one that was fitted with its own components.

    It is a mixture of maximum likelihood. On the path the number of components is that
    of the largest, and the sparsity the least at which this one is the best.
    """
    alone: KeOpsGaussianMixture = copy(mixture)
    alone.n_components, alone.sparsity = alone.n_components_, 0.0
    keep_settings(alone)
    weights = torch.as_tensor(np.asarray(to_numpy(mixture.weights_), dtype=np.float64))
    prior = SparsityPrior(mixture.sparsity, mixture.n_components)
    weights = weights / (1.0 - getattr(mixture, "noise_weight_", 0.0))
    alone.cost_ -= mixture.sparsity * float(prior.unit_value(weights))
    return alone


def attributes_with(path: Path, data: Data, member: Member) -> dict[str, Any]:
    """Return the attributes of a choice that has found a mixture."""
    model = path.task.model(member.parameters)
    (mixture,) = as_path(path, data, [member]).mixtures
    found = attributes_of(model, data.kind, data.points.dtype)
    return found | {"mixture_": without_sparsity(mixture)}


def fold_scores(
    mixture: KeOpsGaussianMixture, data: Data, fold: Fold, tol: float | str
) -> dict[int, float]:
    """Return the mean log-likelihood of `test` for each number of components.

    Of rounded values it is that of all that rounds to them.
    """
    with single_thread():
        train, test = (rows_of(data, rows) for rows in fold)
        path = Path(mixture, train, tol)
        rounded = path.task.objective.ridge.rounded
        held_out = over_what_rounds(build_problem(mixture, test), rounded).objective
        return {
            member.n_components: held_out.score(member.parameters)
            for member in path.converged()
        }
