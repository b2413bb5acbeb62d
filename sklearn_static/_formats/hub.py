"""The files of a model in a local folder or on the Hub, which are downloaded when needed."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sklearn_static._formats.files import MAX_SETTINGS, check_regular, read_file
from sklearn_static._formats.settings import Settings
from sklearn_static._warnings import warn

# How long to wait for the Hub to return the commit of a model, and how long its answer, or a
# timeout, stays valid: the fits of a search must not ask and wait each time.
_SECONDS_TO_ANSWER = 3.0
_SECONDS_VALID = 60.0


class NotLoadedError(OSError):
    """A file of a model on the Hub is not on this machine, and cannot be loaded."""


@dataclass(frozen=True)
class Source:
    """The location of a model's files.

    Attributes
    ----------
    model : str
        Hub name or local folder.
    revision : str or None
        Branch, tag or commit on the Hub.
    trust_remote_code : bool
        Whether code that comes with the model may run.
    local_files_only : bool
        Whether to use local files only, without network access.
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

    @property
    def is_local(self) -> bool:
        """Whether the files on this machine are all that there is to find."""
        return self.is_folder or self._on_hub.commit is None

    @cached_property
    def _on_hub(self) -> "_Answer":
        from huggingface_hub import constants

        if self.local_files_only:
            return _Answer(None, "local_files_only=True", is_chosen=True)
        if constants.HF_HUB_OFFLINE:
            return _Answer(None, "the environment variable HF_HUB_OFFLINE is set", is_chosen=True)
        return _last_answer(self.model, self.revision)

    def path(self, filename: str) -> str | None:
        """Find a file, and download it if necessary.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.

        Returns
        -------
        path : str or None
            Its path on this machine; None if the model has no such file.

        Raises
        ------
        OSError
            If there is no such model, or it is not on this machine and the Hub is unreachable.

        Warns
        -----
        UserWarning
            If the Hub is unreachable and the copy on this machine is used.
        """
        if filename not in self._found:
            self._found[filename] = self._find(filename)
        return self._found[filename]

    def has(self, filename: str) -> bool:
        """Return whether the model has a file, without downloading it.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.

        Returns
        -------
        has : bool
            False for a copy of a model on the Hub that lacks the file.
        """
        if self.is_folder:
            return os.path.exists(os.path.join(self.model, filename))
        return filename in self._on_hub.files or self._copy(filename) is not None

    def required_path(self, filename: str) -> str:
        """Find a file that the model must have, and download it if necessary.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.

        Returns
        -------
        path : str
            Its path on this machine.

        Raises
        ------
        OSError
            If there is no such file or model, or it is not on this machine and the Hub is
            unreachable.
        """
        path = self.path(filename)
        if path is None:
            raise self._has_no(filename)
        return path

    def check_known(self, filename: str, hints: Sequence[str]) -> bool:
        """Find out whether the model is known to lack a file, which is not on this machine.

        Without the Hub, this is known if the Hub's client has recorded it or the model's files.

        Parameters
        ----------
        filename : str
            The path of the file in the model's folder.
        hints : sequence of str
            Files that only models with the file have.

        Returns
        -------
        is_known : bool
            Whether it is known that there is no such file.

        Raises
        ------
        OSError
            If a hint is on this machine, so that the copy of the model is incomplete.
        """
        if self.is_folder or not self.is_local or self._lacks(filename):
            return True
        if any(map(self.path, hints)):
            raise self._not_loaded(filename, self._on_hub.reason)
        return False

    def root(self, filename: str) -> Path:
        """Return the model's root folder on this machine.

        Parameters
        ----------
        filename : str
            A file of the model.

        Returns
        -------
        folder : Path
            The root folder. For a model on the Hub, its name is the commit.

        Raises
        ------
        OSError
            If the model has no such file.
        """
        return Path(self.required_path(filename)).parents[filename.count("/")]

    def loading(self, path: str) -> dict[str, Any]:
        """Return the arguments with which transformers loads one of the model's folders.

        Parameters
        ----------
        path : str
            The folder, which must have a config.json.

        Returns
        -------
        arguments : dict
            Keyword arguments of `from_pretrained`.
        """
        model, revision, stays_local = self.model, self.revision, self.local_files_only
        if not self.is_folder:
            revision = self._on_hub.commit
            if revision is None:
                # Given a name, some versions of the Hub's client use the network anyway.
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
            if not os.path.exists(path):
                return None
            check_regular(path)
            return path
        from huggingface_hub.errors import HFValidationError

        try:
            return self._find_on_hub(filename)
        except HFValidationError as error:
            raise OSError(
                f"model={self.model!r} is neither an existing folder nor a name on the Hub, such "
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
                    f"The Hub could not be reached for model={self.model!r} ({answer.reason}); the "
                    "copy on this machine is used. (With local_files_only=True, the Hub is not "
                    "contacted.)"
                )
            return copy
        if copy is _CACHED_NO_EXIST:  # the Hub reported earlier that there is no such file
            return None
        if answer.commit is not None:
            return self._fetch(filename)
        # The client records neither which files the model has, except in its latest versions, nor
        # whether it loaded all of them: a copy lacks what is optional, or AutoModel does not need.
        main_files = ("config.json", "modules.json", "adapter_config.json")
        if any(map(self._copy, main_files)) and filename not in (self._listed or ()):
            return None
        raise self._not_loaded(filename, answer.reason)

    def _copy(self, filename: str) -> str | None:
        """Return the path of a file in the Hub's cache."""
        from huggingface_hub import try_to_load_from_cache

        copy = try_to_load_from_cache(self.model, filename, revision=self.revision)
        return copy if isinstance(copy, str) else None

    def _lacks(self, filename: str) -> bool:
        """Return whether the Hub's cache records that the model has no such file."""
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        copy = try_to_load_from_cache(self.model, filename, revision=self.revision)
        return copy is _CACHED_NO_EXIST or filename not in (self._listed or (filename,))

    @cached_property
    def _listed(self) -> frozenset[str] | None:
        """All files of the model, if the Hub's client has recorded them; None otherwise."""
        file = self._copy("config.json") or self._copy("modules.json")
        if file is None:
            return None
        snapshot = Path(file).parent
        listing = snapshot.parents[1] / "trees" / f"{snapshot.name}.json"
        try:
            return frozenset(json.loads(read_file(listing, MAX_SETTINGS))["files"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            # There is none, or it is in another format.
            return None

    def _fetch(self, filename: str) -> str | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            # By the name of the branch, for which the client's cache then records the commit.
            return hf_hub_download(self.model, filename, revision=self.revision)
        except Exception as error:  # its class depends on the HTTP library of the client
            is_unreachable = isinstance(error, LocalEntryNotFoundError)
            if isinstance(error, EntryNotFoundError) and not is_unreachable:
                return None
            raise self._not_loaded(filename, _in_a_line(error)) from error

    def _has_no(self, filename: str) -> OSError:
        if not self.is_folder and self._on_hub.commit is None:
            return self._not_loaded(filename, self._on_hub.reason)
        place = "a local folder" if self.is_folder else "on the Hub"
        return OSError(f"model={self.model!r} is {place}, but has no file {filename}.")

    def _not_loaded(self, filename: str, reason: str) -> NotLoadedError:
        return NotLoadedError(
            f"model={self.model!r} is not a local folder, and its {filename} is not on this "
            f"machine and could not be loaded from the Hub ({reason})."
        )

    def json(self, filename: str, *, required: bool = False) -> Any:
        """Parse a JSON file and cache its content.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.
        required : bool, default=False
            Whether to raise if there is no such file.

        Returns
        -------
        content : Any
            The parsed content; None if there is no such file.

        Raises
        ------
        OSError
            If the file is required and missing, too large, or not a regular file.
        ValueError
            If the file is not JSON.
        """
        if filename not in self._parsed:
            self._parsed[filename] = self._parse(filename)
        if required and self._parsed[filename] is None:
            raise self._has_no(filename)
        return self._parsed[filename]

    def settings(self, filename: str, *, required: bool = False) -> Settings:
        """Parse a file with a JSON object.

        Parameters
        ----------
        filename : str
            Its path in the model's folder.
        required : bool, default=False
            Whether to raise if there is no such file.

        Returns
        -------
        settings : Settings
            The object; empty if there is no such file.

        Raises
        ------
        OSError
            If the file is required and missing.
        ValueError
            If the file is not a JSON object.
        """
        content = self.json(filename, required=required)
        where = f"model={self.model!r}, file {filename}"
        if content is not None and not isinstance(content, dict):
            raise ValueError(f"{where} must be a JSON object, got {type(content).__name__}.")
        return Settings(content or {}, where)

    def _parse(self, filename: str) -> Any:
        path = self.path(filename)
        if path is None:
            return None
        try:
            return json.loads(read_file(path, MAX_SETTINGS).decode())
        except RecursionError as error:
            raise ValueError(f"{path} is nested too deeply to be read.") from error
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error


@dataclass(frozen=True)
class _Answer:
    """The Hub's answer for a model: its commit and files, or the reason why there is none."""

    commit: str | None
    reason: str = ""
    files: frozenset[str] = frozenset()
    is_chosen: bool = False  # whether the user chose not to ask


_answers: dict[tuple[str, str | None], tuple[float, _Answer]] = {}


def _last_answer(model: str, revision: str | None) -> _Answer:
    """Return the Hub's last answer for a model, or ask again if it is no longer valid."""
    key = model, revision
    if key not in _answers or time.monotonic() - _answers[key][0] > _SECONDS_VALID:
        answer = _ask_hub(model, revision)
        _answers[key] = time.monotonic(), answer
    return _answers[key][1]


def _ask_hub(model: str, revision: str | None) -> _Answer:
    """Ask the Hub for the commit of a model."""
    from huggingface_hub import model_info

    answers: SimpleQueue[_Answer] = SimpleQueue()

    def ask() -> None:
        try:
            info = model_info(model, revision=revision, timeout=_SECONDS_TO_ANSWER)
            files = frozenset(file.rfilename for file in info.siblings or ())
            answers.put(_Answer(info.sha, files=files))
        except Exception as error:  # its class depends on the HTTP library of the client
            answers.put(_Answer(None, _in_a_line(error)))

    # The client's timeout applies anew to each address of the Hub and each part of the answer.
    Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS_TO_ANSWER)
    except Empty:
        return _Answer(None, f"no answer within {_SECONDS_TO_ANSWER:.0f} seconds")


def _in_a_line(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def join(path: str, filename: str) -> str:
    """Join the path of a folder of the model and a file name.

    Parameters
    ----------
    path : str
        The folder; '' is the root folder.
    filename : str
        The file.

    Returns
    -------
    path : str
        The file's path relative to the root folder.
    """
    return f"{path}/{filename}" if path else filename
