"""Static models as folders: model2vec's and sentence-transformers' formats, read and written."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sklearn_static._folder import Source, join, read_modules
from sklearn_static._table import StaticTable
from sklearn_static._vocabulary import Vocabulary, unknown_id

# In config.json: the hashes of what belongs together.
_CHECKSUMS = "sklearn_static"
_DTYPES = {"F64", "F32", "F16", "I8"}
_INTEGERS = {"I64", "I32", "I16", "U8", "U16", "U32", "U64", "I8"}

_CARD = """---
library_name: model2vec
tags: [static-embeddings, sentence-transformers, sklearn-static]
---

A static embedding model: {n_rows:,} tokens, {n_components} dimensions, made with
[sklearn-static](https://pypi.org/project/sklearn-static/) from `{model}`.

```python
from sklearn_static import StaticEmbeddingVectorizer
features = StaticEmbeddingVectorizer.from_pretrained("this folder").transform(texts)

from model2vec import StaticModel
features = StaticModel.from_pretrained("this folder").encode(texts)

from sentence_transformers import SentenceTransformer
features = SentenceTransformer("this folder").encode(texts)
```
"""


@dataclass(frozen=True)
class StaticFolder:
    """A static model, read from a folder.

    Attributes
    ----------
    table : StaticTable
        One row for each token, the unknown one excepted.
    normalize : bool
        Whether features are scaled to unit length.
    """

    table: StaticTable
    normalize: bool


def is_static(source: Source) -> bool:
    """Tell a static model from a teacher, by its settings alone.

    Parameters
    ----------
    source : Source
        The model.

    Returns
    -------
    is_static : bool
        Whether `read_static` can read it.
    """
    return _layout(source) is not None


@dataclass(frozen=True)
class _Layout:
    path: str
    tensor: str
    normalize: bool
    config: dict[str, Any]


def _layout(source: Source) -> _Layout | None:
    modules = read_modules(source)
    kinds = [module["type"].rpartition(".")[2] for module in modules or []]
    if modules is not None and kinds[:1] != ["StaticEmbedding"]:
        return None
    config = source.json("config.json") or {}
    if not isinstance(config, dict):
        raise ValueError(f"model={source.model!r}: config.json must be an object.")
    if config.get("model_type") == "model2vec":
        return _Layout("", "embeddings", bool(config.get("normalize", False)), config)
    if modules is None:
        return None
    if kinds not in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"]):
        raise ValueError(
            f"model={source.model!r} has the modules {', '.join(kinds)}; known behind a "
            "StaticEmbedding is Normalize alone."
        )
    path = modules[0]["path"]
    return _Layout("" if path == "." else path, "embedding.weight", len(kinds) == 2, {})


def read_static(source: Source) -> StaticFolder:
    """Read a static model, and make sure that its files fit together.

    Parameters
    ----------
    source : Source
        The model.

    Returns
    -------
    folder : StaticFolder
        The model.

    Raises
    ------
    OSError
        If a file is missing.
    ValueError
        If the folder is of another kind, or a file is damaged or does not fit to another.
    """
    layout = _layout(source)
    if layout is None:
        raise ValueError(
            f"model={source.model!r} is not a static model of model2vec or sentence-transformers; "
            "fit distils a sentence-transformer."
        )
    files = {}
    for name in ("tokenizer.json", "model.safetensors"):
        path = source.path(join(layout.path, name))
        if path is None:
            raise OSError(f"model={source.model!r} has no file {join(layout.path, name)}.")
        files[name] = Path(path)
    _verify(source, layout.config, files)
    try:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    except Exception as error:  # tokenizers raises no narrower class
        raise ValueError(f"{files['tokenizer.json']} is not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = np.array(sorted(set(tokenizer.get_vocab().values()) - {unknown_id(tokenizer)}), np.int32)
    stored, scales = _read_tensors(files["model.safetensors"], layout.tensor, ids)
    return StaticFolder(StaticTable(Vocabulary(tokenizer, ids), stored, scales), layout.normalize)


def _read_tensors(
    file: Path, name: str, ids: NDArray[np.int32]
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Give what a table stores for the tokens of these ids."""
    from safetensors import SafetensorError, safe_open

    n_ids = int(ids.max(initial=-1)) + 1
    try:
        with safe_open(file, framework="numpy") as tensors:
            names = set(tensors.keys())
            if name not in names and "embeddings" in names:
                name = "embeddings"  # model2vec's, in a folder of sentence-transformers
            slices = {key: tensors.get_slice(key) for key in names & {name, "weights", "mapping"}}
            shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
            dtypes = {key: part.get_dtype() for key, part in slices.items()}
            _check_tensors(file, name, n_ids, shapes, dtypes)
            arrays = {key: tensors.get_tensor(key) for key in slices}
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    mapping = arrays.get("mapping")
    rows = ids if mapping is None else mapping[ids]
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(arrays[name]):
        raise ValueError(
            f"{file}: mapping points to the rows {rows.min()} to {rows.max()}, but there are "
            f"{len(arrays[name])}."
        )
    weights = arrays.get("weights")
    for key, values in ((name, arrays[name]), ("weights", weights)):
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"{file}: {key} has values that are not finite.")
    stored: NDArray[Any] = arrays[name][rows]
    if stored.dtype == np.int8:
        scales = np.ones(len(ids)) if weights is None else weights[ids]
        return stored, scales.astype(np.float32)
    if weights is not None and (weights != 1).any():
        stored = stored.astype(np.float32) * weights[ids].astype(np.float32)[:, None]
    return stored if stored.dtype == np.float16 else stored.astype(np.float32, copy=False), None


