"""The model of a tokenizer as the tables of the compiled engine."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.characters import sparse
from sklearn_static._serve.engine import (
    build_merges,
    build_trie,
    build_words,
    merge_ids,
    single_tokens,
)
from sklearn_static._serve.patterns import UnsupportedError

# As in bpe.hpp.
_BYTES, _UNKNOWN = -1, -2
_NO_RANK = np.iinfo(np.int32).max
# The bytes that UTF-8 contains.
_BYTES_OF_TEXT = [*range(0xC0), *range(0xC2, 0xF5)]
# The penalty of an unknown character, as in SentencePiece.
_UNKNOWN_PENALTY = 10.0

Model = dict[str, Any]
"""A model as in tokenizer.json."""


def compile_model(model: Model, *, byte_level: bool) -> dict[str, Any]:
    """Convert a model to tables.

    Parameters
    ----------
    model : dict
        The model as in tokenizer.json.
    byte_level : bool
        Whether its characters stand for bytes.

    Returns
    -------
    tables : dict
        The tables that the engine reads.

    Raises
    ------
    UnsupportedError
        If the engine has no equivalent of the model.
    """
    kind = model["type"]
    if kind == "BPE":
        return _bpe(model, byte_level)
    if byte_level:
        raise UnsupportedError(f"The model {kind} on bytes is not supported.")
    if kind == "WordLevel":
        vocabulary = model["vocab"]
        if model["unk_token"] not in vocabulary:
            raise UnsupportedError("The unknown token is not in the vocabulary.")
        return {
            "kind": kind,
            "words": _words(vocabulary),
            "unknown_id": vocabulary[model["unk_token"]],
        }
    if kind == "WordPiece":
        return _wordpiece(model)
    if kind == "Unigram":
        return _unigram(model)
    raise UnsupportedError(f"The model {kind} is not supported.")


def _words(ids: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    return build_words(*_encoded(ids))


def _encoded(ids: Mapping[str, int]) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as UTF-8, without an empty one, and their ids."""
    if "" in ids:
        ids = {token: i for token, i in ids.items() if token}
    encoded = "\0".join(ids).encode().split(b"\0") if ids else []
    if len(encoded) != len(ids):  # a token contains the separator
        encoded = [token.encode() for token in ids]
    return encoded, np.fromiter(ids.values(), np.int32, len(ids))


def _wordpiece(model: Model) -> dict[str, Any]:
    vocabulary: dict[str, int] = model["vocab"]
    prefix, longest = model["continuing_subword_prefix"], model["max_input_chars_per_word"]
    if model["unk_token"] not in vocabulary:
        raise UnsupportedError("The unknown token is not in the vocabulary.")
    initial = {token: i for token, i in vocabulary.items() if len(token) <= longest}
    continuing = {
        token[len(prefix) :]: i for token, i in vocabulary.items() if token.startswith(prefix)
    }
    return {
        "kind": "WordPiece",
        "words": _words(initial),
        "initial": _trie(initial),
        "continuing": _trie(continuing),
        "unknown_id": vocabulary[model["unk_token"]],
        "max_characters": longest,
    }


