"""The model of a tokenizer as the tables of the compiled engine."""

from collections.abc import Iterable, Sequence
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.characters import sparse
from sklearn_static._serve.engine import build_merges, build_trie, build_words, single_tokens
from sklearn_static._serve.patterns import Unsupported

# As in bpe.hpp.
_BYTES, _UNKNOWN = -1, -2
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
    Unsupported
        If the engine has no equivalent of the model.
    """
    kind = model["type"]
    if kind == "BPE":
        return _bpe(model, byte_level)
    if byte_level:
        raise Unsupported(f"The model {kind} on bytes is not supported.")
    if kind == "WordLevel":
        vocabulary = model["vocab"]
        if model["unk_token"] not in vocabulary:
            raise Unsupported("The unknown token is not in the vocabulary.")
        return {
            "kind": kind,
            "words": _words(vocabulary.items()),
            "unknown_id": vocabulary[model["unk_token"]],
        }
    if kind == "WordPiece":
        return _wordpiece(model)
    if kind == "Unigram":
        return _unigram(model)
    raise Unsupported(f"The model {kind} is not supported.")


def _words(tokens: Iterable[tuple[str, int]]) -> dict[str, NDArray[Any]]:
    pairs = [(token.encode(), number) for token, number in tokens if token]
    return _words_of_bytes(pairs)


def _words_of_bytes(pairs: Sequence[tuple[bytes, int]]) -> dict[str, NDArray[Any]]:
    values = np.fromiter((number for _, number in pairs), np.int32, len(pairs))
    return build_words([string for string, _ in pairs], values)


def _wordpiece(model: Model) -> dict[str, Any]:
    vocabulary: dict[str, int] = model["vocab"]
    prefix, longest = model["continuing_subword_prefix"], model["max_input_chars_per_word"]
    if model["unk_token"] not in vocabulary:
        raise Unsupported("The unknown token is not in the vocabulary.")
    initial = {token: i for token, i in vocabulary.items() if len(token) <= longest}
    continuing = {
        token[len(prefix) :]: i for token, i in vocabulary.items() if token.startswith(prefix)
    }
    return {
        "kind": "WordPiece",
        "words": _words(initial.items()),
        "continuing": _words(continuing.items()),
        "longest_initial": _longest(initial),
        "longest_continuing": _longest(continuing),
        "unknown_id": vocabulary[model["unk_token"]],
        "max_characters": longest,
    }


def _longest(tokens: Iterable[str]) -> NDArray[np.uint8]:
    """Return the size of the longest token that begins with each byte; 255 for any size."""
    longest = np.zeros(256, dtype=np.uint8)
    for token in map(str.encode, filter(None, tokens)):
        longest[token[0]] = max(longest[token[0]], min(len(token), 255))
    return longest


def _unigram(model: Model) -> dict[str, Any]:
    if model["unk_id"] is None or model.get("alpha") or model.get("nbest_size"):
        raise Unsupported("The options of the Unigram model are not supported.")
    # Of equal tokens, the last one counts.
    index = {token: i for i, (token, _) in enumerate(model["vocab"])}
    scores = np.array([score for _, score in model["vocab"]], dtype=np.float64)
    if not np.isfinite(scores).all():
        raise Unsupported("A score is not finite.")
    tokens = [token for token in index if token]
    ids = np.array([index[token] for token in tokens], dtype=np.int32)
    encoded = [token.encode() for token in tokens]
    id_of_byte = np.empty(0, dtype=np.int32)
    if model["byte_fallback"]:
        id_of_byte = np.array([index.get(f"<0x{b:02X}>", -1) for b in range(256)], dtype=np.int32)
    tables = {
        "kind": "Unigram",
        "words": _words([]),
        "trie": build_trie(encoded, scores[ids], ids),
        "id_of_byte": id_of_byte,
        "unknown_id": model["unk_id"],
        "unknown_score": float(scores.min() - _UNKNOWN_PENALTY),
    }
    return tables | {"words": _single_tokens(tables, encoded, ids)}


def _single_tokens(
    tables: dict[str, Any], encoded: Sequence[bytes], ids: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    """Make the table of strings that the model leaves whole."""
    is_single = single_tokens(tables, encoded, ids)
    kept = np.flatnonzero(is_single).tolist()
    return build_words([encoded[i] for i in kept], ids[kept])


def _bpe(model: Model, byte_level: bool) -> dict[str, Any]:
    if model.get("dropout"):
        raise Unsupported("The dropout of BPE is not supported.")
    vocabulary: dict[str, int] = model["vocab"]
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    ignores_merges = bool(model.get("ignore_merges"))
    unknown = model.get("unk_token")
    unknown_id = None if unknown is None else vocabulary.get(unknown)
    if unknown is not None and unknown_id is None:
        raise Unsupported("The unknown token is not in the vocabulary.")
    pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
    rests = [second[len(prefix) :] for second in seconds] if prefix else seconds
    merges = np.empty((len(pairs), 3), dtype=np.int32)
    for column, tokens in enumerate((firsts, seconds, map(add, firsts, rests))):
        merges[:, column] = np.fromiter(map(vocabulary.__getitem__, tokens), np.int32, len(pairs))
    # For the first symbol of a piece, for others, and for each of them if it is the last one.
    affixes = [("", ""), (prefix, ""), ("", suffix), (prefix, suffix)]
    places = [
        _symbols(model, before, after, byte_level)
        for before, after in affixes[: 4 if prefix or suffix else 1]
    ]
    cuts = not (byte_level or ignores_merges or prefix or suffix)
    tables = {
        "kind": "BPE",
        "words": _words([]),
        "merges": build_merges(merges),
        "places": places,
        "byte_level": byte_level,
        "unknown_id": unknown_id,
        "fuses_unknown": bool(model.get("fuse_unk")),
        "joined": _joined_characters(firsts, seconds) if cuts else np.empty(0, dtype=np.uint64),
        "cuts": cuts,
        # Bytes that no UTF-8 contains may be missing.
        "cuts_at_unknown": bool(
            (places[0]["id_of_byte"][[*range(0xC0), *range(0xC2, 0xF5)]] >= 0).all()
        ),
    }
    if ignores_merges:
        return tables | {"words": build_words(*_strings(vocabulary, byte_level))}
    if suffix:
        whole = {
            token.removesuffix(suffix): i
            for token, i in vocabulary.items()
            if token.endswith(suffix)
        }
        return tables | {"words": _single_tokens(tables, *_strings(whole, byte_level))}
    return tables | {"words": _single_tokens(tables, *_strings(vocabulary, byte_level))}


def _symbols(model: Model, prefix: str, suffix: str, byte_level: bool) -> dict[str, Any]:
    """Return the symbols of characters, and of bytes, between a prefix and a suffix."""
    vocabulary: dict[str, int] = model["vocab"]
    id_of_byte = np.full(256, -1, dtype=np.int32)
    if byte_level:
        id_of_byte[:] = [vocabulary.get(f"{prefix}{c}{suffix}", -1) for c in _CHARACTER_OF_BYTE]
        symbols = {b: int(i) for b, i in enumerate(id_of_byte[:128]) if i >= 0}
        return {"symbols": sparse(symbols, np.int32, _BYTES), "id_of_byte": id_of_byte}
    n = len(prefix) + len(suffix)
    symbols = {
        ord(token[len(prefix)]): i
        for token, i in vocabulary.items()
        if len(token) == n + 1 and token.startswith(prefix) and token.endswith(suffix)
    }
    default = _UNKNOWN
    if model.get("byte_fallback"):
        if n:
            raise Unsupported("Bytes of a character with a prefix or a suffix are not supported.")
        id_of_byte[:] = [vocabulary.get(f"<0x{b:02X}>", -1) for b in range(256)]
        default = _BYTES
    return {"symbols": sparse(symbols, np.int32, default), "id_of_byte": id_of_byte}


def _strings(vocabulary: dict[str, int], byte_level: bool) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as they occur in a text, and their ids."""
    if byte_level:
        return _byte_strings(vocabulary)
    encoded = [token.encode() for token in vocabulary if token]
    return encoded, np.fromiter(
        (i for token, i in vocabulary.items() if token), np.int32, len(encoded)
    )


