"""Tables over all of Unicode, with what the original tokenizer's library says of characters.

Versions of Unicode differ between libraries, so the library that the tokenizer runs on is asked.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

Table = dict[str, NDArray[Any]]
"""A value for each code point: `index`, the page of each 256 code points, and `pages`."""

N_CODE_POINTS = 0x110000
# Characters that are asked one by one. Above them are unassigned and private code points only;
# there, the first of each page of 256 stands for all, except noncharacters.
_UNASSIGNED, _TAGS = 0x34000, range(0xE0000, 0xE1000)
_ASKED = np.array(
    sorted(
        {*range(0xD800), *range(0xE000, _UNASSIGNED), *_TAGS}
        | set(range(_UNASSIGNED, N_CODE_POINTS, 256))
        | {plane << 16 | last for plane in range(3, 17) for last in (0xFFFE, 0xFFFF)}
    )
)
# Which of these stands for each code point. Surrogates cannot occur in a document.
_PLACES = np.searchsorted(_ASKED, np.arange(N_CODE_POINTS), side="right") - 1
# Characters are asked in blocks, of which most are not changed.
_BLOCK = 512
# Results with more characters are remembered for one tokenizer only.
_MANY = 50_000
# No character is normalized to something with one of these.
_SEPARATORS = "\u2020\u2e38\u10fb"


def table(values: NDArray[Any]) -> Table:
    """Compress a value for each code point.

    Parameters
    ----------
    values : ndarray of shape (N_CODE_POINTS,)
        The values.

    Returns
    -------
    table : dict of str to ndarray
        The table; its first page is that of the first code points.
    """
    pages: dict[bytes, int] = {}
    index = [pages.setdefault(page.tobytes(), len(pages)) for page in values.reshape(-1, 256)]
    flat = np.frombuffer(b"".join(pages), dtype=values.dtype)
    return {"index": np.array(index, dtype=np.uint16), "pages": flat}


def sparse(values: Mapping[int, int], dtype: Any, default: int = 0) -> Table:
    """Make a table in which most code points have the same value.

    Parameters
    ----------
    values : mapping of int to int
        The values of some code points.
    dtype : dtype
        The type of the values.
    default : int, default=0
        The value of all other code points.

    Returns
    -------
    table : dict of str to ndarray
        The table.
    """
    full = np.full(N_CODE_POINTS, default, dtype=dtype)
    codes = np.fromiter(values.keys(), np.int64, len(values))
    full[codes] = np.fromiter(values.values(), dtype, len(values))
    return table(full)


def sparse_by_page(values: Mapping[int, int], dtype: Any) -> Table:
    """Make a table likewise, in which a character that stands for its page has the page's value.

    Parameters
    ----------
    values : mapping of int to int
        The values of some of the characters that are asked one by one.
    dtype : dtype
        The type of the values.

    Returns
    -------
    table : dict of str to ndarray
        The table.
    """
    asked = np.zeros(len(_ASKED), dtype=dtype)
    codes = np.fromiter(values.keys(), np.int64, len(values))
    asked[np.searchsorted(_ASKED, codes)] = np.fromiter(values.values(), dtype, len(values))
    return table(asked[_PLACES])


def is_asked(code: int) -> bool:
    """Return whether a character is asked one by one and stands for itself alone.

    Parameters
    ----------
    code : int
        Its code point.

    Returns
    -------
    is_asked : bool
        False if it may stand for its page, or another for it.
    """
    return code < _UNASSIGNED or code in _TAGS


@cache
def characters() -> str:
    """Return the characters that are asked one by one, in their order."""
    return "".join(map(chr, _ASKED.tolist()))


@cache
def members(pattern: str) -> NDArray[np.bool_]:
    """Ask which characters a regular expression matches.

    Parameters
    ----------
    pattern : str
        A regular expression for one character, in the syntax of the tokenizers library. If it
        matches a string of several ones that are adjacent code points, they count as members.

    Returns
    -------
    members : ndarray of bool, shape (N_CODE_POINTS,)
        Whether each code point is matched.
    """
    # Runs of members are removed, which is faster than to mark each of them.
    removed = normalizers.Replace(Regex(f"(?:{pattern})+"), "").normalize_str(characters())
    is_member = np.ones(N_CODE_POINTS, dtype=bool)
    is_member[np.frombuffer(removed.encode("utf-32-le"), dtype=np.uint32)] = False
    by_representative: NDArray[np.bool_] = is_member[_ASKED][_PLACES]
    return by_representative


@cache
def categories() -> NDArray[np.str_]:
    """Return Python's general category of each code point."""
    return np.array([unicodedata.category(c) for c in characters()])[_PLACES]