def _trie(ids: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    encoded, values = _encoded(ids)
    return build_trie(encoded, None, values)


def _unigram(model: Model) -> dict[str, Any]:
    if model["unk_id"] is None or model.get("alpha") or model.get("nbest_size"):
        raise UnsupportedError("The options of the Unigram model are not supported.")
    # Of equal tokens, the last one counts.
    index = {token: i for i, (token, _) in enumerate(model["vocab"])}
    scores = np.array([score for _, score in model["vocab"]], dtype=np.float64)
    if not np.isfinite(scores).all():
        raise UnsupportedError("A score is not finite.")
    encoded, ids = _encoded(index)
    id_of_byte = np.empty(0, dtype=np.int32)
    if model["byte_fallback"]:
        id_of_byte = np.array([index.get(f"<0x{b:02X}>", -1) for b in range(256)], dtype=np.int32)
    tables = {
        "kind": "Unigram",
        "words": _words({}),
        "trie": build_trie(encoded, scores[ids], ids),
        "id_of_byte": id_of_byte,
        "unknown_id": model["unk_id"],
        "unknown_score": float(scores.min() - _UNKNOWN_PENALTY),
    }
    return tables | {"words": _single_tokens(tables, encoded, ids)}


def _single_tokens(
    tables: dict[str, Any], encoded: list[bytes], ids: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    """Make the table of strings that the model leaves whole."""
    is_single = single_tokens(tables, encoded, ids)
    kept = np.flatnonzero(is_single).tolist()
    return build_words([encoded[i] for i in kept], ids[kept])


def _bpe(model: Model, byte_level: bool) -> dict[str, Any]:
    if model.get("dropout"):
        raise UnsupportedError("The dropout of BPE is not supported.")
    vocabulary: dict[str, int] = model["vocab"]
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    ignores_merges = bool(model.get("ignore_merges"))
    unknown = model.get("unk_token")
    unknown_id = None if unknown is None else vocabulary.get(unknown)
    if unknown is not None and unknown_id is None:
        raise UnsupportedError("The unknown token is not in the vocabulary.")
    pairs = model["merges"]
    if pairs and isinstance(pairs[0], str):
        pairs = [tuple(merge.split(" ", 1)) for merge in pairs]
    try:
        merges = merge_ids(_words(vocabulary), pairs, len(prefix))
        table = build_merges(merges)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    # For the first symbol of a piece, for others, and for each of them if it is the last one.
    affixes = [("", ""), (prefix, ""), ("", suffix), (prefix, suffix)]
    places = [
        _symbols(model, before, after, byte_level)
        for before, after in affixes[: 4 if prefix or suffix else 1]
    ]
    tables = {
        "kind": "BPE",
        "words": _words({}),
        "merges": table,
        "places": places,
        "byte_level": byte_level,
        "unknown_id": unknown_id,
        "fuses_unknown": bool(model.get("fuse_unk")),
        "ranks": None,
        "joined": np.empty(0, dtype=np.uint64),
        "cuts": not (prefix or suffix),
        # Bytes that no UTF-8 contains may be missing.
        "cuts_at_unknown": bool((places[0]["id_of_byte"][_BYTES_OF_TEXT] >= 0).all()),
        "has_words_in_parts": not ignores_merges,
    }
    if tables["cuts"] and byte_level:
        tables |= _characters_of_bytes(vocabulary, merges, places[0])
    elif tables["cuts"]:
        first_of, last_of = _end_characters(vocabulary)
        tables["joined"] = _joined(last_of[merges[:, 0]], first_of[merges[:, 1]])
    whole = vocabulary
    if suffix:
        ends = [token for token in vocabulary if token.endswith(suffix)]
        whole = {token.removesuffix(suffix): vocabulary[token] for token in ends}
    if ignores_merges:
        words = build_words(*_strings(vocabulary, byte_level))
    else:
        words = _single_tokens(tables, *_strings(whole, byte_level))
    return tables | {"words": words}


def _symbols(model: Model, prefix: str, suffix: str, byte_level: bool) -> dict[str, Any]:
    """Return the symbols of characters, and of bytes, between a prefix and a suffix."""
    vocabulary: dict[str, int] = model["vocab"]
    id_of_byte = np.full(256, -1, dtype=np.int32)
    if byte_level:
        id_of_byte[:] = [vocabulary.get(f"{prefix}{c}{suffix}", -1) for c in _CHARACTER_OF_BYTE]
        if model.get("byte_fallback") and (id_of_byte < 0).any():
            raise UnsupportedError(
                "The bytes of a character that stands for a byte are not supported."
            )
        symbols = {b: int(i) for b, i in enumerate(id_of_byte[:128]) if i >= 0}
        return {"symbols": sparse(symbols, np.int32, _BYTES), "id_of_byte": id_of_byte}
    n = len(prefix) + len(suffix)
    symbols = {
        ord(token[len(prefix)]): vocabulary[token]
        for token in vocabulary
        if len(token) == n + 1 and token.startswith(prefix) and token.endswith(suffix)
    }
    default = _UNKNOWN
    if model.get("byte_fallback"):
        if n:
            raise UnsupportedError(
                "Bytes of a character with a prefix or a suffix are not supported."
            )
        id_of_byte[:] = [vocabulary.get(f"<0x{b:02X}>", -1) for b in range(256)]
        default = _BYTES
    return {"symbols": sparse(symbols, np.int32, default), "id_of_byte": id_of_byte}


def _strings(vocabulary: dict[str, int], byte_level: bool) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as they occur in a text, and their ids."""
    return _byte_strings(vocabulary) if byte_level else _encoded(vocabulary)


def _end_characters(vocabulary: dict[str, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first and the last character of the token with each id, 0 if it has none."""
    lengths = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    codes = np.frombuffer("".join(vocabulary).encode("utf-32-le"), dtype=np.uint32)
    ids = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))
    stops = np.cumsum(lengths)
    ends = np.zeros((2, ids.max(initial=0) + 1), dtype=np.uint32)
    some = lengths > 0
    ends[:, ids[some]] = codes[[(stops - lengths)[some], stops[some] - 1]]
    return ends[0], ends[1]


