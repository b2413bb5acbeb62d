"""The files of a teacher except its weights; needs torch only without a tokenizer.json.

Read are the files of sentence-transformers (see `_formats.sentence_transformers`), config.json,
tokenizer_config.json and tokenizer.json; `teacher` reads the weights.
"""

import fnmatch
import hashlib
import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence

from sklearn_static._distill.requirements import import_for_fit, teacher_versions
from sklearn_static._formats.files import (
    MAX_TOKENIZER,
    check_regular,
    parse_tokenizer,
    read_file,
)
from sklearn_static._formats.hub import Source, join
from sklearn_static._formats.sentence_transformers import (
    Modules,
    may_have_modules,
    read_modules,
    read_prompt,
    transformer_settings,
)
from sklearn_static._formats.settings import Settings
from sklearn_static._sklearn import parse_version
from sklearn_static._warnings import warn

Pooling = Literal["auto", "mean", "cls", "last"]

_POOLING_BY_PARAMETER = {"mean": "mean", "cls": "cls", "last": "lasttoken"}

# Models whose first positions are reserved for padding.
_PADDED_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"}
# Models whose config.json has another name for max_position_embeddings; T5 does not use its own.
_N_POSITIONS = {"gpt2", "gpt_bigcode", "gptj", "codegen", "openai-gpt", "ctrl"}
# The first version of transformers that reads use_bidirectional_attention.
_BIDIRECTIONAL_SINCE = "4.57"
# In addition to config.json, a transformer needs one file of each kind.
_REQUIRED_FILES = {
    "tokenizer": ["tokenizer.json", "vocab*", "*.model", "*.tiktoken", "tokenization*.py"],
    "weights": ["model.safetensors", "*.safetensors", "*.bin"],
}
_WHOLE_WEIGHTS = [
    f"{name}{index}"
    for name in ("model.safetensors", "pytorch_model.bin")
    for index in ("", ".index.json")
]
# Files that can change an output; exports to other runtimes are in folders of their own.
_HASHED_SUFFIXES = (".json", ".safetensors", ".bin", ".txt", ".model", ".py")


@dataclass(frozen=True)
class Encoder:
    """The part of a teacher's folder that maps token ids to outputs.

    Attributes
    ----------
    source : Source
        The teacher's files.
    transformer_path : str
        Folder of the transformer in `source`.
    pooling : tuple of str
        sentence-transformers' names of the pooling modes, whose results are concatenated.
    dense_paths : tuple of str
        Folders of the dense layers after the pooling.
    """

    source: Source
    transformer_path: str
    pooling: tuple[str, ...]
    dense_paths: tuple[str, ...]

    def fingerprint(self) -> str:
        """Hash everything that an output depends on, excluding the input.

        Returns
        -------
        fingerprint : str
            SHA-256 in hexadecimal, of the commit for a model on the Hub, otherwise of the files.
        """
        facts = [repr((self.pooling, self.source.trust_remote_code))]
        # Other versions may have corrected the teacher's class. The build ("+cpu") is irrelevant.
        facts += [f"{k} {v.partition('+')[0]}" for k, v in teacher_versions().items()]
        if self.source.is_folder:
            for path in sorted({"", self.transformer_path, *self.dense_paths}):
                files = sorted(Path(self.source.model, path).iterdir())
                facts += [
                    f"{path}/{file.name} {_digest(file)}"
                    for file in files
                    if file.suffix in _HASHED_SUFFIXES and file.is_file()
                ]
        else:
            facts.append(f"{self.source.model} {self._commit}")
        return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()

    @property
    def _commit(self) -> str:
        return self.source.root(join(self.transformer_path, "config.json")).name

    def for_workers(self) -> "Encoder":
        """Return a copy with which another machine loads the same weights.

        Returns
        -------
        encoder : Encoder
            A small object without paths of this machine's cache; a model on the Hub is pinned to
            its commit.
        """
        source = self.source
        revision = source.revision if source.is_folder else self._commit
        return Encoder(
            Source(source.model, revision, source.trust_remote_code, source.local_files_only),
            self.transformer_path,
            self.pooling,
            self.dense_paths,
        )


