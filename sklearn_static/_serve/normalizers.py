"""The normalizer of a tokenizer as the passes of the compiled engine."""

import base64
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from sklearn_static._serve.characters import (
    as_bytes,
    changes,
    component,
    is_asked,
    sparse,
    sparse_by_page,
    strings,
    table,
    white_space,
)
from sklearn_static._serve.patterns import UnsupportedError, compile_pattern

# Entries of the tables; as in normalizer.hpp.
_CONTEXTUAL, _SPACED = 0xFFFFFFFF, 0xFFFFFF00
_CHANGES, _BOUNDARY, _HANGUL = 1, 2, 0xFC
_JOINS, _PREPENDS, _CONTROL, _PICTURE = 1 << 8, 1 << 9, 1 << 10, 1 << 11
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_SYLLABLES = range(0xAC00, 0xAC00 + 11172)
# Syllables are composed of these and what is before them.
_JAMO = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
# Combining marks of the highest and the lowest class.
_HIGHEST, _LOWEST = "\u0345", "\u0334"

Step = dict[str, Any]
"""A normalizer as in tokenizer.json."""


def compile_normalizer(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Convert the steps of a normalizer to passes.

    Parameters
    ----------
    steps : sequence of dict
        The steps as in tokenizer.json, none of which is a sequence.

    Returns
    -------
    passes : list of dict
        The passes that the engine runs one after the other.

    Raises
    ------
    UnsupportedError
        If the engine has no equivalent of a step.
    """
    passes = []
    by_character: list[Step] = []
    for step in chain.from_iterable(map(_parts, steps)):
        if step["type"] in _MAPS or step["type"] in _FORMS:
            by_character.append(step)
            continue
        passes += _passes_by_character(by_character)
        by_character = []
        passes += _other_pass(step)
    return passes + _passes_by_character(by_character)


# Steps that treat each character by itself.
_MAPS = {"Lowercase", "StripAccents", "Nmt", "BertNormalizer", "Character", "Marks"}


def _parts(step: Step) -> list[Step]:
    """Divide a step into steps that treat characters one by one, and others."""
    if step["type"] == "BertNormalizer":
        strips = step["strip_accents"]
        strips = step["lowercase"] if strips is None else strips
        plain = step | {"strip_accents": False}
        if not strips:
            return [plain]
        cleaned = plain | {"lowercase": False}
        lower = [{"type": "Lowercase"}] if step["lowercase"] else []
        return [cleaned, {"type": "NFD"}, {"type": "Marks"}, *lower]
    character = step["pattern"].get("String", "") if step["type"] == "Replace" else ""
    if len(character) == 1 and is_asked(ord(character)):
        return [step | {"type": "Character"}]
    return [step]


# BERT decomposes a text and removes its marks.
_STRIP = {
    "type": "BertNormalizer",
    "clean_text": False,
    "handle_chinese_chars": False,
    "strip_accents": True,
    "lowercase": False,
}


def _original(steps: Sequence[Step]) -> Step:
    """Return the normalizer of the original library for a sequence of steps."""
    originals: list[Step] = []
    for step in steps:
        if step["type"] == "Character":
            originals.append(step | {"type": "Replace"})
        elif step["type"] == "Marks":
            originals[-1] = _STRIP  # in place of NFD
        else:
            originals.append(step)
    if len(originals) == 1:
        return originals[0]
    return {"type": "Sequence", "normalizers": originals}


def _map(step: Step) -> Mapping[int, str]:
    """Return what a step makes of each character that it changes."""
    if step["type"] == "Character":
        return {ord(step["pattern"]["String"]): step["content"]}
    if step["type"] == "Marks":
        # Of a text that is decomposed, only marks change.
        whole = changes({"type": "NFD"})
        stripped = changes(_STRIP).items()
        return {code: "" for code, value in stripped if not value and code not in whole}
    return changes(step)


def _passes_by_character(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Merge steps that treat characters one by one."""
    passes: list[dict[str, Any]] = []
    merged: Mapping[int, str] = {}
    for step in steps:
        if step["type"] in _FORMS:
            passes += [_map_pass(merged)] if merged else []
            merged = {}
            passes.append(_canonical_pass(step["type"]))
        else:
            merged = _then(merged, _map(step)) if merged else _map(step)
    passes += [_map_pass(merged)] if merged else []
    kinds = [step["type"] for step in steps]
    forms = [kind for kind in kinds if kind in _FORMS]
    if forms in (["NFD"], ["NFKD"]):
        place = kinds.index(forms[0])
        return [_fused_pass(steps[:place], forms[0], steps[place + 1 :], passes)]
    return passes


def _then(first: Mapping[int, str], second: Mapping[int, str]) -> dict[int, str]:
    """Apply one map of characters after another."""
    both = dict(second)
    for code, value in first.items():
        both[code] = "".join(second.get(ord(c), c) for c in value)
    return {code: value for code, value in both.items() if value != chr(code)}


def _map_pass(values: Mapping[int, str], contextual: Iterable[int] = ()) -> dict[str, Any]:
    spaced = {
        code for code, value in values.items() if len(value) == 3 and value == f" {chr(code)} "
    }
    others = {code: value for code, value in values.items() if code not in spaced}
    try:
        entries, joined = strings(others, 8)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    entries |= dict.fromkeys(spaced, _SPACED)
    entries |= dict.fromkeys(contextual, _CONTEXTUAL)
    return {"kind": "map", "entries": sparse_by_page(entries, np.uint32), "bytes": joined}


def _fused_pass(
    before: Sequence[Step], form: str, after: Sequence[Step], slow: list[dict[str, Any]]
) -> dict[str, Any]:
    """Decompose in one pass with the maps before and after, where marks need no order."""
    # Marks of which something is left must be put into order.
    ordered = set()
    maps = list(map(_map, after))
    for code in _combining_classes():
        left = chr(code)
        for values in maps:
            left = "".join(values.get(ord(c), c) for c in left)
        ordered |= {code} if left else set()
    decomposed = _decompositions(form).items()
    contextual = ordered | {code for code, whole in decomposed if not ordered.isdisjoint(whole)}
    if before:
        first = changes(_original(before))
        contextual = {code for code in contextual if code not in first} | {
            code for code, value in first.items() if not contextual.isdisjoint(map(ord, value))
        }
    fast = changes(_original([*before, {"type": form}, *after]))
    return {"kind": "fused", "fast": _map_pass(fast, contextual), "slow": slow}


@cache
def _decompositions(form: str) -> dict[int, tuple[int, ...]]:
    """Return the decomposition of each character that has one."""
    kind = "NFKD" if "K" in form else "NFD"
    return {code: tuple(map(ord, value)) for code, value in changes({"type": kind}).items()}


@cache
def _combining_classes() -> dict[int, int]:
    """Return the combining class of each mark whose class is not 0.

    Classes never change once a character is assigned, but the library may know fewer characters
    than Python: it is asked whether it reorders a mark.
    """
    normalize = component({"type": "NFD"}).normalizer.normalize_str
    classes = {}
    for code in range(0x300, 0x1F000):
        mark = chr(code)
        value = unicodedata.combining(mark)
        if not value:
            continue
        moves = [
            normalize(text) != "".join(map(normalize, text))
            for text in (_HIGHEST + mark, mark + _LOWEST)
        ]
        if any(moves) or mark in (_HIGHEST, _LOWEST):
            classes[code] = value
    return classes


@cache
def _canonical_pass(form: str) -> dict[str, Any]:
    composes = form in ("NFC", "NFKC")
    decomposed, classes = _decompositions(form), _combining_classes()
    pairs = _pairs() if composes else {}
    normalized = changes({"type": form})
    seconds = {second for _, second in pairs} | (_JAMO if composes else set())
    entries: dict[int, int] = {}
    joined: list[int] = []
    for code in sorted({*decomposed, *classes, *seconds}):
        whole = decomposed.get(code, (code,))
        is_boundary = whole[0] not in classes and whole[0] not in seconds
        if code in _SYLLABLES:
            if not composes:
                entries[code] = _HANGUL | _CHANGES | _BOUNDARY
            continue
        n = len(whole) if code in decomposed else 0
        if n > 62:
            raise UnsupportedError("A decomposition is too long.")
        entries[code] = len(joined) << 8 | n << 2 | (_BOUNDARY if is_boundary else 0)
        # Others are decomposed only if they may be composed with what follows.
        if code in normalized or not is_boundary:
            entries[code] |= _CHANGES
        joined += whole if n else ()
    keys = sorted(pairs)
    return {
        "kind": "canonical",
        "entries": sparse(entries, np.uint32),
        "combining_classes": sparse(classes, np.uint8),
        "decompositions": np.array(joined, dtype=np.uint32),
        "pairs": np.array([first << 32 | second for first, second in keys], dtype=np.uint64),
        "composed": np.array([pairs[key] for key in keys], dtype=np.uint32),
        "composes": composes,
    }


@cache
def _pairs() -> dict[tuple[int, int], int]:
    """Return the pairs of characters that are composed, without those of Hangul."""
    compose = component({"type": "NFC"}).normalizer.normalize_str
    pairs = {}
    for code, whole in _decompositions("NFD").items():
        if code in _SYLLABLES or len(whole) < 2 or compose(chr(code)) != chr(code):
            continue
        first = compose("".join(map(chr, whole[:-1])))
        if len(first) != 1:
            raise UnsupportedError("A composition has more than two parts.")
        pairs[ord(first), whole[-1]] = code
    return pairs


def _other_pass(step: Step) -> list[dict[str, Any]]:
    kind = step["type"]
    if kind == "Replace":
        pattern = step["pattern"].get("Regex")
        if pattern is None:
            pattern = re.escape(step["pattern"]["String"])
        return [
            {
                "kind": "replace",
                "pattern": compile_pattern(pattern),
                "content": as_bytes(step["content"].encode()),
            }
        ]
    if kind == "Strip":
        return [
            {
                "kind": "strip",
                "is_white": table(white_space().astype(np.uint8)),
                "left": step["strip_left"],
                "right": step["strip_right"],
            }
        ]
    if kind == "Prepend":
        return [{"kind": "prepend", "content": as_bytes(step["prepend"].encode())}]
    if kind == "Precompiled":
        charsmap = step["precompiled_charsmap"]
        return [_charsmap_pass(charsmap)] if charsmap else []
    raise UnsupportedError(f"The normalizer {kind} is not supported.")


@cache
def _charsmap_pass(charsmap: str) -> dict[str, Any]:
    content = base64.b64decode(charsmap)
    size = int.from_bytes(content[:4], "little")
    if len(content) < 4 + size or size % 4 or not size:
        raise UnsupportedError("The precompiled map of characters is damaged.")
    try:
        entries, joined = strings(
            changes({"type": "Precompiled", "precompiled_charsmap": charsmap}), 12
        )
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    for flag, codes in _cluster_flags().items():
        for code in codes:
            entries[code] = entries.get(code, 0) | flag
    return {
        "kind": "charsmap",
        "entries": sparse_by_page(entries, np.uint32),
        "bytes": joined,
        "units": np.frombuffer(content[4 : 4 + size], dtype="<u4").astype(np.uint32),
        # Strings end with a zero.
        "strings": as_bytes(content[4 + size :] + b"\0"),
    }


@cache
def _cluster_flags() -> dict[int, list[int]]:
    """Find the characters that matter to grapheme clusters of less than six bytes.

    A map of one character shows clusters: of a short cluster that begins with it, the rest is lost.
    """
    codes = [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000)]
    codes.remove(ord("\n"))

    def ask(mapped: str, before: str, after: str) -> list[str]:
        normalizer = {"type": "Precompiled", "precompiled_charsmap": _map_of(mapped)}
        text = "\n".join(f"{before}{chr(code)}{after}" for code in codes)
        results: list[str] = component(normalizer).normalizer.normalize_str(text).split("\n")
        if len(results) != len(codes):
            raise UnsupportedError("Grapheme clusters cannot be found out.")
        return results

    def chosen(results: list[str], expected: str) -> list[int]:
        pairs = zip(codes, results, strict=True)
        return [code for code, result in pairs if result == expected.format(chr(code))]

    joins = chosen(ask("a", "a", ""), "X")
    prepends = chosen(ask("a", "", "a\u0301"), "{}X\u0301")
    pictures = chosen(ask("\xa9", "\xa9\u200d", ""), "X\u200d{}")
    controls = [
        code
        for code in range(0x10000)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp"} or code in _IGNORABLE
    ]
    return {
        _JOINS: joins,
        _PREPENDS: prepends,
        _CONTROL: sorted({*controls} - {*joins, *prepends}),
        _PICTURE: pictures,
    }


# Unassigned code points that end a cluster, as controls do.
_IGNORABLE = {0x2065, *range(0xFFF0, 0xFFF9)}


def _map_of(character: str) -> str:
    """Return a precompiled map that replaces one character by "X"."""
    # Unit 0 is the root. A child is at its parent's offset ^ its byte; after the last byte, the
    # unit at the offset has the value.
    units = np.zeros(256 * (len(character.encode()) + 2), dtype=np.uint32)
    place, block = 0, 256
    units[0] = block << 10
    for byte in character.encode():
        place = block ^ byte
        block += 256
        units[place] = (place ^ block) << 10 | byte
    units[place] |= 1 << 8
    units[block] = 1 << 31
    content = units.astype("<u4").tobytes()
    return base64.b64encode(len(content).to_bytes(4, "little") + content + b"X\0").decode()
