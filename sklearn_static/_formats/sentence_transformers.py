"""The format of sentence-transformers: modules, pooling, and prompts."""

import posixpath
import re
import reprlib
from dataclasses import dataclass

from sklearn_static._formats.hub import Source, join
from sklearn_static._formats.settings import Settings
from sklearn_static._warnings import warn

# The flags of older folders and sentence-transformers' names of the pooling modes, in the order in
# which it concatenates several of them.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_CONFIG = "config_sentence_transformers.json"
# The file is named for the class that once wrote it.
_TRANSFORMER_SETTINGS = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
_ONLY_BESIDE_MODULES = [_CONFIG, "1_Pooling/config.json", *_TRANSFORMER_SETTINGS]


def may_have_modules(source: Source) -> bool:
    """Return whether it is unknown if a model without modules.json on this machine has this file.

    Parameters
    ----------
    source : Source
        The files of the model.

    Returns
    -------
    is_unknown : bool
        True only for a copy of a model on the Hub, which is not asked or does not answer.
    """
    return not source.check_known("modules.json", _ONLY_BESIDE_MODULES)


def module_entries(source: Source) -> list[dict[str, str]] | None:
    """Read modules.json, which lists the modules of a sentence-transformer.

    Parameters
    ----------
    source : Source
        The files of the model.

    Returns
    -------
    modules : list of dict or None
        The type and the path of each module; None if there is no such file.

    Raises
    ------
    OSError
        If the file is not on this machine, but other files show that the model has it.
    ValueError
        If the file is not such a list.
    """
    modules = source.json("modules.json")
    if modules is None:
        source.check_known("modules.json", _ONLY_BESIDE_MODULES)
        return None
    if not isinstance(modules, list) or not all(
        isinstance(module, dict) and isinstance(module.get(key), str)
        for module in modules
        for key in ("type", "path")
    ):
        raise ValueError(
            f"model={source.model!r}: modules.json must be a list of modules with the "
            f"strings 'type' and 'path', got {reprlib.repr(modules)}."
        )
    return [module | {"path": _inside(source, module["path"])} for module in modules]


def _inside(source: Source, path: str) -> str:
    """Return the path of a folder in the model's own, which is '' itself."""
    normal = posixpath.normpath(path)
    # A backslash and a colon separate parts of a path on Windows only.
    if normal.startswith(("/", "..")) or "\\" in path or ":" in path:
        raise ValueError(
            f"model={source.model!r}, file modules.json: the path of a module must be that of a "
            f"folder inside the model's, separated by '/', got {reprlib.repr(path)}; correct it."
        )
    return "" if normal == "." else normal


def module_kind(module: dict[str, str]) -> str:
    """Return the class name of a sentence-transformers module.

    Parameters
    ----------
    module : dict
        An entry of modules.json.

    Returns
    -------
    kind : str
        The name without its path, which differs between versions of sentence-transformers; '' for
        a class of another package.
    """
    package, _, kind = module["type"].partition(".")
    return kind.rpartition(".")[2] if package == "sentence_transformers" else ""


def read_prompt(source: Source, prompt: str | None = None) -> str:
    """Read the prompt, which a sentence-transformer prepends to every document.

    Parameters
    ----------
    source : Source
        The files of the model.
    prompt : str or None, default=None
        The name of one of the model's prompts, or any other text; None takes the default prompt.

    Returns
    -------
    prompt : str
        The text of the prompt; empty if there is none.

    Raises
    ------
    ValueError
        If the prompts do not include the default one.

    Warns
    -----
    UserWarning
        If a text looks like a name that the model's prompts do not include.
    """
    settings = source.settings(_CONFIG)
    prompts = settings.object("prompts")
    names = ", ".join(map(repr, prompts.keys())) or "none"
    if prompt is None:
        prompt = settings.text("default_prompt_name")
        if prompt is not None and prompt not in prompts:
            raise ValueError(
                f"model={source.model!r} has the default prompt {prompt!r}, but its prompts are "
                f"{names}."
            )
    if prompt is None or prompt in prompts:
        return (prompts.text(prompt) if prompt else None) or ""
    if re.fullmatch(r"[\w-]+", prompt):  # a text ends with a space or a colon
        warn(
            f"prompt={prompt!r} is not the name of a prompt of the teacher, so this text is put "
            f"before every document; names: {names}."
        )
    return prompt


