"""The teacher's outputs for single tokens, many of which share an entry of the cache."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from sklearn_static._cache import Store

# Number of adjacent tokens that share an entry. With an entry per token, it would take 5 times as
# long to read 250,000 tokens.
BLOCK = 1024
# An entry begins with one bit for each token of its block: whether the entry has its value.
_N_FLAGS = BLOCK // 8

Value = bytes | memoryview


class TokenStore:
    """Key-value store with one value per token, kept in another store with an entry per block.

    An entry contains the values of those tokens of its block that were stored, one after the other
    and of equal size. To add one, the entry is read and written, so the caller of `put` must hold
    the lock of each block.

    Parameters
    ----------
    store : Store
        The store of the entries.
    keys : sequence of bytes
        The key of each block's entry. Token t belongs to block ``t // BLOCK``.
    """

    def __init__(self, store: Store, keys: Sequence[bytes]) -> None:
        self._store = store
        self._keys = keys

    def get(self, tokens: Iterable[int]) -> dict[int, Value]:
        """Look the values of tokens up.

        Parameters
        ----------
        tokens : iterable of int
            The tokens, in ascending order.

        Returns
        -------
        values : dict
            A mapping from tokens to their values, without missing and damaged ones.
        """
        wanted = {block: list(some) for block, some in groupby(tokens, lambda t: t // BLOCK)}
        entries = self._store.get([self._keys[block] for block in wanted])
        found: dict[int, Value] = {}
        for block, some in wanted.items():
            values = _unpack(entries.get(self._keys[block], b""))
            for token in some:
                if (value := values.get(token % BLOCK)) is not None:
                    found[token] = value
        return found

    def put(self, values: Mapping[int, Value]) -> None:
        """Store values.

        Parameters
        ----------
        values : mapping
            A mapping from tokens to values of equal size.
        """
        of_block: dict[int, dict[int, Value]] = {}
        for token, value in values.items():
            of_block.setdefault(token // BLOCK, {})[token % BLOCK] = value
        entries = self._store.get([self._keys[block] for block in of_block])
        self._store.put(
            {
                self._keys[block]: _pack(_unpack(entries.get(self._keys[block], b"")) | new)
                for block, new in of_block.items()
            }
        )


def _pack(values: Mapping[int, Value]) -> bytes:
    """Join values by their place in a block."""
    places = sorted(values)
    flags = np.zeros(BLOCK, dtype=bool)
    flags[places] = True
    return b"".join([np.packbits(flags).tobytes(), *(values[place] for place in places)])


def _unpack(entry: bytes) -> dict[int, Value]:
    """Split an entry; the values are views of it, since it may be large."""
    flags = np.unpackbits(np.frombuffer(entry[:_N_FLAGS], dtype=np.uint8))
    places = np.flatnonzero(flags).tolist()
    values = memoryview(entry)[_N_FLAGS:]
    size = len(values) // max(len(places), 1)
    return {place: values[i * size : (i + 1) * size] for i, place in enumerate(places)}
