"""Warnings are at the line that has called the package."""

import os

import pytest
import sklearn

from sklearn_keops_gmm.backends import warn_user


@pytest.mark.parametrize(
    ("name", "inside"), [("/base.py", True), ("_extra/base.py", False)]
)
def test_frames_of_scikit_learn_are_inside(name, inside):
    """Those of a package whose name begins alike are not."""
    file = os.path.dirname(sklearn.__file__) + name
    with pytest.warns(UserWarning, match="so") as record:
        exec(compile("warn_user('so')", file, "exec"), {"warn_user": warn_user})
    assert record[0].filename == (__file__ if inside else file)
