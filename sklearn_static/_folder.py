"""What the files of a sentence-transformer say, its weights aside; needs no torch."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence

Pooling = Literal["auto", "mean", "cls", "last"]

# sentence-transformers' names of the ways to pool, and the flags of older folders in the order in
# which it concatenates several.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_POOLING_BY_PARAMETER = {"mean": "mean", "cls": "cls", "last": "lasttoken"}

# The file's name is that of the class which once wrote it.
_TRANSFORMER_SETTINGS = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
# Their first positions stand for padding.
_PADDED_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"}
# What can change an output. Not the exports to other runtimes that lie in folders of their own.
_TELLING_FILES = (".json", ".safetensors", ".bin", ".txt", ".model", ".py")


@dataclass(frozen=True)
class Folder:
    """A sentence-transformer or plain transformer, on disk or on the hub.

    Attributes
    ----------
    source : Source
        Where its files come from.
    transformer_path : str
        Folder of the transformer in it.
    pooling : tuple of str
        Names of sentence-transformers' ways to pool; the results are concatenated.
    dense_paths : tuple of str
        Folders of the layers behind the pooling.
    tokenizer : tokenizers.Tokenizer
        The tokenizer as it was published.
    max_seq_length : int or None
        How many tokens of a text the teacher reads, special tokens included; None is all.
    prompt : str
        What stands before every text by default.
    pools_prompt : bool
        Whether the prompt's tokens are pooled with those of the text.
    cuts_left : bool
        Whether of a long text the end is read, not the beginning.
    """

    source: "Source"
    transformer_path: str
    pooling: tuple[str, ...]
    dense_paths: tuple[str, ...]
    tokenizer: Tokenizer
    max_seq_length: int | None
    prompt: str
    pools_prompt: bool
    cuts_left: bool

    def fingerprint(self) -> str:
        """Hash everything that an output depends on, but for the input.

        Returns
        -------
        fingerprint : str
            SHA-256 in hexadecimal: of the commit of a model of the hub, else of the files.
        """
        facts = [repr((self.pooling, self.source.trust_remote_code))]
        if os.path.isdir(self.source.model):
            for path in sorted({"", self.transformer_path, *self.dense_paths}):
                files = sorted(Path(self.source.model, path).iterdir())
                facts += [
                    f"{path}/{file.name} {_digest(file)}"
                    for file in files
                    if file.suffix in _TELLING_FILES and file.is_file()
                ]
        else:
            # It lies in a folder with the name of the commit.
            config = self.source.path(join(self.transformer_path, "config.json"))
            depth = len(Path(self.transformer_path).parts)
            facts.append(f"{self.source.model} {Path(config or '').parents[depth].name}")
        return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()


def _digest(file: Path) -> str:
    status = file.stat()
    # Unlike the time of the last modification, that of the last change cannot be set back.
    return _digest_of_state(
        file.resolve(), (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    )


@lru_cache(maxsize=256)
def _digest_of_state(file: Path, state: tuple[int, ...]) -> str:
    """Hash a file, once per process while it stays in the same state."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_folder(source: "Source", pooling: Pooling) -> Folder:
    """Read a sentence-transformers folder or a plain transformers model.

    Parameters
    ----------
    source : Source
        The model.
    pooling : {"auto", "mean", "cls", "last"}
        "auto" takes what the folder says, and the mean where it says nothing.

    Returns
    -------
    folder : Folder
        What is known without the weights.

    Raises
    ------
    OSError
        If there is no such model or a file of it is missing.
    ValueError
        If the folder has a module or a setting that is not known.
    """
    modules = read_modules(source)
    # A plain transformer has none of the files of sentence-transformers.
    settings: dict[str, Any] = {}
    transformer_path, prompt, pools_prompt = "", "", True
    modes: tuple[str, ...] = ("mean",)
    dense_paths: tuple[str, ...] = ()
    if modules is not None:
        transformer_path, modes, dense_paths, pools_prompt = _read_modules(source, modules)
        found = (source.json(join(transformer_path, name)) for name in _TRANSFORMER_SETTINGS)
        settings = next(filter(None, found), {})
        prompt = default_prompt(source)
    if pooling != "auto":
        modes = (_POOLING_BY_PARAMETER[pooling],)
    tokenizer_settings = source.json(join(transformer_path, "tokenizer_config.json")) or {}
    return Folder(
        source,
        transformer_path,
        modes,
        dense_paths,
        _read_tokenizer(source, transformer_path, tokenizer_settings, settings),
        _longest_input(source, transformer_path, tokenizer_settings, settings),
        prompt,
        pools_prompt,
        tokenizer_settings.get("truncation_side") == "left",
    )


