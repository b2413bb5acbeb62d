"""Reading and writing static embedding models in model2vec's and sentence-transformers' formats."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sklearn_static._formats.files import MAX_SETTINGS, MAX_TOKENIZER, parse_tokenizer, read_file
from sklearn_static._formats.hub import Source, join
from sklearn_static._formats.model_card import model_card, read_metadata, short_name
from sklearn_static._formats.sentence_transformers import (
    module_entries,
    module_kind,
    read_prompt,
    truncate_dim,
)
from sklearn_static._formats.settings import Settings
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import Composition, composition_of
from sklearn_static._serve.original import Original, token_ids, unknown_id
from sklearn_static._serve.table import LARGEST, Norm, StaticTable
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

# Key of the checksum in the header of model.safetensors.
_CHECKSUM = "sklearn_static"
_DTYPES = {"F64", "F32", "F16", "I8"}
_INTEGERS = {"I64", "I32", "I16", "U8", "U16", "U32", "U64", "I8"}
# What says how the libraries read a folder.
_SETTINGS = {"config.json", "modules.json", "config_sentence_transformers.json"}
# model2vec truncates documents to this number of tokens if its config.json has no max_length.
_DEFAULT_MAX_LENGTH = 512
# The classifier of a StaticModelPipeline of model2vec, in its current and its older format.
_CLASSIFIERS = ("head.safetensors", "pipeline.skops")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class _Layout:
    path: str
    tensor: str
    normalize: bool
    # sentence-transformers pools the unknown token like any other; model2vec removes it.
    is_model2vec: bool
    # sentence-transformers has this limit in tokenizer.json.
    max_length: int | None = None
    truncate_dim: int | None = None


@dataclass(frozen=True)
class StaticFolder:
    """A static embedding model read from a folder.

    Attributes
    ----------
    table : StaticTable
        One row per token, excluding the unknown token in a folder of model2vec.
    """

    table: StaticTable
    _layout: _Layout
    _tokenizer_settings: Settings

    def parameters(self, given: Collection[str]) -> dict[str, Any]:
        """Read the parameters of the vectorizer that the folder sets.

        Parameters
        ----------
        given : collection of str
            The parameters to leave out, as the caller sets them.

        Returns
        -------
        parameters : dict
            Some of `norm`, `max_length` and `n_components`.

        Raises
        ------
        ValueError
            If the tokenizer truncates documents in a way that `max_length` cannot represent.

        Warns
        -----
        UserWarning
            If the folder truncates features that have unit length.
        """
        read = {"norm": self._norm, "max_length": self._max_length, "n_components": self._n_first}
        return {name: of_folder() for name, of_folder in read.items() if name not in given}

    def _norm(self) -> Norm:
        return "l2" if self._layout.normalize else None

    def _n_first(self) -> int | None:
        n_components = self._layout.truncate_dim
        if n_components is None or n_components >= self.table.n_components:
            return None
        if self._layout.normalize:
            warn(
                f"The model truncates embeddings of unit length (truncate_dim={n_components} in "
                "config_sentence_transformers.json); the vectorizer truncates them before they "
                "are scaled to unit length, so features differ from sentence-transformers' by a "
                f"factor. Set n_components={n_components} to confirm this, or n_components=None."
            )
        return n_components

    def _max_length(self) -> int | None:
        if self._layout.is_model2vec:
            return self._layout.max_length
        if self._tokenizer_settings.raw("truncation") is None:
            return None
        truncation = self._tokenizer_settings.object("truncation")
        max_length = truncation.count("max_length")
        for key, supported in (
            ("direction", ("Right",)),
            ("strategy", ("LongestFirst", "OnlyFirst")),
        ):
            if truncation.text(key, supported[0]) not in supported:
                rule = f"{' or '.join(map(repr, supported))} (or pass max_length)"
                raise truncation.error(key, rule)
        if max_length is None or (truncation.count("stride", 0, 0) or 0) >= max_length:
            raise truncation.error("max_length", "an integer above the stride")
        return max_length


def _layout(source: Source) -> _Layout | None:
    config = source.settings("config.json")
    kind = config.text("model_type")
    # Checked first, since model2vec downloads no modules.json from the Hub. The first versions of
    # model2vec wrote no model_type.
    if kind == "model2vec" or (kind is None and "apply_zipf" in config):
        has_limit = "max_length" in config
        return _Layout(
            "",
            "embeddings",
            config.flag("normalize"),
            is_model2vec=True,
            max_length=config.count("max_length") if has_limit else _DEFAULT_MAX_LENGTH,
        )
    modules = module_entries(source)
    if modules is None:
        return None
    kinds = [module_kind(module) for module in modules]
    if kinds[:1] != ["StaticEmbedding"]:
        return None
    if kinds not in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"]):
        raise ValueError(
            f"model={source.model!r} has the modules {', '.join(kinds)}; only Normalize "
            "is supported after StaticEmbedding."
        )
    prompt = read_prompt(source)
    if prompt:
        raise ValueError(
            f"model={source.model!r} puts {prompt!r} before every document, which is "
            "not supported; remove default_prompt_name from config_sentence_transformers.json."
        )
    return _Layout(
        modules[0]["path"],
        "embedding.weight",
        len(kinds) == 2,
        is_model2vec=False,
        truncate_dim=truncate_dim(source),
    )


def read_static(source: Source) -> StaticFolder | None:
    """Read a static embedding model, and check that its files are consistent.

    Parameters
    ----------
    source : Source
        The files of the model.

    Returns
    -------
    folder : StaticFolder or None
        The model; None if it is of another kind, such as a teacher.

    Raises
    ------
    OSError
        If a file is missing.
    ValueError
        If a file is damaged or inconsistent with another.

    Warns
    -----
    UserWarning
        If the folder also holds a classifier of model2vec.
    """
    layout = _layout(source)
    if layout is None:
        return None
    tokenizer_file, tensor_file = (
        Path(source.required_path(join(layout.path, name)))
        for name in ("tokenizer.json", "model.safetensors")
    )
    tokenizer_content = read_file(tokenizer_file, MAX_TOKENIZER)
    original, state, composition = _read_tokenizer(tokenizer_file, tokenizer_content)
    unknown = unknown_id(state)
    ids = sorted(set(token_ids(state).values()) - ({unknown} if layout.is_model2vec else set()))
    with _opened(tensor_file) as tensors:
        stored, scales, kept = _read_tensors(tensors, tensor_file, layout, ids, unknown)
        checksum = (tensors.metadata() or {}).get(_CHECKSUM)
    if checksum is not None and checksum != _checksum(
        tokenizer_content, layout.normalize, layout.max_length, stored, scales
    ):
        raise ValueError(
            f"{tensor_file}, {tokenizer_file.name} and config.json do not match the checksum in "
            "the first: one of them was changed after saving; save the model again."
        )
    classifier = next(filter(source.has, _CLASSIFIERS), None) if layout.is_model2vec else None
    if classifier is not None:
        warn(
            f"model={source.model!r} has a classifier ({classifier}), which is not loaded: only "
            "the token vectors are. To load both, use "
            "model2vec.inference.StaticModelPipeline.from_pretrained."
        )
    vocabulary = Vocabulary(original, np.array(ids, dtype=np.int32)[kept])
    table = StaticTable(FastTokenizer(vocabulary, composition), stored, scales)
    where = f"model={source.model!r}, file {join(layout.path, 'tokenizer.json')}"
    settings = Settings({"truncation": state.get("truncation")}, where)
    return StaticFolder(table, layout, settings)


def _read_tokenizer(
    file: Path, content: bytes
) -> tuple[Original, dict[str, Any], Composition | None]:
    """Return the tokenizer, the content of its file, and its equivalent in the engine.

    The library of the original tokenizer takes seconds for a large vocabulary. It reads the file
    only if the engine has no equivalent, or to say what is wrong with the file.
    """
    try:
        original = Original(content.decode())
        state = original.state
        composition = composition_of(original)
        if composition is not None:
            return original, state, composition
    except Exception:  # the library says what is wrong
        pass
    parse_tokenizer(file, content)
    original = Original(content.decode())
    try:
        state = original.state
    except RecursionError as error:
        raise ValueError(f"{file} is nested too deeply to be read.") from error
    original.release()
    return original, state, None


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            yield tensors
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _read_tensors(
    tensors: Any, file: Path, layout: _Layout, ids: list[int], unknown: int | None
) -> tuple[NDArray[Any], NDArray[np.float32] | None, NDArray[np.bool_]]:
    """Return the stored rows and scales of the tokens with these ids, and which are kept."""
    names = set(tensors.keys())
    name = layout.tensor
    if name not in names and "embeddings" in names:
        name = "embeddings"  # model2vec's name, in a sentence-transformers folder
    # sentence-transformers reads these only beside model2vec's name.
    others = set() if name == "embedding.weight" else {"weights", "mapping"}
    slices = {key: tensors.get_slice(key) for key in names & {name, *others}}
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
    dtypes = {key: part.get_dtype() for key, part in slices.items()}
    _check_tensors(file, name, ids, unknown, shapes, dtypes)
    arrays = {key: tensors.get_tensor(key) for key in slices}
    mapping, weights = arrays.get("mapping"), arrays.get("weights")
    rows = np.array(ids, dtype=np.int64)
    if mapping is not None:
        rows = mapping[rows]
        if not 0 <= rows.min() <= rows.max() < len(arrays[name]):
            raise ValueError(
                f"{file}: mapping points to rows {rows.min()} to {rows.max()}, but {name} has "
                f"{len(arrays[name])} rows."
            )
    # If features have unit length, a token with a zero vector is equivalent to no token.
    kept = arrays[name].any(axis=1)[rows] if layout.normalize else np.ones(len(rows), dtype=bool)
    if not kept.any():
        raise ValueError(f"{file}: {name} has only zero vectors.")
    chosen = rows[kept]
    stored: NDArray[Any] = arrays[name]
    if not np.array_equal(chosen, np.arange(len(stored))):
        stored = _selected(stored, chosen)
    scales = np.ones(len(stored))
    if weights is not None:
        scales = weights[np.array(ids, dtype=np.int64)[kept]].astype(np.float64)
    is_int8 = stored.dtype == np.int8
    if not is_int8 and (scales != 1).any():
        stored = stored.astype(np.float64) * scales[:, None]
    # In double precision, since float16 cannot hold the limit. The comparison also catches NaN.
    # Without a copy of the magnitudes.
    ends = [float(part) for array in (stored, scales) for part in (array.min(), array.max())]
    largest = np.abs(ends).max()
    if not largest <= LARGEST:
        raise ValueError(
            f"{file}: {name} has values that are not finite or too large: the magnitude {largest} "
            f"must be at most {LARGEST:g}; save the model again from finite vectors."
        )
    if is_int8:
        return stored, scales.astype(np.float32), kept
    return (
        stored.astype(np.float16 if stored.dtype == np.float16 else np.float32, copy=False),
        None,
        kept,
    )


def _selected(stored: NDArray[Any], chosen: NDArray[np.int64]) -> NDArray[Any]:
    """Return some rows, in the memory of all of them if that is possible."""
    if not (stored.flags.writeable and (np.diff(chosen) > 0).all()):
        return stored[chosen]
    # In ascending order, a row moves to a place whose own row has moved already.
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        some = chosen[start : start + _ROWS_AT_ONCE]
        stored[start : start + len(some)] = stored[some]
    return stored[: len(chosen)]


def _check_tensors(
    file: Path,
    name: str,
    ids: list[int],
    unknown: int | None,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
) -> None:
    """Check shapes and types in the header, before memory is allocated."""
    if name not in shapes:
        raise ValueError(f"{file} has no tensor {name!r}.")
    if len(shapes[name]) != 2 or 0 in shapes[name]:
        raise ValueError(f"{file}: {name} must have rows and columns, got shape {shapes[name]}.")
    if dtypes[name] not in _DTYPES:
        raise ValueError(
            f"{file}: {name} must be one of {sorted(_DTYPES)}, got {dtypes[name]}; convert it."
        )
    if not ids:
        raise ValueError(f"{file}: tokenizer.json has no token except the unknown token.")
    n_ids = ids[-1] + 1
    for key, shape in shapes.items():
        if key == name and "mapping" in shapes:
            continue
        n_dimensions, kind = (2, "matrix") if key == name else (1, "vector")
        if len(shape) != n_dimensions or shape[0] < n_ids:
            raise ValueError(
                f"{file}: {key} must be a {kind} with a row for each of the {n_ids} tokens of "
                f"tokenizer.json, got shape {shape}."
            )
    if unknown is not None and unknown > max(n_ids, shapes.get("mapping", shapes[name])[0]):
        raise ValueError(
            f"{file}: tokenizer.json has {n_ids} tokens, but the unknown token has id {unknown}."
        )
    if dtypes.get("mapping", "I64") not in _INTEGERS:
        raise ValueError(f"{file}: mapping must hold integers, got {dtypes['mapping']}.")
    if dtypes.get("weights", "F32") not in _DTYPES - {"I8"}:
        raise ValueError(f"{file}: weights must hold floats, got {dtypes['weights']}.")


def write_static(
    folder: str | os.PathLike[str],
    table: StaticTable,
    source: Source | None,
    *,
    norm: Norm,
    max_length: int | None,
) -> None:
    """Write a table as a folder that model2vec and sentence-transformers read.

    The scales of an int8 table are written as model2vec's token weights. If the table has only part
    of the vocabulary, a mapping from all tokens to its rows is written. If one of the libraries
    would compute other features, the folder lacks the files that it needs.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder; it is created if it does not exist.
    table : StaticTable
        A table without bigrams.
    source : Source or None
        The original model, for the model card; None for word vectors. Of a path, only the last part
        is written.
    norm : {"l2"} or None
        Whether features are scaled to unit length.
    max_length : int or None
        Number of tokens to which documents are truncated; None does not truncate.

    Raises
    ------
    ValueError
        If the folder holds a model of another kind, such as a teacher, or if both libraries would
        compute other features.

    Warns
    -----
    UserWarning
        If model2vec would truncate documents with long tokens further, or if the card of the
        original model cannot be read.
    """
    root = Path(folder)
    readers = _readers(table, norm)
    _check_overwritten(root)
    if max_length is not None and "model2vec" in readers:
        _warn_of_characters(table.vocabulary.tokenizer, max_length)
    card = model_card(
        readers,
        metadata="" if source is None else _metadata(source),
        n_rows=len(table.vocabulary),
        n_components=table.n_components,
        model="word vectors" if source is None else short_name(source),
    )
    root.mkdir(parents=True, exist_ok=True)
    # So that an earlier model survives a full disk; inside, as others may be on another disk.
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        (new / "README.md").write_text(card, encoding="utf-8")
        _write_files(new, table, readers, norm, max_length)
        if norm == "l2":
            (root / "1_Normalize").mkdir(exist_ok=True)
        written = {file.name for file in filter(Path.is_file, new.iterdir())}
        for name in written:
            (new / name).replace(root / name)
        for name in _SETTINGS - written:  # of an earlier model
            (root / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _metadata(source: Source) -> str:
    try:
        return read_metadata(source, is_teacher=_layout(source) is None)
    except (OSError, ValueError) as error:  # it was moved, or the Hub is unreachable
        warn(
            "The new model card has no language, license and base_model, since that of "
            f"model={source.model!r} cannot be read: {error}"
        )
        return ""


def _check_overwritten(root: Path) -> None:
    """Raise if files of another kind of model would be overwritten."""
    config, modules = (_read_json(root / name) for name in ("config.json", "modules.json"))
    kind = config.get("model_type", "model2vec") if isinstance(config, dict) else "model2vec"
    if isinstance(modules, list) and modules and isinstance(modules[0], dict):
        module = {"type": str(modules[0].get("type", ""))}
        first = module_kind(module) or module["type"]
        kind = kind if first == "StaticEmbedding" else first
    if any((root / name).exists() for name in _CLASSIFIERS):
        kind = "StaticModelPipeline"  # whose classifier would stay, for features of another model
    if kind != "model2vec":
        raise ValueError(
            f"folder={str(root)!r} holds a model of the kind {kind!r}, whose files would be "
            "overwritten; save to another folder."
        )


def _read_json(file: Path) -> Any:
    try:
        return json.loads(read_file(file, MAX_SETTINGS).decode())
    except (OSError, ValueError, RecursionError):
        return None


def _write_files(
    root: Path,
    table: StaticTable,
    readers: Collection[str],
    norm: Norm,
    max_length: int | None,
) -> None:
    from safetensors.numpy import save_file

    is_for_model2vec, normalize = "model2vec" in readers, norm == "l2"
    _write_tokenizer(root / "tokenizer.json", table.vocabulary.tokenizer, max_length)
    # As they will be read, for unit length without tokens whose vector is zero.
    kept = table.stored.any(axis=1) if normalize else slice(None)
    checksum = _checksum(
        (root / "tokenizer.json").read_bytes(),
        normalize,
        max_length if is_for_model2vec else None,
        table.stored[kept],
        None if table.scales is None else table.scales[kept],
    )
    tensors = _tensors(table)
    save_file(tensors, root / "model.safetensors", {_CHECKSUM: checksum})
    if is_for_model2vec:
        config: dict[str, Any] = {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "normalize": normalize,
            "max_length": max_length,
            "hidden_dim": table.n_components,
            "embedding_dtype": table.stored.dtype.name,
        }
        if "mapping" in tensors:
            config["vocabulary_quantization"] = len(tensors["embeddings"])
        _write_json(root / "config.json", config)
    if "sentence-transformers" in readers:
        package = "sentence_transformers.models"
        modules = [
            {"idx": 0, "name": "0", "path": ".", "type": f"{package}.StaticEmbedding"},
            {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{package}.Normalize"},
        ]
        _write_json(root / "modules.json", modules[: 1 + normalize])
    if len(readers) == 2:
        # For model2vec, this alone marks a folder of sentence-transformers.
        _write_json(root / "config_sentence_transformers.json", {"prompts": {}})


def _tensors(table: StaticTable) -> dict[str, NDArray[Any]]:
    """Return the tensors under model2vec's names, with a row for each id of the tokenizer."""
    vocabulary = table.vocabulary
    ids, n_ids = vocabulary.token_ids, vocabulary.n_ids
    tensors: dict[str, NDArray[Any]] = {}
    if 2 * len(vocabulary) < n_ids or vocabulary.tokenizer.get_vocab_size() < n_ids:
        # All other tokens are mapped to a zero row after the last.
        mapping = np.full(n_ids, len(vocabulary), dtype=np.int64)
        mapping[ids] = np.arange(len(vocabulary))
        tensors["mapping"] = mapping
        nothing = np.zeros((1, table.n_components), dtype=table.stored.dtype)
        tensors["embeddings"] = np.concatenate([table.stored, nothing])
    else:
        tensors["embeddings"] = np.zeros((n_ids, table.n_components), dtype=table.stored.dtype)
        tensors["embeddings"][ids] = table.stored
    if table.stored.dtype != np.float32:
        # Also for float16: sentence-transformers then computes in float32, as it must.
        tensors["weights"] = np.ones(n_ids, dtype=np.float32)
    if table.scales is not None:
        tensors["weights"][ids] = table.scales
    return tensors


