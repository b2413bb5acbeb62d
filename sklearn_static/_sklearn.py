"""The private parts of scikit-learn that this package uses; tested with 1.6 to 1.9."""

from sklearn.base import _clone_parametrized, _fit_context
from sklearn.multiclass import _ConstantPredictor
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.fixes import parse_version

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "RealNotInt",
    "StrOptions",
    "_ConstantPredictor",
    "_clone_parametrized",
    "_fit_context",
    "check_matplotlib_support",
    "parse_version",
    "validate_parameter_constraints",
]