@dataclass(frozen=True)
class Source:
    """Where the files of a model come from.

    Attributes
    ----------
    model : str
        Hub name or local folder.
    revision : str or None
        Branch, tag or commit on the hub.
    trust_remote_code : bool
        Whether code that comes with the model may run.
    local_files_only : bool
        Whether to stay off the network.
    """

    model: str
    revision: str | None
    trust_remote_code: bool
    local_files_only: bool
    _found: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def path(self, filename: str) -> str | None:
        """Find a file, and fetch it if need be; ask the hub for each file once.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.

        Returns
        -------
        path : str or None
            Its path on this machine; None where the model has no such file.

        Raises
        ------
        OSError
            If there is no such model or the hub is out of reach.
        """
        if filename not in self._found:
            self._found[filename] = self._find(filename)
        return self._found[filename]

    def _find(self, filename: str) -> str | None:
        if os.path.isdir(self.model):
            path = os.path.join(self.model, filename)
            return path if os.path.exists(path) else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        try:
            return hf_hub_download(
                self.model,
                filename,
                revision=self.revision,
                local_files_only=self.local_files_only,
            )
        except LocalEntryNotFoundError as error:
            if self._known_to_be_missing(filename):
                return None
            raise self._not_loaded(filename, error) from error
        except EntryNotFoundError:
            return None
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            raise self._not_loaded(filename, error) from error

    def _known_to_be_missing(self, filename: str) -> bool:
        """Tell from the local cache alone, the hub being out of reach."""
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        cached = try_to_load_from_cache(self.model, filename, revision=self.revision)
        if cached is _CACHED_NO_EXIST:  # the hub was asked before, and had none
            return True
        # Whoever fetched modules.json fetched all of the model.
        modules = try_to_load_from_cache(self.model, "modules.json", revision=self.revision)
        return isinstance(modules, str)

    def _not_loaded(self, filename: str, error: Exception) -> OSError:
        where = "the local cache (local_files_only=True)" if self.local_files_only else "the hub"
        return OSError(
            f"model={self.model!r} is not a local folder, and its {filename} could not be loaded "
            f"from {where}: {error}"
        )

    def json(self, filename: str, *, required: bool = False) -> Any:
        """Parse a JSON file.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.
        required : bool, default=False
            Whether its absence is an error.

        Returns
        -------
        content : Any
            What it says; None where there is no such file.

        Raises
        ------
        OSError
            If it is required and missing.
        ValueError
            If it is not JSON.
        """
        path = self.path(filename)
        if path is None:
            if required:
                raise OSError(f"model={self.model!r} has no file {filename}.")
            return None
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error


def read_modules(source: Source) -> list[dict[str, str]] | None:
    """Read modules.json, the parts of a sentence-transformer.

    Parameters
    ----------
    source : Source
        The model.

    Returns
    -------
    modules : list of dict or None
        The type and the path of each; None where there is no such file.

    Raises
    ------
    ValueError
        If the file says something else.
    """
    modules = source.json("modules.json")
    if modules is None:
        return None
    if not isinstance(modules, list) or not all(
        isinstance(module, dict) and isinstance(module.get(key), str)
        for module in modules
        for key in ("type", "path")
    ):
        raise ValueError(
            f"model={source.model!r}: modules.json must be a list of modules with type and path."
        )
    return modules


def module_kind(module: dict[str, str]) -> str:
    """Give the class name of one of sentence-transformers' modules; '' for one of another package.

    Parameters
    ----------
    module : dict
        Of modules.json.

    Returns
    -------
    kind : str
        The name alone: modules moved between versions of sentence-transformers.
    """
    package, _, kind = module["type"].partition(".")
    return kind.rpartition(".")[2] if package == "sentence_transformers" else ""


def _read_modules(
    source: Source, modules: list[dict[str, str]]
) -> tuple[str, tuple[str, ...], tuple[str, ...], bool]:
    """Give the transformer's path, the poolings, the dense layers' paths and `pools_prompt`."""
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
            settings = source.json(join(path, "config.json"), required=True)
            modes = _pooling_modes(settings)
            pools_prompt = bool(settings.get("include_prompt", True))
        elif kind == "Dense":
            dense_paths.append(path)
        elif kind not in ("Normalize", "Dropout"):  # dropout is off
            raise ValueError(
                f"model={source.model!r} has a module {module['type']!r} that is not known; known "
                "are Transformer, Pooling, Dense, Normalize and Dropout of sentence-transformers."
            )
        kinds.append(kind)
    # The length of a token's vector matters, so a Normalize at the end is left out.
    plain = [kind for kind in kinds if kind != "Dropout"]
    body = plain[:-1] if plain[-1:] == ["Normalize"] else plain
    if body != ["Transformer", "Pooling", *["Dense"] * len(dense_paths)]:
        raise ValueError(
            f"model={source.model!r} has the modules {', '.join(kinds)}; known is the order "
            "Transformer, Pooling, any number of Dense, and Normalize or nothing."
        )
    return transformer_path, modes, tuple(dense_paths), pools_prompt


