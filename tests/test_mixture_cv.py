"""The number of components that is found, and what a user can ask of it."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._fit import _path_starts
from tests.common import blobs, every_backend, iris
from tests.reference import COVARIANCE_TYPES


def clusters(rng, n_components=4, n_samples=600):
    """Round clusters of unlike weight, far enough from each other to be told apart."""
    centres = 6.0 * rng.permutation(np.argwhere(np.ones((3, 3))))[:n_components]
    shares = np.linspace(1, 2, n_components)
    labels = rng.choice(n_components, size=n_samples, p=shares / shares.sum())
    return centres[labels] + rng.normal(size=(n_samples, 2))


@pytest.mark.parametrize(
    ("types", "n_starts"),
    [
        (["spherical"], 4),
        (["spherical", "full"], 4 + 4),
        (["full", "spherical"], 4 + 1),
    ],
)
def test_types_far_behind_have_one_start(types, n_starts, monkeypatch):
    starts, start = [], _path_starts.seedless_start

    def counted(*given):
        starts.append(given)
        return start(*given)

    monkeypatch.setattr(_path_starts, "seedless_start", counted)
    found = KeOpsGaussianMixtureCV(8, covariance_type=types).fit(iris())
    assert len(starts) == n_starts
    assert found.covariance_type_ == ("full" if "full" in types else "spherical")


@parametrize_with_checks(
    [
        KeOpsGaussianMixtureCV(),
        KeOpsGaussianMixtureCV(criterion="cv", n_components=3, cv=2),
    ]
)
@pytest.mark.fast(34)
def test_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("structure", "criterion"),
    [(structure, "lic") for structure in COVARIANCE_TYPES]
    + [("full", "bic"), ("full", "icl")]
    + [pytest.param("full", "cv", marks=pytest.mark.slow)],
)
def test_the_number_is_found(structure, criterion, rng):
    X = clusters(rng)
    model = KeOpsGaussianMixtureCV(
        12, covariance_type=structure, criterion=criterion, random_state=0
    ).fit(X)
    assert model.n_components_ == 4
    assert model.means_.shape == (4, 2)
    assert_array_equal(model.means_, model.mixture_.means_)
    assert_array_equal(model.predict(X), model.mixture_.predict(X))
    assert model.path_.at(model.sparsity_).n_components_ == 4
    assert len(model.criterion_) == len(model.path_.n_components)
    assert model.path_.n_components[model.criterion_.argmin()] == 4


@every_backend
def test_backends_agree(backend, rng):
    X = clusters(rng)
    model = KeOpsGaussianMixtureCV(8, backend=backend, random_state=0).fit(X)
    torch = KeOpsGaussianMixtureCV(8, backend="torch", random_state=0).fit(X)
    assert model.criterion_ == pytest.approx(torch.criterion_, rel=1e-6)


def test_criteria_are_those_of_the_estimator(rng):
    X = clusters(rng)
    model = KeOpsGaussianMixtureCV(6, criterion="bic", random_state=0).fit(X)
    expected = [mixture.bic(X) for mixture in model.path_.mixtures]
    assert model.criterion_ == pytest.approx(expected)


def test_path_ends_where_fewer_cannot_win(rng):
    """The rest of the path would not have changed the choice."""
    X = clusters(rng)
    model = KeOpsGaussianMixtureCV(8, criterion="bic", random_state=0).fit(X)
    assert 1 < model.path_.n_components[-1] < 4
    single = KeOpsGaussianMixture(1).fit(X)
    assert single.bic(X) > model.criterion_.min()


def test_scores_are_of_what_was_held_out(rng):
    X = clusters(rng)
    folds = KFold(3, shuffle=True, random_state=1)
    model = KeOpsGaussianMixtureCV(6, criterion="cv", cv=folds, random_state=0).fit(X)
    assert model.scores_.shape == (6, 3)
    assert model.criterion_ == pytest.approx(-model.scores_.mean(axis=1))
    for k, (train, test) in enumerate(folds.split(X)):
        single = KeOpsGaussianMixture(1).fit(X[train])
        assert model.scores_[-1, k] == pytest.approx(single.score(X[test]))


def test_integer_folds_are_shuffled(rng):
    """Rows that come sorted by cluster are no trouble."""
    X = clusters(rng)
    X = X[np.argsort(X[:, 0])]
    model = KeOpsGaussianMixtureCV(8, criterion="cv", cv=3, random_state=0).fit(X)
    assert model.n_components_ == 4


def test_one_standard_error_takes_no_more_components(rng):
    X = clusters(rng, n_samples=150)
    plain, careful = (
        KeOpsGaussianMixtureCV(
            6, criterion="cv", one_standard_error=rule, random_state=0
        ).fit(X)
        for rule in (False, True)
    )
    means = plain.scores_.mean(axis=1)
    error = plain.scores_[means.argmax()].std(ddof=1) / np.sqrt(5)
    good = plain.path_.n_components[means >= means.max() - error]
    assert plain.n_components_ == plain.path_.n_components[means.argmax()]
    assert careful.n_components_ == good.min() <= plain.n_components_


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (StratifiedKFold(3), "cv=StratifiedKFold.* without targets or groups"),
        (GroupKFold(3), "cv=GroupKFold.* without targets or groups"),
        (ShuffleSplit(1, random_state=0), r"two folds or more.*makes 1"),
        ([], r"cv=\[\] makes no folds"),
        ([(range(100), range(100, 150))] * 2, "Fold 0 .* 0 rows .* to test on"),
        ([(range(50), range(50)), (range(3), range(50))], "Fold 1 .* 3 rows .*rain"),
    ],
    ids=["targets", "groups", "one fold", "no fold", "no test", "few to train on"],
)
def test_folds_that_cannot_be(cv, message):
    if isinstance(cv, list):
        cv = [tuple(map(np.array, fold)) for fold in cv]
    weights = np.where(np.arange(150) < 100, 1.0, 0.0)
    model = KeOpsGaussianMixtureCV(
        4, criterion="cv", cv=cv, one_standard_error=True, random_state=0
    )
    with pytest.raises(ValueError, match=message):
        model.fit(iris(), sample_weight=weights)


def test_folds_bound_components_by_their_distinct_rows():
    """All rows of one value are held out at once."""
    X = np.repeat([[0.0], [1.0], [9.0]], 20, axis=0)
    cv = [(np.arange(40), np.arange(40, 60)), (np.arange(60), np.arange(60))]
    model = KeOpsGaussianMixtureCV(4, criterion="cv", cv=cv, reg_covar=0.1)
    with pytest.warns(UserWarning, match="Component 0") as record:
        assert model.fit(X).path_.n_components[0] == 2
    assert not [one for one in record if "distinct clusters" in str(one.message)]


@pytest.mark.slow
def test_jobs_do_not_matter(rng):
    X = clusters(rng)
    one, two = (
        KeOpsGaussianMixtureCV(
            5, criterion="cv", cv=2, n_jobs=n_jobs, random_state=0
        ).fit(X)
        for n_jobs in (1, 2)
    )
    assert one.scores_ == pytest.approx(two.scores_, abs=1e-12)


@pytest.mark.parametrize("criterion", ["lic", "cv"])
def test_weights(criterion, rng):
    """With weights of 0 the rows might as well not be there."""
    X = clusters(rng, n_samples=300)
    weights = (X[:, 0] < 9).astype(float)
    model = KeOpsGaussianMixtureCV(5, criterion=criterion, cv=2, random_state=0)
    weighted = clone(model).fit(X, sample_weight=weights)
    fewer = clone(model).fit(X[weights > 0])
    assert weighted.n_components_ == fewer.n_components_
    assert weighted.means_ == pytest.approx(fewer.means_)


def test_few_samples_bound_the_components():
    X = blobs(20)
    model = KeOpsGaussianMixtureCV(random_state=0).fit(X)
    assert model.path_.n_components[0] == 20 // 6


@pytest.mark.parametrize("structure", ["tied", "diag", "tied_diag", "tied_spherical"])
@pytest.mark.parametrize(("n_samples", "n_features"), [(60, 20), (100, 60)])
def test_few_samples_of_many_features(structure, n_samples, n_features, rng):
    centres = 4.0 * rng.normal(size=(3, n_features))
    X = rng.normal(size=(n_samples, n_features)) + centres[np.arange(n_samples) % 3]
    model = KeOpsGaussianMixtureCV(covariance_type=structure, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they have fewer samples than features
        model.fit(X)
    assert model.path_.n_components[0] == 5
    assert model.n_components_ == 3


def test_warns_where_one_component_is_all_that_is_tried(rng):
    X = rng.normal(size=(60, 20)) + 10.0 * (np.arange(60) % 2)[:, None]
    model = KeOpsGaussianMixtureCV(random_state=0)
    with pytest.warns(UserWarning, match=r"found, 1, is the .* covariance_type is"):
        model.fit(X)
    assert "largest that was tried" in str(model.summary())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KeOpsGaussianMixtureCV(1).fit(X)
        KeOpsGaussianMixtureCV(random_state=0).fit(np.ones((60, 3)))


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "tied_diag"])
@pytest.mark.parametrize("n_constant", [1, 10])
def test_constant_features_say_nothing(structure, n_constant, rng):
    """Their parameters would let fewer components win, and fewer samples bound them."""
    middles = np.array([[0.0, 0.0], [7.0, 0.0], [0.0, 7.0]])
    X = rng.normal(size=(75, 2)) + np.repeat(middles, 25, axis=0)
    wide = np.column_stack((X, np.tile(np.arange(n_constant), (75, 1))))
    model = KeOpsGaussianMixtureCV(12, covariance_type=structure, random_state=0)
    expected = model.fit(X)
    assert expected.n_components_ == 3
    labels, n_tried = expected.predict(X), expected.path_.n_components[0]
    found = model.fit(wide)
    assert found.path_.n_components[0] == n_tried
    assert adjusted_rand_score(labels, found.predict(wide)) == 1.0


@pytest.mark.parametrize("value", [1e4, -999_999.0, 1e9])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_that_stand_for_missing_ones(value, weighted):
    """They are a component of their own, and set neither ridge nor units."""
    rows = 1 if weighted else 5
    X = np.concatenate((iris(), np.full((rows, 4), value)))
    weights = np.repeat([1, 5 // rows], (150, rows))
    found = KeOpsGaussianMixtureCV(random_state=0).fit(X, sample_weight=weights)
    expected = KeOpsGaussianMixtureCV(random_state=0).fit(iris())
    assert found.n_components_ == 4
    labels, others = found.predict(X)[:150], expected.predict(iris())
    assert adjusted_rand_score(labels, others) > 0.98
    assert_allclose(found.reg_covar_, expected.reg_covar_, rtol=0.01)


def iris_beside(added):
    """The number of components in iris beside other features, and where they are."""
    X = iris()
    found = KeOpsGaussianMixtureCV(12, random_state=0)
    wide = np.column_stack((X, added(X)))
    return found.fit(wide).n_components_, found.predict(wide)


@pytest.mark.parametrize(
    "added",
    [
        lambda X: X[:, 0],
        lambda X: X[:, :2] - 7.0,
        lambda X: X.sum(1),
        lambda X: (X[:, 2] / 2.54).round(2),  # in inches
        lambda X: (X @ np.ones((4, 3), np.float32)).astype(np.float32),
    ],
    ids=["copy", "copies", "sum", "other_unit", "float32"],
)
def test_linear_functions_say_nothing(added):
    """One had two components found in iris, as their parameters were charged for."""
    n_components, labels = iris_beside(lambda X: X[:, :0])
    found, other = iris_beside(added)
    assert found == n_components == 3
    assert adjusted_rand_score(labels, other) > 0.97


def test_in_a_pipeline_and_pickled(rng):
    X = clusters(rng)
    model = make_pipeline(
        StandardScaler(), KeOpsGaussianMixtureCV(8, random_state=0)
    ).fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert again.score(X) == model.score(X)


def test_float32_stays_float32(rng):
    model = KeOpsGaussianMixtureCV(8, random_state=0)
    model.fit(clusters(rng).astype(np.float32))
    assert model.means_.dtype == np.float32
    assert model.n_components_ == 4


def test_to_sklearn(rng):
    X = clusters(rng)
    model = KeOpsGaussianMixtureCV(8, random_state=0).fit(X)
    assert model.mixture_.to_sklearn().score(X) == pytest.approx(model.score(X))


def test_alternatives_are_what_the_criterion_hardly_tells_apart():
    """Two clusters that overlap so that one describes them as well."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (150, 1)) for c in (-1.3, 1.3)])
    found = KeOpsGaussianMixtureCV(6, random_state=0).fit(X)
    table, tied = found.results_, found.alternatives_
    assert tied.keys() == table.keys()
    behind = table["criterion"] - table["criterion"].min()
    within = (behind > 0) & (behind <= max(2.0, 0.01 * len(X)))
    assert sorted(tied["n_components"]) == sorted(table["n_components"][within])
    assert (np.diff(tied["criterion"]) >= 0).all()
    apart = np.concatenate([rng.normal(c, 1, (150, 1)) for c in (-9, 9)])
    clear = KeOpsGaussianMixtureCV(6, random_state=0).fit(apart)
    assert clear.n_components_ == 2
    assert len(clear.alternatives_["rank"]) == 0


@pytest.mark.parametrize(
    "bound",
    [6, 12, 20, *(pytest.param(bound, marks=pytest.mark.slow) for bound in (60, 150))],
)
def test_the_answer_does_not_depend_on_the_bound(bound):
    """Moves on parts, paths on all samples, and many mergers at once lead to one."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(-20, 20, (5, 2))
    X = centres[rng.integers(5, size=1000)] + rng.normal(size=(1000, 2))
    few = KeOpsGaussianMixtureCV(5, random_state=0).fit(X)
    found = KeOpsGaussianMixtureCV(bound, random_state=bound).fit(X)
    assert found.n_components_ == 5
    assert found.criterion_.min() == pytest.approx(few.criterion_.min(), abs=0.1)
    counts = found.path_.n_components
    assert counts[0] == bound
    assert_array_equal(
        counts[counts <= 20], np.arange(min(bound, 20), counts[-1] - 1, -1)
    )
    assert len(counts) <= 45
