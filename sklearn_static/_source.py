"""The files of a model: in a local folder or on the hub."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