def _pooling_modes(settings: dict[str, Any]) -> tuple[str, ...]:
    named = settings.get("pooling_mode")
    if named is None:
        modes = tuple(mode for flag, mode in _POOLING_FLAGS.items() if settings.get(flag))
    else:
        modes = (named,) if isinstance(named, str) else tuple(named)
    unknown = set(modes) - set(_POOLING_FLAGS.values())
    if unknown:
        raise ValueError(
            f"Pooling {unknown.pop()!r} is not known; known are "
            f"{', '.join(_POOLING_FLAGS.values())}."
        )
    return modes or ("mean",)


def _read_tokenizer(
    source: Source, path: str, tokenizer_settings: dict[str, Any], settings: dict[str, Any]
) -> Tokenizer:
    """Load the tokenizer as it was published.

    From version 5 on, transformers may rebuild the normalizer and the pre-tokenizer by class and
    drop what tokenizer.json says of them; so it is asked only where there is no such file.
    """
    file = source.path(join(path, "tokenizer.json"))
    if file is None:
        tokenizer: Tokenizer = distilling("_teacher").build_tokenizer(source, path)
    else:
        tokenizer = Tokenizer.from_file(file)
        as_configured = tokenizer_settings.get("do_lower_case")
        if as_configured is not None and isinstance(tokenizer.normalizer, BertNormalizer):
            tokenizer.normalizer.lowercase = as_configured  # as transformers has it, old and new
    if settings.get("do_lower_case"):
        rest = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = Sequence([Lowercase(), *rest])
    return tokenizer


def _longest_input(
    source: Source, path: str, tokenizer_settings: dict[str, Any], settings: dict[str, Any]
) -> int | None:
    """Tell how many tokens the teacher reads."""
    config = source.json(join(path, "config.json"), required=True)
    positions = config.get("max_position_embeddings")
    if positions is not None and config.get("model_type") in _PADDED_POSITIONS:
        positions -= config.get("pad_token_id", 1) + 1
    chosen = settings.get("max_seq_length")
    if chosen is None:
        chosen = tokenizer_settings.get("model_max_length")
    # Both say "as many as you like" in several ways: no value, -1 or a number beyond reason.
    limits = [int(limit) for limit in (positions, chosen) if limit is not None and limit > 0]
    return min(limits, default=None)


def default_prompt(source: Source) -> str:
    """Read what a sentence-transformer puts before every text by default.

    Parameters
    ----------
    source : Source
        The model.

    Returns
    -------
    prompt : str
        Often empty.

    Raises
    ------
    ValueError
        If there is no prompt of the name.
    """
    settings = source.json("config_sentence_transformers.json") or {}
    name = settings.get("default_prompt_name")
    prompts = settings.get("prompts") or {}
    if name is not None and name not in prompts:
        raise ValueError(
            f"model={source.model!r} has the default prompt {name!r}, but its prompts are "
            f"{', '.join(map(repr, prompts)) or 'none'}."
        )
    return prompts.get(name) or ""


def distilling(name: str) -> ModuleType:
    """Import a module of ours that serving does not need, nor what it imports.

    Parameters
    ----------
    name : str
        "_outputs" or "_teacher".

    Returns
    -------
    module : module
        The module.

    Raises
    ------
    ImportError
        If the extra `distill` is not installed.
    """
    try:
        return import_module(f"sklearn_static.{name}")
    except ImportError as error:
        raise ImportError(
            f"fit needs {error.name}: pip install 'sklearn-static[distill]'. (A fitted "
            "vectorizer transforms without it.)"
        ) from error


def join(path: str, filename: str) -> str:
    """Put a file into one of the model's folders.

    Parameters
    ----------
    path : str
        The folder; the outermost is ''.
    filename : str
        The file.

    Returns
    -------
    path : str
        The file's path from the outermost folder.
    """
    return f"{path}/{filename}" if path else filename