def _joined_characters(firsts: Sequence[str], seconds: Sequence[str]) -> NDArray[np.uint64]:
    """Return a bit for each pair of characters between which a merge joins two symbols."""
    joined = set(zip([a[-1] for a in firsts], [b[0] for b in seconds], strict=True))
    codes = np.array([(ord(x), ord(y)) for x, y in joined], dtype=np.uint64).reshape(-1, 2)
    n_bits = 1 << 16
    while n_bits < 16 * len(codes):
        n_bits *= 2
    first, second = codes.T
    bits = (first * np.uint64(0x9E3779B1) ^ second * np.uint64(0x85EBCA6B)) >> np.uint64(3)
    bits &= np.uint64(n_bits - 1)
    is_set = np.zeros(n_bits, dtype=np.uint8)
    is_set[bits] = 1
    return np.packbits(is_set, bitorder="little").view("<u8").astype(np.uint64)


def _characters_of_bytes() -> str:
    """Return the character that stands for each byte, as in GPT-2."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return "".join(chr(b if b in visible else next(others)) for b in range(256))


_CHARACTER_OF_BYTE = _characters_of_bytes()
_BYTE_OF_CHARACTER = np.full(0x200, -1, dtype=np.int16)
_BYTE_OF_CHARACTER[list(map(ord, _CHARACTER_OF_BYTE))] = np.arange(256)


def _byte_strings(vocabulary: dict[str, int]) -> tuple[list[bytes], NDArray[np.int32]]:
    """Return the tokens as bytes, without those that are not whole characters."""
    lengths = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    codes = np.frombuffer("".join(vocabulary).encode("utf-32-le"), dtype=np.uint32)
    values = _BYTE_OF_CHARACTER[np.minimum(codes, 0x1FF)]
    content = values.astype(np.uint8).tobytes()
    stops = np.cumsum(lengths)
    n_foreign = np.concatenate([[0], np.cumsum(values < 0)])
    is_foreign = n_foreign[stops] > n_foreign[stops - lengths]
    encoded, ids = [], []
    for start, stop, i, foreign in zip(
        (stops - lengths).tolist(), stops.tolist(), vocabulary.values(), is_foreign, strict=True
    ):
        string = content[start:stop]
        if string and not foreign and _is_utf8(string):
            encoded.append(string)
            ids.append(i)
    return encoded, np.array(ids, dtype=np.int32)


def _is_utf8(string: bytes) -> bool:
    try:
        string.decode()
    except UnicodeDecodeError:
        return False
    return True
