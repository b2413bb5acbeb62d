"""Warnings that point to the caller's line of code."""

import sys
import warnings

# Packages that may be on the stack between the caller's line and a warning: this one, scikit-learn
# (pipelines and method wrappers), joblib (caches), and the standard library (context managers and
# cached properties).
_BETWEEN = {"sklearn_static", "sklearn", "joblib", "contextlib", "functools"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the nearest line outside this package and those that call it.

    Parameters
    ----------
    message : str
        The message of the warning.
    category : type of Warning, default=UserWarning
        The category of the warning.
    """
    frame, stacklevel = sys._getframe(1), 2
    while frame.f_back is not None and _package(frame.f_globals) in _BETWEEN:
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__", "")).partition(".")[0]