def truncate_dim(source: Source) -> int | None:
    """Read to how many dimensions a sentence-transformer truncates its embeddings.

    Parameters
    ----------
    source : Source
        The files of the model.

    Returns
    -------
    n_dimensions : int or None
        The number; None if there is no limit.

    Raises
    ------
    ValueError
        If it is not a positive number.
    """
    return source.settings(_CONFIG).count("truncate_dim")


def transformer_settings(source: Source, path: str) -> Settings:
    """Read the settings with which sentence-transformers wraps a transformer.

    Parameters
    ----------
    source : Source
        The files of the model.
    path : str
        Folder of the transformer.

    Returns
    -------
    settings : Settings
        The settings; empty if there is no such file.
    """
    names = [join(path, name) for name in _TRANSFORMER_SETTINGS]
    return source.settings(next(filter(source.path, names), names[0]))


@dataclass(frozen=True)
class Modules:
    """The modules of a sentence-transformer; by default those of a plain transformer.

    Attributes
    ----------
    transformer_path : str
        Folder of the transformer.
    pooling : tuple of str
        The names of the pooling modes, whose results are concatenated.
    dense_paths : tuple of str
        Folders of the dense layers after the pooling.
    pools_prompt : bool
        Whether the prompt's tokens are pooled with those of the document.
    """

    transformer_path: str = ""
    pooling: tuple[str, ...] = ("mean",)
    dense_paths: tuple[str, ...] = ()
    pools_prompt: bool = True


def read_modules(source: Source) -> Modules | None:
    """Read the modules of a sentence-transformer.

    Parameters
    ----------
    source : Source
        The files of the model.

    Returns
    -------
    modules : Modules or None
        None for a plain transformer, which has no list of modules.

    Raises
    ------
    ValueError
        If a module or their order is unsupported.
    """
    modules = module_entries(source)
    if modules is None:
        return None
    modes: tuple[str, ...] = ("mean",)
    transformer_path = ""
    pools_prompt = True
    dense_paths = []
    kinds = []
    for module in modules:
        path = module["path"]
        kind = module_kind(module)
        if kind == "Transformer":
            transformer_path = path
        elif kind == "Pooling":
            settings = source.settings(join(path, "config.json"), required=True)
            modes = _pooling_modes(settings)
            pools_prompt = settings.flag("include_prompt", default=True)
        elif kind == "Dense":
            dense_paths.append(path)
        elif kind not in ("Normalize", "Dropout"):  # dropout is off
            raise ValueError(
                f"model={source.model!r} has the unsupported module {module['type']!r}; supported: "
                "Transformer, Pooling, Dense, Normalize and Dropout of sentence-transformers."
            )
        kinds.append(kind)
    # The length of a token vector matters, so a Normalize at the end is ignored.
    plain = [kind for kind in kinds if kind != "Dropout"]
    body = plain[:-1] if plain[-1:] == ["Normalize"] else plain
    if body != ["Transformer", "Pooling", *["Dense"] * len(dense_paths)]:
        raise ValueError(
            f"model={source.model!r} has the modules {', '.join(kinds)} in an unsupported order; "
            "supported: Transformer, Pooling, any number of Dense, optionally Normalize."
        )
    return Modules(transformer_path, modes, tuple(dense_paths), pools_prompt)


def _pooling_modes(settings: Settings) -> tuple[str, ...]:
    named = settings.raw("pooling_mode")
    if named is None:
        modes = tuple(mode for flag, mode in _POOLING_FLAGS.items() if settings.flag(flag))
    else:
        modes = (named,) if isinstance(named, str) else named
    if not isinstance(modes, tuple | list) or not all(isinstance(mode, str) for mode in modes):
        raise settings.error("pooling_mode", "a string or a list of strings")
    unknown = set(modes) - set(_POOLING_FLAGS.values())
    if unknown:
        raise ValueError(
            f"{settings.where}: Pooling {unknown.pop()!r} is unsupported; supported: "
            f"{', '.join(_POOLING_FLAGS.values())}."
        )
    return tuple(modes) or ("mean",)
