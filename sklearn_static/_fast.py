"""The compiled engine: the same features as the portable one, several times faster.

Needs numba. The kernels release the GIL and start no threads of their own: numba's thread pools
abort the process when two Python threads use them or after a fork.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from sklearn_static import _bigrams

if TYPE_CHECKING:
    from sklearn_static._pieces import PieceIndex
    from sklearn_static._table import StaticTable

_FREE = _bigrams.EMPTY
_MULTIPLIER = _bigrams.MULTIPLIER

# FNV-1a.
_SEED = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_EMPTY = np.int32(-1)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder to keep the machine code in
        return numba.njit(nogil=True)(function)


def features(
    table: "StaticTable",
    index: "PieceIndex",
    documents: Sequence[str],
    max_length: int | None,
    unit_length: bool,
    out: NDArray[np.float32],
) -> bool:
    """Pool the vectors of each document's tokens and bigrams.

    Parameters
    ----------
    table : StaticTable
        The vectors.
    index : PieceIndex
        From texts to rows.
    documents : sequence of str of length n_documents
        The texts.
    max_length : int or None
        How many tokens of a text to read; None reads all.
    unit_length : bool
        Whether to scale the sum of the vectors to unit length, or to divide it by the number of
        tokens.
    out : ndarray of float32, shape (n_documents, n_components)
        Where the features go.

    Returns
    -------
    done : bool
        False where tokenizing whole texts is cheaper; `out` is then left as it was.
    """
    fast = _copies.get(index)
    if fast is None or fast.missed > fast.n_pieces:
        fast = _copies[index] = FastIndex(index)
    numbers, offsets, missing = fast.find(documents)
    fast.missed += len(missing)
    resolved = index.resolve(missing, len(numbers))
    if resolved is None:
        return False
    found, starts, rows = resolved
    if missing:
        numbers[numbers == _EMPTY] = found
    stored, scales, bigrams = table.stored, table.scales, table.bigrams
    _pool(
        numbers,
        offsets,
        starts,
        rows,
        stored.view(np.uint16) if stored.dtype == np.float16 else stored,
        _NO_SCALES if scales is None else scales,
        _HALVES,
        _NO_KEYS if bigrams is None else bigrams.keys,
        _NO_ROWS if bigrams is None else bigrams.rows,
        0 if bigrams is None else bigrams.n_tokens,
        0 if bigrams is None else bigrams.n_bits,
        _ALL if max_length is None else min(max_length, _ALL),
        unit_length,
        out,
    )
    return True


_copies: WeakKeyDictionary["PieceIndex", "FastIndex"] = WeakKeyDictionary()
_NO_SCALES = np.empty(0, dtype=np.float32)
_NO_KEYS = np.empty(0, dtype=np.int64)
_NO_ROWS = np.empty(0, dtype=np.int32)
_ALL = np.iinfo(np.int64).max


class FastIndex:
    """A frozen copy of a piece index, in arrays that compiled code can search.

    Parameters
    ----------
    index : PieceIndex
        What to copy.
    """

    def __init__(self, index: "PieceIndex") -> None:
        with index.lock:
            pieces = list(index.number_of)
        self.n_pieces = len(pieces)
        # A new copy is worth its price when this one has missed as many pieces as it has.
        self.missed = 0
        self._drop_spaces = index.rule == "words"
        self._keys = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        self._key_offsets = np.zeros(len(pieces) + 1, dtype=np.int32)
        np.cumsum([len(piece) for piece in pieces], out=self._key_offsets[1:])
        # At most half full, so that a search ends soon.
        self._slots = np.full((1 << (2 * len(pieces)).bit_length(), 2), _EMPTY, dtype=np.int32)
        _enter(self._keys, self._key_offsets, self._slots)

    def find(
        self, documents: Sequence[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], list[bytes]]:
        """Cut texts into pieces and look each one up.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The texts.

        Returns
        -------
        numbers : ndarray of int32, shape (n_pieces,)
            The number of each piece, -1 where it is not in the index.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``numbers[offsets[i]:offsets[i + 1]]``.
        missing : list of bytes
            The pieces that are not in the index, in the order of the texts.
        """
        text = "".join(documents)
        buffer = text.encode()
        utf8 = np.frombuffer(buffer, dtype=np.uint8)
        ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)))
        if len(buffer) != len(text):
            _to_bytes(utf8, ends)
        # A piece takes two bytes at least, but for the last one of a document.
        numbers = np.empty((len(buffer) + len(documents)) // 2 + 1, dtype=np.int32)
        spans = np.empty((2, len(numbers)), dtype=np.int64)
        offsets = np.zeros(len(documents) + 1, dtype=np.int64)
        n_missing = _find(
            utf8,
            ends,
            self._keys,
            self._key_offsets,
            self._slots,
            self._drop_spaces,
            numbers,
            offsets,
            spans,
        )
        begins, ends = spans[:, :n_missing].tolist()
        missing = [buffer[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return numbers[: offsets[-1]], offsets, missing


# How many bytes a plain character has that begins with this byte, as `_PLAIN_SPACE` in _pieces
# has it; 0 for bytes that do not begin one.
_PLAIN = np.zeros(256, dtype=np.uint8)
_PLAIN[0x21:0x7F] = 1
_PLAIN[0xC3:0xCB] = _PLAIN[0xCF:0xD2] = 2
_PLAIN[0xE4:0xEA] = _PLAIN[0xEB:0xED] = 3


@_compile
def _to_bytes(utf8: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
    """Turn places counted in characters into places counted in bytes."""
    document = 0
    n_characters = 0
    for i in range(len(utf8)):
        if utf8[i] & 0xC0 != 0x80:  # the first byte of a character
            while document < len(ends) and ends[document] == n_characters:
                ends[document] = i
                document += 1
            n_characters += 1
    ends[document:] = len(utf8)


@_compile
def _enter(
    keys: NDArray[np.uint8], key_offsets: NDArray[np.int32], slots: NDArray[np.int32]
) -> None:
    mask = np.uint64(len(slots) - 1)
    for number in range(len(key_offsets) - 1):
        state = _SEED
        for i in range(key_offsets[number], key_offsets[number + 1]):
            state = (state ^ np.uint64(keys[i])) * _PRIME
        slot = (state ^ (state >> np.uint64(32))) & mask
        while slots[slot, 0] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot, 0] = number
        slots[slot, 1] = np.int32(state >> np.uint64(33))


@_compile
def _find(
    buffer: NDArray[np.uint8],
    ends: NDArray[np.int64],
    keys: NDArray[np.uint8],
    key_offsets: NDArray[np.int32],
    slots: NDArray[np.int32],
    drop_spaces: bool,
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> int:
    mask = np.uint64(len(slots) - 1)
    n = 0
    n_missing = 0
    for document in range(len(ends)):
        end = ends[document]
        i = begin = ends[document - 1] if document else 0
        while i < end:
            byte = buffer[i]
            if drop_spaces and (byte == 32 or byte == 10 or byte == 13 or byte == 9):
                i += 1
                continue
            start = i
            state = _SEED
            while True:
                state = (state ^ np.uint64(byte)) * _PRIME
                i += 1
                if i == end:
                    break
                byte = buffer[i]
                if drop_spaces:
                    if byte == 32 or byte == 10 or byte == 13 or byte == 9:
                        break
                elif (
                    byte == 32
                    and i + 1 < end
                    and _PLAIN[buffer[i + 1]] > 0
                    and (
                        _PLAIN[buffer[i - 1]] == 1
                        or (i - 2 >= begin and _PLAIN[buffer[i - 2]] == 2)
                        or (i - 3 >= begin and _PLAIN[buffer[i - 3]] == 3)
                    )
                ):
                    break
            tag = np.int32(state >> np.uint64(33))
            slot = (state ^ (state >> np.uint64(32))) & mask
            number = slots[slot, 0]
            while number != _EMPTY:
                if slots[slot, 1] == tag:
                    key = key_offsets[number]
                    if key_offsets[number + 1] - key == i - start:
                        same = True
                        for j in range(i - start):
                            if keys[key + j] != buffer[start + j]:
                                same = False
                                break
                        if same:
                            break
                slot = (slot + np.uint64(1)) & mask
                number = slots[slot, 0]
            numbers[n] = number
            n += 1
            if number == _EMPTY:
                spans[0, n_missing] = start
                spans[1, n_missing] = i
                n_missing += 1
        offsets[document + 1] = n
    return n_missing


def _value(table: Any, row: Any, j: Any, scales: Any, halves: Any) -> Any:
    """Read one value of the table; compiled code has a version for each way of storing it."""
    raise NotImplementedError


# Without types: numba compares the signature with those of the lambdas.
@overload(_value, inline="always")
def _value_as_stored(table, row, j, scales, halves):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if table.dtype == numba.int8:
        return lambda table, row, j, scales, halves: np.float32(table[row, j]) * scales[row]
    if table.dtype == numba.uint16:
        return lambda table, row, j, scales, halves: halves[table[row, j]]
    return lambda table, row, j, scales, halves: table[row, j]


@_compile
def _add_rows(
    total: NDArray[np.float32],
    table: NDArray[Any],
    rows: NDArray[np.int32],
    n_rows: int,
    scales: NDArray[np.float32],
    halves: NDArray[np.float32],
) -> None:
    # In their order, and four at a time: most of the time goes into waiting for rows that are
    # not in the cache.
    whole = n_rows - n_rows % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for j in range(len(total)):
            value = total[j] + _value(table, a, j, scales, halves)
            value += _value(table, b, j, scales, halves)
            value += _value(table, c, j, scales, halves)
            value += _value(table, d, j, scales, halves)
            total[j] = value
    for i in range(whole, n_rows):
        a = rows[i]
        for j in range(len(total)):
            total[j] += _value(table, a, j, scales, halves)


@_compile
def _pool(
    numbers: NDArray[np.int32],
    offsets: NDArray[np.int64],
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    table: NDArray[Any],
    scales: NDArray[np.float32],
    halves: NDArray[np.float32],
    bigram_keys: NDArray[np.int64],
    bigram_rows: NDArray[np.int32],
    n_token_rows: int,
    n_bits: int,
    max_length: int,
    unit_length: bool,
    features: NDArray[np.float32],
) -> None:
    total = np.empty(features.shape[1], dtype=np.float32)
    waiting = np.empty(_WAITING + 1, dtype=np.int32)
    shift = np.uint64(64 - n_bits)
    mask = np.int64(len(bigram_keys) - 1)
    for document in range(len(features)):
        total[:] = 0
        n_known = 0
        n_tokens = 0
        n_waiting = 0
        previous = np.int64(-1)
        for i in range(offsets[document], offsets[document + 1]):
            number = numbers[i]
            for k in range(starts[number], starts[number + 1]):
                n_tokens += 1
                if n_tokens > max_length:
                    break
                if rows[k] >= 0:
                    n_known += 1
                    waiting[n_waiting] = rows[k]
                    n_waiting += 1
                    if n_bits > 0:
                        if previous >= 0:
                            key = previous * n_token_rows + rows[k]
                            slot = np.int64((np.uint64(key) * _MULTIPLIER) >> shift)
                            while bigram_keys[slot] != _FREE:
                                if bigram_keys[slot] == key:
                                    waiting[n_waiting] = bigram_rows[slot]
                                    n_waiting += 1
                                    break
                                slot = (slot + 1) & mask
                        previous = np.int64(rows[k])
                    if n_waiting >= _WAITING:
                        _add_rows(total, table, waiting, n_waiting, scales, halves)
                        n_waiting = 0
        _add_rows(total, table, waiting, n_waiting, scales, halves)
        if unit_length:
            # In double precision, so that the order of the sum does not show.
            squares = np.zeros(8)
            for j in range(0, len(total) - 7, 8):
                for lane in range(8):
                    squares[lane] += np.float64(total[j + lane]) ** 2
            for j in range(len(total) - len(total) % 8, len(total)):
                squares[0] += np.float64(total[j]) ** 2
            scale = np.float32(np.sqrt(squares.sum()))
        else:
            scale = np.float32(n_known)
        if scale == 0:
            scale = np.float32(1)
        for j in range(len(total)):
            features[document, j] = total[j] / scale


# A multiple of four.
_WAITING = 64
# What each of the 65,536 half floats is, by its bits: numba has no half floats.
_HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