@dataclass(frozen=True)
class TeacherFiles:
    """A sentence-transformer or plain transformer, on disk or on the Hub, without its weights.

    Attributes
    ----------
    encoder : Encoder
        What maps token ids to outputs.
    tokenizer : tokenizers.Tokenizer
        The tokenizer as published, except that it neither truncates nor pads.
    max_seq_length : int or None
        Number of tokens to which documents are truncated, including special tokens; None does not
        truncate.
    prompt : str
        The text that is prepended to every document; may be empty.
    pools_prompt : bool
        Whether the prompt's tokens are pooled with those of the document.
    truncates_left : bool
        Whether long documents are truncated at their beginning.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    max_seq_length: int | None
    prompt: str
    pools_prompt: bool
    truncates_left: bool


def _digest(file: Path) -> str:
    status = file.stat()
    # Unlike the modification time (mtime), the change time (ctime) cannot be set back.
    return _digest_of_state(
        file.resolve(), (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    )


@lru_cache(maxsize=256)
def _digest_of_state(file: Path, state: tuple[int, ...]) -> str:
    """Hash a file, once per process as long as its state does not change."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_teacher_files(source: Source, pooling: Pooling, prompt: str | None = None) -> TeacherFiles:
    """Read a sentence-transformers folder or a plain transformers model.

    Parameters
    ----------
    source : Source
        The model.
    pooling : {"auto", "mean", "cls", "last"}
        "auto" takes the pooling mode of the folder, or the mean if it specifies none.
    prompt : str or None, default=None
        The name of one of the folder's prompts, or any other text; None takes its default prompt.

    Returns
    -------
    files : TeacherFiles
        Everything except the weights.

    Raises
    ------
    OSError
        If there is no such model or a file is missing.
    ValueError
        If the folder has an adapter or an unsupported module or setting, or if the installed
        version of transformers would ignore a setting.

    Warns
    -----
    UserWarning
        If a copy of a model on the Hub may lack the list of modules of a sentence-transformer. If
        `prompt` looks like a name that the folder's prompts do not include.
    """
    modules = read_modules(source)
    _check_no_adapter(source, "" if modules is None else modules.transformer_path)
    # A plain transformer has none of the files of sentence-transformers.
    settings, prompt_text = Settings({}, ""), prompt or ""
    if modules is None:
        modules = Modules()
        if pooling == "auto" and may_have_modules(source):
            warn(
                f"The copy of model={source.model!r} on this machine has no modules.json, so it is "
                "taken for a plain transformer, whose outputs are averaged. If it is a "
                "sentence-transformer, download all of it: hf download "
                f"{source.model}. Otherwise, set pooling='mean'."
            )
    else:
        settings = transformer_settings(source, modules.transformer_path)
        prompt_text = read_prompt(source, prompt)
    modes = modules.pooling if pooling == "auto" else (_POOLING_BY_PARAMETER[pooling],)
    path = modules.transformer_path
    config = source.settings(join(path, "config.json"), required=True)
    _check_attention(source, config)
    if source.is_local:
        _check_complete(source, path)
    tokenizer_settings = source.settings(join(path, "tokenizer_config.json"))
    return TeacherFiles(
        Encoder(source, path, modes, modules.dense_paths),
        _read_tokenizer(source, path, tokenizer_settings, settings),
        _max_seq_length(config, tokenizer_settings, settings),
        prompt_text,
        modules.pools_prompt,
        tokenizer_settings.text("truncation_side") == "left",
    )


