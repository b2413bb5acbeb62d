"""The teacher's outputs for single tokens, many of which share an entry of the cache."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from sklearn_static._cache import Store

# Number of adjacent tokens that share an entry. With one token per entry, a vocabulary of 250,000
# takes 4 times as long to read; with 1,024 per entry, a few of its tokens take as long as all.
TOKENS_PER_ENTRY = 64
# An entry begins with one bit per token: whether the entry has its value.
_N_FLAGS = TOKENS_PER_ENTRY // 8


class TokenStore:
    """Key-value store with one value per token, kept in another store with fewer entries.

    An entry contains the values of those of its tokens that were stored, one after the other and
    of equal size. To add one, the entry is read and written again, so the caller of `put` must hold
    a lock for all tokens of each entry.

    Parameters
    ----------
    store : Store
        The store of the entries.
    keys : sequence of bytes
        The key of each entry. Token t belongs to entry ``t // TOKENS_PER_ENTRY``.
    """

    def __init__(self, store: Store, keys: Sequence[bytes]) -> None:
        self._store = store
        self._keys = keys

    def get(self, tokens: Sequence[int]) -> dict[int, bytes]:
        """Look the values of tokens up.

        Parameters
        ----------
        tokens : sequence of int
            The tokens, in ascending order.

        Returns
        -------
        values : dict
            A mapping from tokens to their values, without missing and damaged ones.
        """
        wanted = dict(_by_entry(tokens))
        entries = self._store.get([self._keys[i] for i in wanted])
        found: dict[int, bytes] = {}
        for i, some in wanted.items():
            values = _unpack(entries.pop(self._keys[i], b""), i)
            if len(some) < TOKENS_PER_ENTRY:
                values = {token: values[token] for token in some if token in values}
            found |= values
        return found

    def put(self, values: Mapping[int, bytes]) -> None:
        """Store values.

        Parameters
        ----------
        values : mapping
            A mapping from tokens to values of equal size.
        """
        changed = dict(_by_entry(sorted(values)))
        entries = self._store.get([self._keys[i] for i in changed])
        new = {}
        for i, some in changed.items():
            old = _unpack(entries.get(self._keys[i], b""), i)
            new[self._keys[i]] = _pack(old | {token: values[token] for token in some})
        self._store.put(new)


def _by_entry(tokens: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Group tokens in ascending order by the entry to which they belong."""
    entries = np.array(tokens, dtype=np.int64) // TOKENS_PER_ENTRY
    starts = np.flatnonzero(np.diff(entries, prepend=-1, append=-1)).tolist()
    for start, stop in pairwise(starts):
        yield int(entries[start]), tokens[start:stop]


def _pack(values: Mapping[int, bytes]) -> bytes:
    """Join the values of an entry by token."""
    tokens = sorted(values)
    flags = np.zeros(TOKENS_PER_ENTRY, dtype=bool)
    flags[np.array(tokens) % TOKENS_PER_ENTRY] = True
    return b"".join([np.packbits(flags).tobytes(), *(values[token] for token in tokens)])


def _unpack(packed: bytes, entry: int) -> dict[int, bytes]:
    """Split an entry into the values by token."""
    flags = np.unpackbits(np.frombuffer(packed[:_N_FLAGS], dtype=np.uint8))
    tokens = (np.flatnonzero(flags) + entry * TOKENS_PER_ENTRY).tolist()
    size, rest = divmod(len(packed) - _N_FLAGS, max(len(tokens), 1))
    if rest or size < 1 or not tokens:  # damaged, or missing
        return {}
    starts = range(_N_FLAGS, len(packed), size)
    return {t: packed[start : start + size] for t, start in zip(tokens, starts, strict=True)}