def _split_by(split: Any) -> NDArray[np.bool_]:
    """Ask which characters a splitter removes, by halves of texts that it removes in part."""
    text = characters()
    removed = np.zeros(len(text), dtype=bool)
    # No version of Unicode has anything but letters in the blocks that are left out.
    parts = [
        (start, min(start + _BLOCK, stop))
        for first, stop in _runs(~_is_in(_IDEOGRAPHS))
        for start in range(first, stop, _BLOCK)
    ]
    while parts:
        start, stop = parts.pop()
        left = split.pre_tokenize_str(text[start:stop])
        if not left:
            removed[start:stop] = True
        elif left[0][1] != (0, stop - start):
            middle = (start + stop) // 2
            parts += [(start, middle), (middle, stop)]
    return removed[_PLACES]


_IDEOGRAPHS = (range(0x3400, 0xA000), range(0xAC00, 0xD7A4), range(0x20000, 0x2A6D7))


def _is_in(ranges: Iterable[range]) -> NDArray[np.bool_]:
    is_in = np.zeros(N_CODE_POINTS, dtype=bool)
    for part in ranges:
        is_in[part.start : part.stop] = True
    return is_in


def _runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where runs of chosen characters begin and end in `characters`."""
    edges = np.flatnonzero(np.diff(chosen[_ASKED], prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@cache
def white_space() -> NDArray[np.bool_]:
    """Return which code points are white space for the splitters that are no patterns."""
    return _split_by(pre_tokenizers.WhitespaceSplit())


@cache
def punctuation() -> NDArray[np.bool_]:
    """Return which code points are punctuation for BERT."""
    return _split_by(pre_tokenizers.Punctuation("removed"))


@cache
def numbers() -> NDArray[np.bool_]:
    """Return which code points are numbers for the splitter of digits."""
    # Between digits, which are numbers of course, a run of numbers is one piece.
    split = pre_tokenizers.Digits(individual_digits=False)
    return _asked_by_runs(
        members(r"\p{N}") | np.char.startswith(categories(), "N"),
        lambda text: len(split.pre_tokenize_str(f"0{text}0")) == 1,
    )


@cache
def word_characters() -> NDArray[np.bool_]:
    r"""Return which code points are part of a word (\w) for the Whitespace splitter."""
    split = pre_tokenizers.Whitespace()
    candidates = members(r"\w") | np.char.startswith(categories(), "M")
    candidates |= np.array([c.isalnum() for c in characters()])[_PLACES]
    candidates[[0x200C, 0x200D]] = True
    return _asked_by_runs(candidates, lambda text: len(split.pre_tokenize_str(f"a{text}a")) == 1)


def _asked_by_runs(candidates: NDArray[np.bool_], ask: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Ask, run by run, which candidates are in a set.

    `ask` says whether all characters of a text are in the set.
    """
    text = characters()
    result = np.zeros(len(text), dtype=bool)
    runs = _runs(candidates)
    while runs:
        start, stop = runs.pop()
        if ask(text[start:stop]):
            result[start:stop] = True
        elif stop - start > 1:
            middle = (start + stop) // 2
            runs += [(start, middle), (middle, stop)]
    return result[_PLACES]


def component(normalizer: Any = None, pre_tokenizer: Any = None) -> Tokenizer:
    """Make a tokenizer of two components, to ask them about characters.

    Parameters
    ----------
    normalizer : dict or None, default=None
        The normalizer as in tokenizer.json.
    pre_tokenizer : dict or None, default=None
        Likewise.

    Returns
    -------
    tokenizer : tokenizers.Tokenizer
        A tokenizer with an empty model.
    """
    state = json.loads(Tokenizer(models.BPE()).to_str())
    return Tokenizer.from_str(
        json.dumps(state | {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer})
    )


