"""The pre-tokenizer of a tokenizer as the steps of the compiled engine."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.characters import (
    as_bytes,
    numbers,
    punctuation,
    table,
    white_space,
    word_characters,
)
from sklearn_static._serve.patterns import UnsupportedError, compile_pattern, compile_runs

# The pattern of GPT-2, which ByteLevel uses.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# As in splitter.hpp.
_WHITE, _ALONE = 1, 2

Step = dict[str, Any]
"""A pre-tokenizer as in tokenizer.json."""


def compile_splitter(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Convert the steps of a pre-tokenizer, except the conversion of bytes to characters.

    Parameters
    ----------
    steps : sequence of dict
        The steps as in tokenizer.json, none of which is a sequence.

    Returns
    -------
    steps : list of dict
        The steps of the engine, each of which splits the pieces of the one before it.

    Raises
    ------
    UnsupportedError
        If the engine has no equivalent of a step.
    """
    compiled: list[dict[str, Any]] = []
    for place, step in enumerate(steps):
        if step["type"] == "ByteLevel" and place < len(steps) - 1:
            raise UnsupportedError("A splitter after ByteLevel is not supported.")
        if (
            step["type"] == "Metaspace"
            and step["prepend_scheme"] == "first"
            and any(before["type"] == "Metaspace" for before in steps[:place])
        ):
            raise UnsupportedError("Two Metaspace splitters are not supported.")
        compiled += _compiled(step)
    return compiled


def _compiled(step: Step) -> list[dict[str, Any]]:
    kind = step["type"]
    if kind == "BertPreTokenizer":
        return [_words(_WHITE * white_space() | _ALONE * (punctuation() & ~white_space()))]
    if kind == "WhitespaceSplit":
        return [_words(_WHITE * white_space())]
    if kind == "Whitespace":
        word = word_characters()
        tables = compile_runs([word, ~word & ~white_space()], repeats=True)
        return [_pattern(tables, "Removed", inverts=True)]
    if kind == "Punctuation":
        return [_pattern(compile_runs([punctuation()], repeats=False), step["behavior"])]
    if kind == "Digits":
        behavior = "Isolated" if step["individual_digits"] else "Contiguous"
        return [_pattern(compile_runs([numbers()], repeats=False), behavior)]
    if kind == "CharDelimiterSplit":
        return [_pattern(compile_pattern(re.escape(step["delimiter"])), "Removed")]
    if kind == "Split":
        pattern = step["pattern"].get("Regex")
        if pattern is None:
            pattern = re.escape(step["pattern"]["String"])
        return [_pattern(compile_pattern(pattern), step["behavior"], inverts=step["invert"])]
    if kind == "ByteLevel":
        prefix = [{"kind": "prefix space"}] if step["add_prefix_space"] else []
        split = [_pattern(compile_pattern(_GPT2), "Isolated")] if step["use_regex"] else []
        return prefix + split
    if kind == "Metaspace":
        return [
            {
                "kind": "metaspace",
                "mark": as_bytes(step["replacement"].encode()),
                "prepend": step["prepend_scheme"],
                "splits": step["split"],
            }
        ]
    raise UnsupportedError(f"The pre-tokenizer {kind} is not supported.")


def _words(kinds: NDArray[Any]) -> dict[str, Any]:
    return {"kind": "words", "kinds": table(kinds.astype(np.uint8))}


def _pattern(tables: dict[str, Any], behavior: str, *, inverts: bool = False) -> dict[str, Any]:
    return {"kind": "pattern", "pattern": tables, "behavior": behavior, "inverts": inverts}