def _write_tokenizer(file: Path, tokenizer: Tokenizer, max_length: int | None) -> None:
    """Write a tokenizer with the limit that sentence-transformers reads; model2vec ignores it."""
    if max_length is not None:
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        tokenizer.enable_truncation(max_length)
    tokenizer.save(str(file), pretty=False)


def _warn_of_characters(tokenizer: Tokenizer, max_length: int) -> None:
    """Say how model2vec truncates documents before it tokenizes them."""
    n_characters = max_length * int(np.median([len(token) for token in tokenizer.get_vocab()]))
    warn(
        f"model2vec also truncates documents to {n_characters:,} characters, max_length="
        f"{max_length} times the median length of a token, before it tokenizes them. For documents "
        "with longer tokens, it will return other features than from_pretrained and "
        "sentence-transformers. To avoid this, set max_length=None."
    )


def _readers(table: StaticTable, norm: Norm) -> list[str]:
    """Return the libraries that compute the same features from a folder of the table."""
    original = table.vocabulary.original
    unknown, id_of = unknown_id(original.state), token_ids(original.state)
    original.release()
    # Both count a token without a vector, but for the unknown token, which model2vec removes.
    without = set(id_of.values()).difference(table.vocabulary.token_ids.tolist())
    counted = {"model2vec": without - {unknown}, "sentence-transformers": without}
    readers = [reader for reader, ids in counted.items() if norm == "l2" or not ids]
    if not readers:
        token = next(token for token, i in id_of.items() if i in counted["model2vec"])
        raise ValueError(
            f"The format of save_pretrained cannot represent norm={norm!r}: set norm='l2'. "
            f"(model2vec and sentence-transformers would count the {len(without)} tokens without "
            f"a vector, such as {token!r}.)"
        )
    is_pooled = unknown is not None and unknown not in without
    return [reader for reader in readers if not (is_pooled and reader == "model2vec")]


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _checksum(
    tokenizer: bytes,
    normalize: bool,
    max_length: int | None,
    stored: NDArray[Any],
    scales: NDArray[np.float32] | None,
) -> str:
    """Hash everything that the features depend on."""
    digest = hashlib.sha256(tokenizer)
    if max_length is not None:  # added later
        digest.update(repr(max_length).encode())
    digest.update(repr((normalize, stored.shape, stored.dtype.name)).encode())
    for array in (stored, scales):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()
