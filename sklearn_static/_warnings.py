"""Warnings that point to the user's line."""

import sys
import warnings

# What may be between the user's line and ours: our own code, scikit-learn's pipelines and wrappers
# of methods, joblib's caches, and the standard library's context managers and cached properties.
_BETWEEN = {"sklearn_static", "sklearn", "joblib", "contextlib", "functools"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the nearest line outside of this package and of those it works inside.

    Parameters
    ----------
    message : str
        What it says.
    category : type of Warning, default=UserWarning
        Its category.
    """
    frame, stacklevel = sys._getframe(1), 2
    while frame.f_back is not None and _package(frame.f_globals) in _BETWEEN:
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__", "")).partition(".")[0]