def changes(normalizer: Any) -> Mapping[int, str]:
    """Ask how a normalizer changes each character alone.

    Parameters
    ----------
    normalizer : dict
        The normalizer as in tokenizer.json, which treats the characters of this text one by one.

    Returns
    -------
    changes : mapping of int to str
        What each of the code points that are asked becomes, if it is changed.

    Raises
    ------
    ValueError
        If that cannot be found out.
    """
    key = json.dumps(normalizer)
    if key not in _known_changes:
        _known_changes[key] = _changes(normalizer)
    return _known_changes[key]


_known_changes: dict[str, Mapping[int, str]] = {}


def forget_large_changes() -> None:
    """Free the results of `changes` that take megabytes: those with all ideographs."""
    for key in [key for key, changed in _known_changes.items() if len(changed) > _MANY]:
        del _known_changes[key]


def _changes(normalizer: Any) -> Mapping[int, str]:
    normalize = component(normalizer).normalizer.normalize_str
    changed: dict[int, str] = {}
    text = characters()
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        if normalize(block) != block:
            changed |= _changes_of_block(normalize, block)
    return changed


def _changes_of_block(normalize: Callable[[str], str], block: str) -> dict[int, str]:
    for separator in _SEPARATORS:
        if separator in block or normalize(separator) != separator:
            continue
        # Separators at both ends, since the ends of a text may be special.
        text = separator.join(["", *block, ""])
        after = normalize(text).split(separator)[1:-1]
        if len(after) == len(block):
            pairs = zip(block, after, strict=True)
            return {ord(before): value for before, value in pairs if value != before}
    raise ValueError("The normalizer does not treat characters one by one.")


def strings(values: Mapping[int, str], shift: int) -> tuple[dict[int, int], NDArray[np.uint8]]:
    """Store strings one after the other.

    Parameters
    ----------
    values : mapping of int to str
        The string of some code points.
    shift : int
        Where the offset of a string begins in an entry, whose low byte is 1 + its size.

    Returns
    -------
    entries : dict of int to int
        The entry of each of these code points.
    bytes : ndarray of uint8
        The strings.

    Raises
    ------
    ValueError
        If a string is too long for an entry.
    """
    joined = bytearray()
    places: dict[str, int] = {}
    entries = {}
    for code, value in values.items():
        encoded = value.encode()
        if len(encoded) > 254:
            raise ValueError("A replacement is too long.")
        if value not in places:
            places[value] = len(joined)
            joined += encoded
        entries[code] = places[value] << shift | (len(encoded) + 1)
    return entries, as_bytes(bytes(joined))


def as_bytes(content: bytes) -> NDArray[np.uint8]:
    """Copy bytes into an array.

    Parameters
    ----------
    content : bytes
        The bytes.

    Returns
    -------
    array : ndarray of uint8
        The array.
    """
    return np.frombuffer(content, dtype=np.uint8).copy()


def classes_of(sets: Iterable[NDArray[np.bool_]]) -> tuple[Table, NDArray[np.bool_]]:
    """Partition the code points by the sets that they are in.

    Parameters
    ----------
    sets : iterable of ndarray of bool, shape (N_CODE_POINTS,)
        At most 62 sets.

    Returns
    -------
    classes : dict of str to ndarray
        The class of each code point.
    members : ndarray of bool, shape (n_classes, n_sets)
        Which sets the members of each class are in.

    Raises
    ------
    ValueError
        If there are too many classes.
    """
    all_sets = list(sets)
    signatures = np.zeros(len(_ASKED), dtype=np.int64)
    for i, members_of_set in enumerate(all_sets):
        signatures |= members_of_set[_ASKED].astype(np.int64) << i
    distinct, classes = np.unique(signatures, return_inverse=True)
    if len(distinct) > 254 or len(all_sets) > 62:
        raise ValueError("A pattern has too many classes of characters.")
    bits = distinct[:, None] >> np.arange(len(all_sets)) & 1
    return table(classes.astype(np.uint8)[_PLACES]), bits.astype(bool)
