"""Warnings about data and answers, at the line that has called the package."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

import sklearn

# Frames of these are between a call and what it does.
_INSIDE = (
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ""),
    os.path.join(os.path.dirname(os.path.abspath(sklearn.__file__)), ""),
    os.path.abspath(contextlib.__file__),
)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of something that whoever called the package can mend."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and os.path.abspath(frame.f_code.co_filename).startswith(
        _INSIDE
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
