"""Warnings that name the user's line."""

import sys
import warnings

# Frames between the user and us: our own, and the wrappers and pipelines that call us.
_SKIPPED = {"sklearn_static", "sklearn", "joblib"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, as from the line that called this package, directly or through scikit-learn.

    Parameters
    ----------
    message : str
        The text of the warning.
    category : type of Warning, default=UserWarning
        The class of the warning.
    """
    frame, stacklevel = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _SKIPPED:
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)
