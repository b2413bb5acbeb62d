"""Values of tokens, many of which share an entry of the cache."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from sklearn_static._cache import Store
from sklearn_static._distill.token_store import TOKENS_PER_ENTRY, TokenStore

N_TOKENS = 5 * TOKENS_PER_ENTRY + 3
KEYS = [bytes([i]) for i in range(6)]


@pytest.fixture(params=["folder", "memory"])
def folder(request, tmp_path) -> Path | None:
    return tmp_path if request.param == "folder" else None


def some_values(seed: int, n: int) -> dict[int, bytes]:
    rng = np.random.default_rng(seed)
    return {int(i): rng.bytes(12) for i in rng.choice(N_TOKENS, n, replace=False)}


def test_get_returns_what_was_put(folder):
    tokens = TokenStore(Store(folder), KEYS)
    assert tokens.get(range(N_TOKENS)) == {}
    expected = {}
    for seed, n in enumerate((1, 40, N_TOKENS // 2, 5)):
        values = some_values(seed, n)
        expected |= values
        tokens.put(values)
        assert tokens.get(range(N_TOKENS)) == expected
        wanted = sorted(some_values(99, 70))
        assert tokens.get(wanted) == {t: expected[t] for t in wanted if t in expected}
    tokens.put(some_values(7, N_TOKENS))
    assert tokens.get(range(N_TOKENS)) == some_values(7, N_TOKENS)


def test_an_entry_holds_many_tokens(tmp_path):
    TokenStore(Store(tmp_path), KEYS).put(some_values(0, N_TOKENS))
    with sqlite3.connect(tmp_path / "outputs.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM outputs").fetchone() == (6,)


def test_tokens_of_another_entry_are_left_alone(tmp_path):
    tokens = TokenStore(Store(tmp_path), KEYS)
    tokens.put({0: b"a", TOKENS_PER_ENTRY - 1: b"b", TOKENS_PER_ENTRY: b"c"})
    with sqlite3.connect(tmp_path / "outputs.sqlite") as connection:
        connection.execute("DELETE FROM outputs WHERE key = ?", (KEYS[0],))
    assert tokens.get(range(N_TOKENS)) == {TOKENS_PER_ENTRY: b"c"}


def test_the_limit_evicts_entries(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_STATIC_CACHE_MB", "0.2")
    tokens = TokenStore(Store(tmp_path), KEYS)
    for i in range(5):
        tokens.put({i * TOKENS_PER_ENTRY: os.urandom(60_000)})
    left = tokens.get(range(N_TOKENS))
    assert 0 < len(left) < 5
    assert max(left) == 4 * TOKENS_PER_ENTRY


@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: bytes(8) + v[8:], lambda v: v[:5]])
def test_a_damaged_entry_is_missing(change, tmp_path):
    store = Store(tmp_path)
    tokens = TokenStore(store, KEYS)
    tokens.put({0: b"abcd", 1: b"efgh", TOKENS_PER_ENTRY: b"ijkl"})
    store.put({KEYS[0]: change(store.get([KEYS[0]])[KEYS[0]])})
    assert tokens.get(range(N_TOKENS)) == {TOKENS_PER_ENTRY: b"ijkl"}