def _check_no_adapter(source: Source, path: str) -> None:
    """Raise if a transformer is an adapter of another model, or has one beside its weights.

    With peft installed, transformers would load the other model, whose content the fingerprint does
    not contain, and not the weights in the folder.
    """
    names = [join(path, "adapter_config.json"), "adapter_config.json"]
    name = next(filter(source.has, names), None)
    if name is None:
        return
    base = source.settings(name).text("base_model_name_or_path")
    adapter = f"a PEFT adapter for the base model {base!r} ({name})"
    merge = (
        "merge the adapter into that model with merge_and_unload(), write the result with "
        "save_pretrained(), and pass its folder"
    )
    if any(source.has(join(path, weights)) for weights in _WHOLE_WEIGHTS):
        raise ValueError(
            f"model={source.model!r} has both the weights of a whole model and {adapter}: if the "
            f"adapter is merged into the weights, remove {name}; otherwise {merge}."
        )
    raise ValueError(
        f"model={source.model!r} is {adapter}, without the weights of a whole model: {merge}."
    )


def _check_attention(source: Source, config: Settings) -> None:
    """Raise if transformers is too old for EmbeddingGemma's attention, which it would ignore."""
    if config.raw("use_bidirectional_attention") is True:
        found = teacher_versions()["transformers"]
        if parse_version(found) < parse_version(_BIDIRECTIONAL_SINCE):
            raise ValueError(
                f"model={source.model!r} has use_bidirectional_attention=True in its config.json, "
                f"which transformers {found} ignores, so all embeddings would be wrong; install "
                f"transformers>={_BIDIRECTIONAL_SINCE} (pip install --upgrade transformers)."
            )


def _check_complete(source: Source, path: str) -> None:
    """Raise if a local transformer lacks a file, before torch is imported."""
    folder = source.root(join(path, "config.json")) / path
    names = os.listdir(folder)
    for file in (folder / name for name in names):
        if file.exists() and not file.is_dir():  # transformers would wait for a pipe
            check_regular(file)
    place = "a local folder" if source.is_folder else "a copy from the Hub"
    for kind, patterns in _REQUIRED_FILES.items():
        if kind == "weights" and not source.is_folder:
            continue  # they are downloaded only if some outputs are not in the cache
        if not any(fnmatch.filter(names, pattern) for pattern in patterns):
            raise OSError(
                f"model={source.model!r} is {place} without a complete model: {folder} has no "
                f"{kind}; it must have one of {', '.join(patterns)}."
            )


def _read_tokenizer(
    source: Source, path: str, tokenizer_settings: Settings, settings: Settings
) -> Tokenizer:
    """Load the tokenizer as published, without truncation and padding.

    Since version 5, transformers may rebuild the normalizer and the pre-tokenizer by class and
    ignore those of tokenizer.json; it is used only if there is no such file.
    """
    file = source.path(join(path, "tokenizer.json"))
    if file is None:
        tokenizer: Tokenizer = import_for_fit("sklearn_static._distill.teacher").build_tokenizer(
            source, path
        )
    else:
        tokenizer = parse_tokenizer(file, read_file(file, MAX_TOKENIZER))
        normalizer = tokenizer.normalizer
        if isinstance(normalizer, BertNormalizer):  # as all versions of transformers do
            normalizer.lowercase = tokenizer_settings.flag("do_lower_case", normalizer.lowercase)
    if settings.flag("do_lower_case"):
        rest = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = Sequence([Lowercase(), *rest])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _max_seq_length(
    config: Settings, tokenizer_settings: Settings, settings: Settings
) -> int | None:
    """Return the number of tokens to which the teacher truncates, None for no limit."""
    is_other = config.text("model_type") in _N_POSITIONS
    positions = config.number("n_positions" if is_other else "max_position_embeddings")
    if positions is not None and config.text("model_type") in _PADDED_POSITIONS:
        padding = config.number("pad_token_id")
        positions -= 2 if padding is None else padding + 1
    of_tokenizer = tokenizer_settings.number("model_max_length")
    of_folder = settings.number("max_seq_length")
    chosen = of_tokenizer if of_folder is None else of_folder
    # Both express "no limit" in several ways: no value, -1 or a huge number.
    limits = [
        int(limit) for limit in (positions, chosen) if limit is not None and 1 <= limit < math.inf
    ]
    return min(limits, default=None)
