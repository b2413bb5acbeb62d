"""Descriptions of the subword tokenizers that the compiled engine runs on plain pieces of text.

A plain piece is an optional space followed by printable ASCII.
"""

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from sklearn_static._serve.cuts import Rule, flat

_VISIBLE = string.digits + string.ascii_letters + string.punctuation
_CLASSES = (string.ascii_letters, string.digits, string.punctuation)


@dataclass(frozen=True)
class PlainBpe:
    """Byte-level byte-pair encoding.

    Attributes
    ----------
    id_of_byte : dict
        The token of each printable ASCII character.
    merges : list of tuple
        Two ids and the id of the token into which they merge, by descending priority.
    n_ids : int
        The largest id plus one.
    has_digits : bool
        Whether a run of digits is one pre-token.
    ignores_merges : bool
        Whether a piece that is itself a token is never split.
    id_of_piece : dict
        The ids of such pieces, which are ASCII.
    """

    id_of_byte: Mapping[int, int]
    merges: Sequence[tuple[int, int, int]]
    n_ids: int
    has_digits: bool
    ignores_merges: bool
    id_of_piece: Mapping[bytes, int]


@dataclass(frozen=True)
class PlainUnigram:
    """SentencePiece's unigram language model.

    Attributes
    ----------
    scores : list of tuple
        Each token and its score, by ascending id.
    excluded : set of str
        Characters that a plain piece must not contain.
    """

    scores: Sequence[tuple[str, float]]
    excluded: frozenset[str]


def plain_subwords(tokenizer: Tokenizer, rule: Rule) -> PlainBpe | PlainUnigram | None:
    """Describe a tokenizer for the compiled engine.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.
    rule : str
        The result of `cut_rule` for it.

    Returns
    -------
    subwords : PlainBpe, PlainUnigram or None
        None if the tokenizer is not of a kind that the engine reproduces exactly.
    """
    normalizer = tokenizer.normalizer
    if normalizer is not None and any(normalizer.normalize_str(c) != c for c in _VISIBLE):
        return None
    if rule in ("byte-level", "letters first"):
        return _bpe(tokenizer, json.loads(tokenizer.to_str()), rule)
    if rule == "spaces":
        return _unigram(json.loads(tokenizer.to_str()))
    return None


def _bpe(tokenizer: Tokenizer, state: dict[str, Any], rule: Rule) -> PlainBpe | None:
    model = state["model"]
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if model["type"] != "BPE" or any(model.get(option) for option in options):
        return None
    contents = [token["content"] for token in state["added_tokens"]]
    if any(set(content) <= set(characters) for content in contents for characters in _CLASSES):
        return None  # an added token could occur within a plain piece
    vocab: dict[str, int] = model["vocab"]
    space = "\u0120"  # represents a space
    id_of_byte = {ord(c): vocab[c] for c in _VISIBLE if c in vocab}
    if space in vocab:
        id_of_byte[ord(" ")] = vocab[space]
    merges = []
    for merge in model["merges"]:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        merges.append((vocab[first], vocab[second], vocab[first + second]))
    ignores_merges = bool(model.get("ignore_merges"))
    id_of_piece = {}
    if ignores_merges:
        pieces = {token.replace(space, " "): token_id for token, token_id in vocab.items()}
        id_of_piece = {p.encode(): i for p, i in pieces.items() if p and p.isascii()}
    n_ids = 1 + max(vocab.values())
    return PlainBpe(id_of_byte, merges, n_ids, rule == "byte-level", ignores_merges, id_of_piece)


def _unigram(state: dict[str, Any]) -> PlainUnigram | None:
    model, parts = state["model"], flat(state["pre_tokenizer"], "pretokenizers")
    schemes = ("always",) if len(parts) > 1 else ("always", "first")
    mark = parts[-1]
    steps = flat(state["normalizer"], "normalizers")
    replaced = [step["pattern"] for step in steps if step["type"] == "Replace"]
    if (
        model["type"] != "Unigram"
        or mark.get("replacement") != "\u2581"
        or mark.get("prepend_scheme") not in schemes
        or any(pattern not in ({"String": "  "}, {"Regex": " {2,}"}) for pattern in replaced)
    ):
        return None
    firsts = frozenset(token["content"][0] for token in state["added_tokens"] if token["content"])
    return PlainUnigram([(token, score) for token, score in model["vocab"]], firsts)
