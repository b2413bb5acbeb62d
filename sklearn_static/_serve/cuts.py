"""Where a document may be cut so that its pieces can be tokenized independently.

A rule is derived from the components of a tokenizer, never from its name, and `fit` also checks it
on real documents.
"""

import json
import string
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

from tokenizers import Tokenizer

Rule = Literal["characters", "words", "spaces", "byte-level", "letters first"]
"""The units that a tokenizer processes independently.

"characters": each character, then each word, which WordPiece splits (BERT and its variants).
"words": each run of characters between ASCII whitespace, which is dropped.
"spaces": each piece of text that begins with a space between two plain characters.
"byte-level": these pieces, cut further between ASCII letters, digits and punctuation (GPT-2).
"letters first": likewise, except that a letter stays with punctuation before it (Qwen, Llama 3).
"""

# Normalizers that map each character independently. (Decomposition also reorders marks;
# `map_character` finds the characters for which that matters.)
_BY_CHARACTER = {"BertNormalizer", "Lowercase", "NFD", "NFKD", "StripAccents"}
# Normalizers that never look across whitespace.
_BY_WORD = _BY_CHARACTER | {"NFC", "NFKC"}
# The patterns by which Qwen and Llama 3 split; no match extends from another character to a space.
_SPLIT_PATTERNS = {
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for number in (r"\p{N}", r"\p{N}{1,3}")
}
# Two combining marks, of a high and a low class, that are kept when accents are stripped.
_HIGH_MARK, _LOW_MARK = "\u302e", "\U0001d165"


def cut_rule(tokenizer: Tokenizer) -> Rule | None:
    """Derive from a tokenizer's components where documents may be cut.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.

    Returns
    -------
    rule : {"characters", "words", "spaces", "byte-level", "letters first"} or None
        None if no rule guarantees that the tokens of a document are those of its parts.
    """
    state = json.loads(tokenizer.to_str())
    normalizers = flat(state["normalizer"], "normalizers")
    pre_tokenizers = flat(state["pre_tokenizer"], "pretokenizers")
    added = state["added_tokens"]
    kinds = [p["type"] for p in pre_tokenizers]
    if (
        state["model"]["type"] == "WordPiece"
        and kinds in (["BertPreTokenizer"], ["WhitespaceSplit"])
        and all(n["type"] in _BY_CHARACTER for n in normalizers)
        and all(added_token_keys(tokenizer))
    ):
        return "characters"
    # Added tokens are found before everything else, whatever surrounds them.
    if any(token["single_word"] or _has_space(token, tokenizer) for token in added):
        return None
    if all(n["type"] in _BY_WORD for n in normalizers) and _splits_words(pre_tokenizers):
        return "words"
    if any(token["rstrip"] for token in added):
        return None
    if all(_keeps_plain_spaces(n) for n in normalizers):
        return _rule_of_spaces(normalizers, pre_tokenizers)
    return None


def _rule_of_spaces(
    normalizers: list[dict[str, Any]], pre_tokenizers: list[dict[str, Any]]
) -> Rule | None:
    kinds = [p["type"] for p in pre_tokenizers]
    last = pre_tokenizers[-1] if pre_tokenizers else {}
    if kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        return "spaces" if last["split"] else None
    if kinds == ["ByteLevel"] and last["use_regex"]:
        finer: Rule = "byte-level"
    elif (
        kinds == ["Split", "ByteLevel"]
        and not last["use_regex"]
        and pre_tokenizers[0]["pattern"].get("Regex") in _SPLIT_PATTERNS
        and pre_tokenizers[0]["behavior"] == "Isolated"
        and not pre_tokenizers[0]["invert"]
    ):
        finer = "letters first"
    else:
        return None
    # A prefix would be added to each piece, and a replacement may turn a comma into a letter.
    is_plain = all(n["type"] in {"Lowercase", "NFC", "NFD", "NFKC", "NFKD"} for n in normalizers)
    return finer if is_plain and not last["add_prefix_space"] else "spaces"


def _has_space(token: dict[str, Any], tokenizer: Tokenizer) -> bool:
    content: str = token["content"]
    if content.split() != [content]:
        return True
    if not token["normalized"] or tokenizer.normalizer is None:
        return False
    return len(tokenizer.normalizer.normalize_str(content).split()) != 1