def _check_tensors(
    file: Path,
    name: str,
    n_ids: int,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
) -> None:
    """Compare what the header says, before memory is taken."""
    if name not in shapes:
        raise ValueError(f"{file} has no tensor {name!r}.")
    if len(shapes[name]) != 2 or 0 in shapes[name]:
        raise ValueError(f"{file}: {name} must have two dimensions, got {shapes[name]}.")
    if dtypes[name] not in _DTYPES:
        raise ValueError(f"{file}: {name} must be one of {sorted(_DTYPES)}, got {dtypes[name]}.")
    per_id = {key for key in ("mapping", "weights") if key in shapes}
    if "mapping" not in shapes and shapes[name][0] < n_ids:
        raise ValueError(
            f"{file}: {name} has {shapes[name][0]} rows, but tokenizer.json has {n_ids} tokens."
        )
    for key in per_id:
        if len(shapes[key]) != 1 or shapes[key][0] < n_ids:
            raise ValueError(
                f"{file}: {key} has the shape {shapes[key]}, but tokenizer.json has {n_ids} tokens."
            )
    if "mapping" in shapes and dtypes["mapping"] not in _INTEGERS:
        raise ValueError(f"{file}: mapping must hold integers, got {dtypes['mapping']}.")
    if "weights" in shapes and dtypes["weights"] not in _DTYPES:
        raise ValueError(f"{file}: weights must hold floats, got {dtypes['weights']}.")


def write_static(folder: str | os.PathLike[str], table: StaticTable, model: str) -> None:
    """Write a table as a folder that model2vec and sentence-transformers read.

    An int8 table is written with its scales as model2vec's token weights.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if need be.
    table : StaticTable
        Without bigrams.
    model : str
        What it was made from, for the model card.
    """
    from safetensors.numpy import save_file

    vocabulary = table.vocabulary
    n_ids = vocabulary.n_ids
    embeddings = np.zeros((n_ids, table.n_components), dtype=table.stored.dtype)
    embeddings[vocabulary.token_ids] = table.stored
    tensors = {"embeddings": embeddings}
    if embeddings.dtype != np.float32:
        # For float16 too: sentence-transformers then goes on in float32, as it must.
        tensors["weights"] = np.ones(n_ids, dtype=np.float32)
    if table.scales is not None:
        tensors["weights"][vocabulary.token_ids] = table.scales
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    files = {name: root / name for name in ("tokenizer.json", "model.safetensors")}
    vocabulary.tokenizer.save(str(files["tokenizer.json"]), pretty=False)
    save_file(tensors, files["model.safetensors"], {"made_by": _CHECKSUMS})
    config: dict[str, Any] = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "normalize": True,
        "max_length": None,
        "hidden_dim": table.n_components,
        "embedding_dtype": embeddings.dtype.name,
    }
    config[_CHECKSUMS] = _checksums(config, files)
    _write_json(root / "config.json", config)
    package = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": ".", "type": f"{package}.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{package}.Normalize"},
    ]
    _write_json(root / "modules.json", modules)
    (root / "1_Normalize").mkdir(exist_ok=True)
    card = _CARD.format(n_rows=len(vocabulary), n_components=table.n_components, model=model)
    (root / "README.md").write_text(card, encoding="utf-8")


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _checksums(config: dict[str, Any], files: Mapping[str, Path]) -> dict[str, str]:
    settings = {key: value for key, value in config.items() if key != _CHECKSUMS}
    return {
        "settings": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        **{name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()},
    }


def _verify(source: Source, config: dict[str, Any], files: Mapping[str, Path]) -> None:
    """Compare the hashes that `write_static` left; other tools leave none."""
    stated = config.get(_CHECKSUMS)
    if stated is None:
        return
    for name, checksum in _checksums(config, files).items():
        if not isinstance(stated, dict) or stated.get(name) != checksum:
            raise ValueError(
                f"model={source.model!r}: {name} is not as it was written, by the checksum in "
                "config.json. Save the model again."
            )
