"""What to write into a report of a bug."""

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
    """Print the versions of Python and of the dependencies, and which engine is in use.

    To be put into reports of problems, as `sklearn.show_versions` is.

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
