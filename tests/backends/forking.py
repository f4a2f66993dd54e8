"""What a forked child asks of mixtures, run as a script: a child may hang for ever.

``python -m tests.backends.forking BACKEND`` fails where a child gives another answer
than its parent, or none for so long that it hangs; then it says where.
"""

import faulthandler
import os
import pickle
import sys
import warnings

import numpy as np
import torch
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans

from sklearn_keops_gmm import (
    KeOpsGaussianMixture,
    KeOpsGaussianMixtureCV,
    sparsity_path,
)
from sklearn_keops_gmm._model.covariances import COVARIANCES

# As many numbers in the data, and in 50 covariances, as torch shares out.
N_SAMPLES, N_FEATURES, N_COMPONENTS = 3000, 32, 50
SECONDS = 40

X = np.random.default_rng(0).normal(size=(N_SAMPLES, N_FEATURES))
WEIGHTS = np.random.default_rng(1).integers(0, 3, N_SAMPLES).astype(float)
GIVEN = list(range(4))
# In few patterns: a pattern a row takes torch half a minute.
INCOMPLETE = np.where(
    np.arange(N_SAMPLES)[:, None] % 3 == np.arange(N_FEATURES) % 3, np.nan, X
)


def mixture_of(covariance_type, backend, n_components=N_COMPONENTS):
    return KeOpsGaussianMixture(
        n_components,
        covariance_type=covariance_type,
        backend=backend,
        init_params="random_from_data",
        max_iter=1,
        reg_covar=1e-3,
        random_state=0,
    )


def in_single(mixture):
    """The samples in float32, for which KeOps would compile all formulas again."""
    return X if mixture.backend == "keops" else X.astype(np.float32)


# What is asked of a fitted mixture, by the name of the method, and returns arrays.
QUESTIONS = {
    "score_samples": lambda m: m.score_samples(X),
    "score": lambda m: m.score(X, sample_weight=WEIGHTS),
    "predict": lambda m: m.predict(in_single(m)),
    "predict_proba": lambda m: m.predict_proba(X),
    "bic": lambda m: m.bic(X),
    "aic": lambda m: m.aic([X[:1000], X[1000:]]),
    "sample": lambda m: m.sample(N_SAMPLES)[0],
    "marginal": lambda m: m.marginal(GIVEN).covariances_,
    "condition": lambda m: m.condition(GIVEN, X[0, GIVEN]).means_,
    "impute": lambda m: m.impute(INCOMPLETE),
    "sorted_by": lambda m: m.sorted_by("means").means_,
    "adapt": lambda m: m.adapt(X[:100]).means_,
    "conditional_mean": lambda m: m.conditional_mean(GIVEN, X[:, GIVEN]),
}
# What changes a mixture, so that a copy is asked; these return mixtures.
LESSONS = {
    "fit": lambda m: m.fit(X, sample_weight=WEIGHTS),
    "fit_predict": lambda m: m.fit_predict(in_single(m)),
    "partial_fit": lambda m: m.partial_fit(X),
}
# What `more_answers` asks.
MORE = {
    "to_sklearn",
    "from_sklearn",
    "from_parameters",
    "summary",
    "standard_errors",
    "bootstrap",
}


def answers_of(mixture):
    """Ask everything, and return the answers."""
    found = {name: ask(mixture) for name, ask in QUESTIONS.items()}
    for name, learn in LESSONS.items():
        copied = pickle.loads(pickle.dumps(mixture))
        learn(copied)
        found[name] = copied.means_
    return found


def more_answers(backend):
    """Ask what takes k-means, gradients, or other estimators."""
    some = X[:, :12]  # still more than torch shares out
    start = {"backend": backend, "random_state": 0, "max_iter": 1}
    found = [
        KeOpsGaussianMixture(4, init_params=init, **start).fit(some)
        for init in ("kmeans", "k-means++", "random")
    ]
    found.append(KeOpsGaussianMixture(4, init_size=1000, **start).fit(some))
    for solver in ("adam", "lbfgs"):
        found.append(KeOpsGaussianMixture(4, solver=solver, **start).fit(some))
    found.append(KeOpsGaussianMixtureCV(3, **start).fit(some))
    found.append(KeOpsGaussianMixtureCV(2, criterion="cv", cv=2, **start).fit(some))
    found.append(sparsity_path(some, 3, **start).mixtures[-1])
    twin = KeOpsGaussianMixture.from_sklearn(found[0].to_sklearn())
    known = KeOpsGaussianMixture.from_parameters(
        twin.weights_, twin.means_, twin.covariances_
    )
    answers = {i: m.score(some) for i, m in enumerate([*found, twin, known])}
    one = KeOpsGaussianMixture(1, **start).fit(some)  # at its maximum
    errors = one.standard_errors(some)
    again = one.bootstrap(some, n_resamples=2, random_state=0)
    answers |= {"errors": errors.means.sum(), "bootstrap": again.means.sum()}
    return answers | {"summary": len(str(found[0].summary(some)))}


def take_threads():
    """Let OpenMP have threads: torch's, MKL's, and scikit-learn's."""
    torch.set_num_threads(2)
    numbers = torch.ones(300, 300)
    numbers.exp().tril() @ numbers
    KMeans(2, n_init=1).fit(X)


def in_child(ask, expected, message):
    """Fork, and check that the child answers as its parent does."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        status = 1
        try:
            found = ask()
            for name, value in expected.items():
                assert_allclose(
                    found[name], value, rtol=1e-6, atol=1e-9, err_msg=str(name)
                )
            assert torch.get_num_threads() == 2
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, message


def main(backend):
    warnings.simplefilter("ignore")  # of forks where there are threads, for one
    take_threads()
    for covariance_type in COVARIANCES:
        mixture = mixture_of(covariance_type, backend).fit(X)
        in_child(lambda m=mixture: m.predict(X), {}, f"{covariance_type}, after fit")
        expected = answers_of(mixture)
        in_child(lambda m=mixture: answers_of(m), expected, f"{covariance_type}, all")
    expected = more_answers(backend)
    in_child(lambda: more_answers(backend), expected, "other starts and estimators")


if __name__ == "__main__":
    main(*sys.argv[1:])
