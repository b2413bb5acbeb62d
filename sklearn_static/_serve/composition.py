"""A tokenizer as a composition of components that the compiled engine has.

A component is recognized by its kind and its settings, never by the name of a model. What the
engine has no equivalent of is left to the original tokenizer, and `fit` also compares both on the
user's documents.
"""

import json
import zlib
from hashlib import blake2b
from typing import Any

import numpy as np

from sklearn_static._serve import IS_COMPILED
from sklearn_static._serve.characters import component, forget_large_changes
from sklearn_static._serve.original import Original
from sklearn_static._serve.patterns import UnsupportedError

if IS_COMPILED:
    from sklearn_static._serve.added import compile_added
    from sklearn_static._serve.models import compile_model
    from sklearn_static._serve.normalizers import compile_normalizer
    from sklearn_static._serve.splitters import compile_splitter

# Increment it when the tables change; saved ones of another version are made anew.
COMPOSITION_VERSION = 3

Composition = dict[str, Any]
"""The components' tables: dictionaries, lists, numbers, strings, and arrays that may be mapped."""


# The last results and the hashes of their texts, as all fits of a search are to one tokenizer.
_recent: list[tuple[bytes, Composition | None]] = []
_N_RECENT = 4


def composition_of(original: Original) -> Composition | None:
    """Convert a tokenizer to tables, or return those that were made most recently for its text.

    Parameters
    ----------
    original : Original
        The tokenizer.

    Returns
    -------
    composition : dict or None
        The result of `compose`.
    """
    key = blake2b(original.text.encode(), digest_size=16).digest()
    for known, composition in _recent:
        if known == key:
            original.release()
            return composition
    composition = compose(original.state)
    original.release()
    forget_large_changes()
    _recent[:] = [(key, composition), *_recent[: _N_RECENT - 1]]
    return composition


def compose(state: dict[str, Any]) -> Composition | None:
    """Convert a tokenizer to tables for the compiled engine.

    Parameters
    ----------
    state : dict
        The content of tokenizer.json.

    Returns
    -------
    composition : dict or None
        The tables; None if the engine has no equivalent of a component, or is not compiled.
    """
    if not IS_COMPILED:
        return None
    # With the defaults that a file may leave out.
    components = json.loads(component(state["normalizer"], state["pre_tokenizer"]).to_str())
    normalizer = components["normalizer"]
    steps = flat(components["pre_tokenizer"], "pretokenizers")
    byte_level = bool(steps) and steps[-1]["type"] == "ByteLevel"
    try:
        tokens = state["added_tokens"]
        return {
            "added": compile_added(tokens, normalizer, normalized=False),
            "added_normalized": compile_added(tokens, normalizer, normalized=True),
            "normalizer": compile_normalizer(flat(normalizer, "normalizers")),
            "splitter": compile_splitter(steps),
            "model": compile_model(state["model"], byte_level=byte_level),
        }
    except UnsupportedError:
        return None


def flat(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """List the steps of a normalizer or pre-tokenizer, including those of nested sequences.

    Parameters
    ----------
    step : dict or None
        The component as in tokenizer.json.
    key : {"normalizers", "pretokenizers"}
        The key of a sequence's steps.

    Returns
    -------
    steps : list of dict
        The steps, none of which is a sequence.
    """
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [part for inner in step[key] for part in flat(inner, key)]
    return [step]


def checksum(value: Any, start: int = 0) -> int:
    """Compute a checksum of nested dictionaries, lists, numbers, strings and arrays.

    Parameters
    ----------
    value : dict, list, ndarray or other
        The value.
    start : int, default=0
        The checksum of what precedes it.

    Returns
    -------
    checksum : int
        The CRC-32.
    """
    if isinstance(value, dict):
        for key in sorted(value):
            start = checksum(value[key], zlib.crc32(key.encode(), start))
        return start
    if isinstance(value, list):
        for item in value:
            start = checksum(item, start)
        return zlib.crc32(b"]", start)
    if isinstance(value, np.ndarray):
        start = zlib.crc32(repr((value.dtype.str, value.shape)).encode(), start)
        return zlib.crc32(value.data, start)
    return zlib.crc32(repr(value).encode(), start)
