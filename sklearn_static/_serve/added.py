"""The added tokens of a tokenizer as the tables of the compiled engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_static._serve.characters import component, table, white_space, word_characters
from sklearn_static._serve.engine import build_trie
from sklearn_static._serve.patterns import UnsupportedError

# As in added.hpp.
_SINGLE_WORD, _STRIP_LEFT, _STRIP_RIGHT = 1, 2, 4
_SPACE, _WORD = 1, 2


def compile_added(
    tokens: Sequence[dict[str, Any]], normalizer: dict[str, Any] | None, *, normalized: bool
) -> dict[str, Any] | None:
    """Convert the added tokens that are found before, or after, normalization.

    Parameters
    ----------
    tokens : sequence of dict
        All added tokens as in tokenizer.json.
    normalizer : dict or None
        The normalizer as in tokenizer.json.
    normalized : bool
        Whether to convert those that are found in the normalized text.

    Returns
    -------
    tables : dict or None
        The tables that the engine reads; None if there are no such tokens.

    Raises
    ------
    UnsupportedError
        If a token is empty once it is normalized.
    """
    # Of equal tokens, the first one counts, and special ones come first.
    chosen = [token for token in tokens if token["normalized"] == normalized]
    chosen.sort(key=lambda token: not token["special"])
    if not chosen:
        return None
    contents = [token["content"] for token in chosen]
    if normalized and normalizer is not None:
        contents = list(map(component(normalizer).normalizer.normalize_str, contents))
    encoded = [content.encode() for content in contents]
    if not all(encoded):
        raise UnsupportedError("An added token is empty once it is normalized.")
    order = np.arange(len(chosen), dtype=np.int32)[::-1].copy()
    begins = np.zeros((256, 256), dtype=np.uint8)
    for content in encoded:
        begins[content[0], content[1] if len(content) > 1 else slice(None)] = 1
    firsts = {content[0] for content in encoded}
    classes = np.zeros(1, dtype=np.uint8)
    flags = [
        _SINGLE_WORD * token["single_word"]
        | _STRIP_LEFT * token["lstrip"]
        | _STRIP_RIGHT * token["rstrip"]
        for token in chosen
    ]
    if any(flags):
        classes = _SPACE * white_space().astype(np.uint8)
        if any(token["single_word"] for token in chosen):
            classes |= _WORD * word_characters().astype(np.uint8)
        class_table = table(classes)
    else:
        class_table = {"index": np.empty(0, np.uint16), "pages": np.empty(0, np.uint8)}
    return {
        "trie": build_trie([encoded[i] for i in order], None, order),
        "ids": np.array([token["id"] for token in chosen], dtype=np.int32),
        "flags": np.array(flags, dtype=np.int32),
        "begins": np.packbits(begins, bitorder="little").view("<u8").astype(np.uint64),
        "classes": class_table,
        "first": firsts.pop() if len(firsts) == 1 else None,
    }
