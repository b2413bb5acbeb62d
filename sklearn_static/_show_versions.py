"""Version information for bug reports."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from sklearn_static._serve import IS_COMPILED

_PACKAGES = (
    "sklearn-static",
    "scikit-learn",
    "numpy",
    "scipy",
    "joblib",
    "tokenizers",
    "safetensors",
    "torch",
    "transformers",
    "huggingface-hub",
)


def show_versions() -> None:
    """Print the versions of Python and the dependencies, and the engine in use.

    Include the output in bug reports, like that of `sklearn.show_versions`.

    Examples
    --------
    >>> import sklearn_static
    >>> sklearn_static.show_versions()
    <BLANKLINE>
    System:
    ...
    Engine: compiled
    """
    print("\nSystem:")
    print(f"{'python':>16}: {sys.version.replace(chr(10), ' ')}")
    print(f"{'executable':>16}: {sys.executable}")
    print(f"{'machine':>16}: {platform.platform()}")
    print("\nPython dependencies:")
    for package in _PACKAGES:
        print(f"{package:>16}: {_version(package)}")
    print(f"\nEngine: {'compiled' if IS_COMPILED else 'NumPy (the extension is missing)'}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
