"""The number of components and clusters that are found in data that nobody drew.

    python benchmarks/bench_real_data.py --save real.json
    python benchmarks/bench_real_data.py --methods lic auto grid grid5 bayes mclust

Data of scikit-learn: iris, wine, breast cancer (its 5 first principal components) and
digits (16); and penguins, of the package palmerpenguins, if that is installed. Features
are standardised where they have different units. K is the number of labels: it is what
those who collected the data were interested in, not a truth about densities.

"found" is the number of components, for ours over five seeds; "ARI" the agreement of
the labels with those of the data (Hubert and Arabie's adjusted Rand index), for ours
the mean over the seeds.
"""

import argparse
import warnings

import numpy as np
from bench_components import FITS, METHODS
from common import add_save, save
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from sklearn_keops_gmm import KeOpsGaussianMixtureCV

OURS = {"lic": {}, "auto": {"covariance_type": "auto"}}


def real_data():
    """Yield names, samples and labels."""
    yield "iris", *datasets.load_iris(return_X_y=True)
    X, y = datasets.load_wine(return_X_y=True)
    yield "wine", standardised(X), y
    X, y = datasets.load_breast_cancer(return_X_y=True)
    yield "breast cancer, 5 PCs", PCA(5).fit_transform(standardised(X)), y
    X, y = datasets.load_digits(return_X_y=True)
    yield "digits, 16 PCs", PCA(16, random_state=0).fit_transform(X), y
    try:
        from palmerpenguins import load_penguins
    except ImportError:
        return
    penguins = load_penguins().dropna()
    X = penguins[[name for name in penguins if name.endswith(("_mm", "_g"))]]
    yield "penguins", standardised(X.to_numpy()), penguins["species"].to_numpy()


def standardised(X):
    """Return features of mean 0 and variance 1."""
    return StandardScaler().fit_transform(X)


def run(method, X, y):
    """Return the numbers that a method finds, and how its labels agree."""
    if method in OURS:
        models = [
            KeOpsGaussianMixtureCV(30, random_state=seed, **OURS[method]).fit(X)
            for seed in range(5)
        ]
        found = [model.n_components_ for model in models]
        labels = [model.predict(X) for model in models]
        types = sorted({model.covariance_type_ for model in models})
    else:
        result = FITS[method](X, X)
        if result is None:
            return None
        found, labels, types = [int(result[0])], [result[2]], []
    agreement = np.mean([adjusted_rand_score(y, one) for one in labels])
    return {"found": found, "ARI": float(agreement), "types": types}


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods", nargs="+", default=("lic", "auto"), choices=METHODS
    )
    add_save(parser)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, X, y in real_data():
        for method in arguments.methods:
            found = run(method, X, y)
            if found:
                row = {"data": name, "N": len(X), "K": len(set(y)), "method": method}
                rows.append(row | found)
                print(
                    f"{name:22}{len(X):6}{row['K']:4}  {method:8}{found['ARI']:6.2f}  "
                    f"{found['found']} {' '.join(found['types'])}",
                    flush=True,
                )
    save(arguments.save, rows=rows)


if __name__ == "__main__":
    main()