def flat(component: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """List the steps of a normalizer or pre-tokenizer, including those of nested sequences.

    Parameters
    ----------
    component : dict or None
        The component as in tokenizer.json.
    key : {"normalizers", "pretokenizers"}
        The key of a sequence's steps.

    Returns
    -------
    steps : list of dict
        The steps, none of which is a sequence.
    """
    if component is None:
        return []
    if component["type"] == "Sequence":
        return [part for inner in component[key] for part in flat(inner, key)]
    return [component]


def _splits_words(pre_tokenizers: list[dict[str, Any]]) -> bool:
    kinds = [p["type"] for p in pre_tokenizers]
    if kinds == ["WhitespaceSplit", "Metaspace"]:
        return bool(pre_tokenizers[1]["prepend_scheme"] == "always")
    return kinds in (["BertPreTokenizer"], ["WhitespaceSplit"], ["Whitespace"])


def _keeps_plain_spaces(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Replace":
        pattern, content = normalizer["pattern"], normalizer["content"]
        if pattern in ({"Regex": " {2,}"}, {"String": "  "}):
            return content in (" ", "\u2581")
        # Neither the pattern nor the replacement may be empty or contain a space.
        old = pattern.get("String", "")
        return bool(old.split() == [old] and content.split() == [content])
    if normalizer["type"] == "Strip":
        return not normalizer["strip_left"]
    # Normalizers that add spaces or remove characters are not listed.
    return normalizer["type"] in {"Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled"}


def map_character(tokenizer: Tokenizer, character: str) -> str | None:
    """Apply the normalizer and the pre-tokenizer to one character.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        A tokenizer with the rule "characters".
    character : str
        One character.

    Returns
    -------
    mapped : str or None
        What the character adds to a word, with a space wherever words are separated: " , " for a
        comma, which is a word of its own. None if the result depends on the surrounding
        characters, as for combining marks that are put into canonical order.
    """
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    normalized = character
    if normalizer is not None:
        normalized = normalizer.normalize_str(character)
        if not normalized.isascii() and (
            normalizer.normalize_str(_HIGH_MARK + character)
            != normalizer.normalize_str(_HIGH_MARK) + normalized
            or normalizer.normalize_str(character + _LOW_MARK)
            != normalized + normalizer.normalize_str(_LOW_MARK)
        ):
            return None
    pieces = pre_tokenizer.pre_tokenize_str(f"a{normalized}a")
    return " ".join(piece for piece, _ in pieces)[1:-1]


def added_token_keys(tokenizer: Tokenizer) -> list[str]:
    """Map the characters of each added token by `map_character`, and remove spaces.

    Wherever an added token occurs in a document, its key occurs in the mapped document.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        A tokenizer with the rule "characters".

    Returns
    -------
    keys : list of str
        One for each added token.
    """
    return [
        "".join(map_character(tokenizer, c) or "" for c in token.content).replace(" ", "")
        for token in tokenizer.get_added_tokens_decoder().values()
    ]


def cut_pairs(tokenizer: Tokenizer, rule: Rule) -> Iterator[tuple[str, str]]:
    """Generate the pairs of adjacent ASCII characters between which a document may be cut.

    The patterns of such tokenizers put letters, digits and other characters into different
    pieces, except for an apostrophe before letters ("'ll") and, with "letters first", any one
    character before letters. A line break also ends a piece.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.
    rule : str
        The result of `cut_rule` for it.

    Yields
    ------
    pair : tuple of two str
        The characters before and after the cut.
    """
    if rule not in ("byte-level", "letters first"):
        return
    letters, digits, others = map(set, (string.ascii_letters, string.digits, string.punctuation))
    # No added token may be cut, in uppercase or lowercase.
    added = tokenizer.get_added_tokens_decoder().values()
    within = {pair for token in added for pair in pairwise(token.content.lower())}
    before_letters = digits if rule == "letters first" else digits | others - {"'"}
    # With "letters first", line breaks after punctuation stay with it.
    before_breaks = letters | digits if rule == "letters first" else letters | digits | others
    for firsts, seconds in (
        (letters, digits | others),
        (digits, others),
        (others, digits),
        (before_letters, letters),
        (before_breaks, {"\n"}),
    ):
        for first in firsts:
            for second in seconds:
                if (first.lower(), second.lower()) not in within:
                    yield first, second
