"""The files of a model: in a local folder or on the hub."""

import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sklearn_static._warnings import warn

# How long the hub may take to say at which commit a model is, and how long its answer or its
# silence counts: the fits of a search must not ask, and wait, again and again.
_SECONDS_TO_ANSWER = 3.0
_SECONDS_TO_COUNT = 60.0


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
    _parsed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_folder(self) -> bool:
        """Whether the model is a local folder."""
        return os.path.isdir(self.model)

    @cached_property
    def _on_hub(self) -> "_Answer":
        from huggingface_hub import constants

        if self.local_files_only:
            return _Answer(None, "local_files_only=True", is_chosen=True)
        if constants.HF_HUB_OFFLINE:
            return _Answer(None, "the environment variable HF_HUB_OFFLINE is set", is_chosen=True)
        return _ask_hub(self.model, self.revision, int(time.monotonic() // _SECONDS_TO_COUNT))

    def path(self, filename: str) -> str | None:
        """Find a file, and fetch it if need be.

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
            If there is no such model, or it is not on this machine and the hub is out of reach.

        Warns
        -----
        UserWarning
            If the hub is out of reach and the copy on this machine is used.
        """
        if filename not in self._found:
            self._found[filename] = self._find(filename)
        return self._found[filename]

    def root(self, filename: str) -> Path:
        """Give the outermost of the model's folders on this machine.

        Parameters
        ----------
        filename : str
            A file of the model.

        Returns
        -------
        folder : Path
            Where it lies. For a model of the hub its name is the commit.

        Raises
        ------
        OSError
            If the model has no such file.
        """
        path = self.path(filename)
        if path is None:
            raise self._has_no(filename)
        return Path(path).parents[filename.count("/")]

    def loading(self, path: str) -> dict[str, Any]:
        """Say how transformers is to load what lies in one of the model's folders.

        Parameters
        ----------
        path : str
            The folder; it has a config.json.

        Returns
        -------
        arguments : dict
            Of the method `from_pretrained` of its classes.
        """
        model, revision, stays_local = self.model, self.revision, self.local_files_only
        if not self.is_folder:
            revision = self._on_hub.commit
            if revision is None:
                # By a name some versions of the hub's client use the network all the same.
                model, stays_local = str(self.root(join(path, "config.json"))), True
        return {
            "pretrained_model_name_or_path": model,
            "subfolder": path,
            "revision": revision,
            "local_files_only": stays_local,
            "trust_remote_code": self.trust_remote_code,
        }

    def _find(self, filename: str) -> str | None:
        if self.is_folder:
            path = os.path.join(self.model, filename)
            return path if os.path.exists(path) else None
        from huggingface_hub.errors import HFValidationError

        try:
            return self._find_on_hub(filename)
        except HFValidationError as error:
            raise OSError(
                f"model={self.model!r} is neither an existing folder nor a name on the hub, such "
                "as 'sentence-transformers/all-MiniLM-L6-v2'."
            ) from error

    def _find_on_hub(self, filename: str) -> str | None:
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        answer = self._on_hub
        revision = answer.commit or self.revision
        copy = try_to_load_from_cache(self.model, filename, revision=revision)
        if isinstance(copy, str):
            if answer.commit is None and not answer.is_chosen and not any(self._found.values()):
                warn(
                    f"The hub could not be asked for model={self.model!r} ({answer.reason}); the "
                    "copy on this machine is used. (local_files_only=True does so without asking.)"
                )
            return copy
        if copy is _CACHED_NO_EXIST:  # the hub was asked before, and had none
            return None
        if answer.commit is not None:
            return self._fetch(filename)
        # Whoever fetched modules.json fetched all of the model.
        if isinstance(try_to_load_from_cache(self.model, "modules.json", revision=revision), str):
            return None
        raise self._not_loaded(filename, answer.reason)

    def _fetch(self, filename: str) -> str | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            # By the name of the branch, for which the client's cache then notes the commit.
            return hf_hub_download(self.model, filename, revision=self.revision)
        except Exception as error:  # what it raises depends on the HTTP library of its version
            is_silent = isinstance(error, LocalEntryNotFoundError)
            if isinstance(error, EntryNotFoundError) and not is_silent:
                return None
            raise self._not_loaded(filename, _in_a_line(error)) from error

    def _has_no(self, filename: str) -> OSError:
        place = "a local folder" if self.is_folder else "on the hub"
        return OSError(f"model={self.model!r} is {place}, but has no file {filename}.")

    def _not_loaded(self, filename: str, reason: str) -> OSError:
        return OSError(
            f"model={self.model!r} is not a local folder, and its {filename} is neither on this "
            f"machine nor could it be loaded from the hub ({reason})."
        )

    def json(self, filename: str, *, required: bool = False) -> Any:
        """Parse a JSON file, once.

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
        if filename not in self._parsed:
            self._parsed[filename] = self._parse(filename)
        if required and self._parsed[filename] is None:
            raise self._has_no(filename)
        return self._parsed[filename]

    def _parse(self, filename: str) -> Any:
        path = self.path(filename)
        if path is None:
            return None
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error


@dataclass(frozen=True)
class _Answer:
    """What the hub says of a model: its commit, or why it says nothing."""

    commit: str | None
    reason: str = ""
    is_chosen: bool = False  # by the user, not to ask


@lru_cache(maxsize=32)
def _ask_hub(model: str, revision: str | None, period: int) -> _Answer:
    """Ask for the commit of a model, once in a period of time."""
    from huggingface_hub import model_info

    answers: SimpleQueue[_Answer] = SimpleQueue()

    def ask() -> None:
        try:
            info = model_info(model, revision=revision, timeout=_SECONDS_TO_ANSWER)
            answers.put(_Answer(info.sha))
        except Exception as error:  # what it raises depends on the HTTP library of its version
            answers.put(_Answer(None, _in_a_line(error)))

    # The client's timeout counts for each address of the hub and each part of the answer anew.
    Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS_TO_ANSWER)
    except Empty:
        return _Answer(None, f"no answer within {_SECONDS_TO_ANSWER:.0f} seconds")


def _in_a_line(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


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