def _joined(last: NDArray[Any], first: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a bit for each pair of characters between which a merge joins two symbols."""
    codes = np.unique(last.astype(np.uint64) << np.uint64(32) | first.astype(np.uint64))
    last, first = codes >> np.uint64(32), codes & np.uint64(0xFFFFFFFF)
    n_bits = 1 << 16
    while n_bits < 16 * len(codes):
        n_bits *= 2
    bits = (last * np.uint64(0x9E3779B1) ^ first * np.uint64(0x85EBCA6B)) >> np.uint64(3)
    bits &= np.uint64(n_bits - 1)
    is_set = np.zeros(n_bits, dtype=np.uint8)
    is_set[bits] = 1
    return np.packbits(is_set, bitorder="little").view("<u8").astype(np.uint64)


def _characters_of_bytes(
    vocabulary: dict[str, int], merges: NDArray[np.int32], place: dict[str, Any]
) -> dict[str, Any]:
    """Find the characters whose bytes are merged before anything else, as bpe.hpp explains."""
    n_ids = 1 + max(vocabulary.values())
    strings: list[bytes] = [b""] * n_ids
    for string, i in zip(*_all_byte_strings(vocabulary), strict=True):
        strings[i] = string
    first_byte = np.array([string[0] if string else 0 for string in strings])
    last_byte = np.array([string[-1] if string else 0 for string in strings])
    firsts, lasts, whole = np.array([_ends(string) for string in strings], dtype=np.int64).T
    is_whole = whole.astype(bool)
    rank = np.arange(len(merges), dtype=np.int32)
    first, second, merged = merges.T
    # Merges across the boundary of two characters.
    across = (first_byte[second] & 0xC0) != 0x80
    in_part = across & ~(is_whole[first] & is_whole[second])
    boundary_ranks = np.full(1 << 16, _NO_RANK, dtype=np.int32)
    places = last_byte[first[in_part]] << 8 | first_byte[second[in_part]]
    np.minimum.at(boundary_ranks, places, rank[in_part])
    both = across & (lasts[first] >= 0) & (firsts[second] >= 0)
    # The first merge that uses each symbol.
    used = np.full(n_ids, _NO_RANK, dtype=np.int32)
    np.minimum.at(used, first, rank)
    np.minimum.at(used, second, rank)
    short = np.array([len(string) <= 3 and not string.isascii() for string in strings])
    chosen = np.flatnonzero(short[first] & short[second]).tolist()
    rank_of = {(int(first[i]), int(second[i])): (i, int(merged[i])) for i in chosen}
    ranks, characters = {}, {}
    for i in np.flatnonzero(is_whole & (firsts >= 0x80) & (firsts == lasts)).tolist():
        if len(strings[i]) != len(chr(firsts[i]).encode()):
            continue
        last_rank = _last_rank([vocabulary[_CHARACTER_OF_BYTE[b]] for b in strings[i]], i, rank_of)
        if last_rank is not None and used[i] > last_rank:
            ranks[int(firsts[i])], characters[int(firsts[i])] = last_rank, i
    ascii_symbols = {c: int(place["id_of_byte"][c]) for c in range(128)}
    return {
        "places": [place | {"symbols": sparse(ascii_symbols | characters, np.int32, _BYTES)}],
        "ranks": sparse(ranks, np.int32, -1),
        "boundary_ranks": boundary_ranks,
        "joined": _joined(lasts[first[both]], firsts[second[both]]),
    }


def _last_rank(
    word: list[int], whole: int, rank_of: dict[tuple[int, int], tuple[int, int]]
) -> int | None:
    """Return the highest rank of the merges by which symbols become one; None if they do not."""
    highest = -1
    while len(word) > 1:
        found = [(rank_of[pair], i) for i, pair in enumerate(pairwise(word)) if pair in rank_of]
        if not found:
            return None
        (rank, merged), i = min(found)
        word[i : i + 2] = [merged]
        highest = max(highest, rank)
    return highest if word == [whole] else None


def _ends(string: bytes) -> tuple[int, int, bool]:
    """Return the first and the last character, -1 for one that is not complete, and whether all
    characters are complete.
    """
    if string.isascii():
        return (string[0], string[-1], True) if string else (-1, -1, True)
    try:
        text = string.decode()
    except UnicodeDecodeError:
        pass
    else:
        return ord(text[0]), ord(text[-1]), True
    first = string.decode(errors="replace")[0]
    start = len(string) - 1
    while start > 0 and string[start] & 0xC0 == 0x80:
        start -= 1
    last = string[start:].decode(errors="replace")
    return (
        -1 if first == "\ufffd" else ord(first),
        ord(last) if len(last) == 1 and last != "\ufffd" else -1,
        False,
    )


def _byte_alphabet() -> str:
    """Return the character that stands for each byte, as in GPT-2."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return "".join(chr(b if b in visible else next(others)) for b in range(256))


_CHARACTER_OF_BYTE = _byte_alphabet()
_BYTE_OF_CHARACTER = np.full(0x200, -1, dtype=np.int16)
_BYTE_OF_CHARACTER[list(map(ord, _CHARACTER_OF_BYTE))] = np.arange(256)


def _byte_strings(vocabulary: dict[str, int]) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as bytes, without those that are not whole characters."""
    encoded, ids = _all_byte_strings(vocabulary)
    kept = [i for i, string in enumerate(encoded) if _is_utf8(string)]
    return [encoded[i] for i in kept], ids[kept]


def _all_byte_strings(vocabulary: dict[str, int]) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as bytes, without those that stand for none."""
    lengths = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    codes = np.frombuffer("".join(vocabulary).encode("utf-32-le"), dtype=np.uint32)
    values = _BYTE_OF_CHARACTER[np.minimum(codes, len(_BYTE_OF_CHARACTER) - 1)]
    content = values.astype(np.uint8).tobytes()
    stops = np.cumsum(lengths)
    n_foreign = np.concatenate([[0], np.cumsum(values < 0)])
    kept = (lengths > 0) & (n_foreign[stops] == n_foreign[stops - lengths])
    starts = (stops - lengths)[kept].tolist()
    encoded = [content[i:j] for i, j in zip(starts, stops[kept].tolist(), strict=True)]
    return encoded, np.fromiter(vocabulary.values(), np.int32, len(vocabulary))[kept]


def _is_utf8(string: bytes) -> bool:
    try:
        string.decode()
    except UnicodeDecodeError:
        return False
    return True
