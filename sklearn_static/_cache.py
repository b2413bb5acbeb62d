"""The teacher's outputs on disk, by the hash of what was run; all processes share them."""

import math
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

from joblib import Memory

from sklearn_static._warnings import warn

_FOLDER_VARIABLE = "SKLEARN_STATIC_CACHE"
_LIMIT_VARIABLE = "SKLEARN_STATIC_CACHE_MB"
_DEFAULT_LIMIT = 2048.0  # MB
# What is left when the limit was reached, so that it is not reached again at once.
_KEPT_SHARE = 0.8
_FILE = "outputs.sqlite"
_KEYS_PER_QUERY = 900  # older versions of SQLite take 999
_SECONDS_TO_WAIT = 60.0  # for another process's transaction
_SECONDS_PER_DAY = 86_400
_LOCKS = 1024


def clear_cache(memory: Any = "auto") -> None:
    """Forget all outputs of teachers.

    Safe while other processes use the cache: they run the teacher again. A file that is damaged
    is removed.

    Parameters
    ----------
    memory : "auto", str, os.PathLike or joblib.Memory, default="auto"
        As the parameter of `StaticEmbeddingVectorizer`.

    See Also
    --------
    cache_size : How much is stored.

    Examples
    --------
    >>> import sklearn_static
    >>> sklearn_static.clear_cache("some/folder")
    """
    folder = cache_folder(memory)
    if folder is None or not (folder / _FILE).exists():
        return
    file = folder / _FILE
    try:
        with _writing(folder) as connection:
            connection.execute("DELETE FROM outputs")
            connection.commit()
            connection.execute("VACUUM")
    except sqlite3.OperationalError as error:  # in use or not ours to write, say
        raise OSError(
            f"The cache {file} cannot be cleared: {error}. Try again when no other process uses "
            "it, or remove the file."
        ) from error
    except sqlite3.DatabaseError:
        file.unlink()
        # SQLite would apply what is left of an unfinished transaction to the next file.
        Path(f"{file}-journal").unlink(missing_ok=True)


def cache_size(memory: Any = "auto") -> int:
    """Tell how much is stored of the outputs of teachers.

    Parameters
    ----------
    memory : "auto", str, os.PathLike or joblib.Memory, default="auto"
        As the parameter of `StaticEmbeddingVectorizer`.

    Returns
    -------
    n_bytes : int
        Size on disk, in bytes; 0 if nothing is stored.

    See Also
    --------
    clear_cache : Forget it.

    Examples
    --------
    >>> import sklearn_static
    >>> sklearn_static.cache_size("some/folder")
    0
    """
    folder = cache_folder(memory)
    if folder is None:
        return 0
    try:
        with _reading(folder) as connection:
            if connection is None:
                return 0
            if connection.execute("SELECT 1 FROM outputs LIMIT 1").fetchone() is None:
                return 0
            return _bytes_in_use(connection)
    except sqlite3.Error as error:
        raise OSError(
            f"The cache {folder / _FILE} cannot be read: {error}. "
            f"sklearn_static.clear_cache({str(folder)!r}) resets it."
        ) from error


def cache_folder(memory: Any) -> Path | None:
    """Give the folder that the parameter `memory` means.

    Parameters
    ----------
    memory : None, "auto", str, os.PathLike or object with the joblib.Memory interface
        "auto" is what the environment variable SKLEARN_STATIC_CACHE names, else a folder of the
        user's cache folder.

    Returns
    -------
    folder : Path or None
        It need not exist. None if there is none.

    Raises
    ------
    ValueError
        If `memory` is an empty string.
    """
    if isinstance(memory, str | os.PathLike):
        chosen = os.environ.get(_FOLDER_VARIABLE, "") if memory == "auto" else os.fspath(memory)
        if chosen:
            return Path(chosen).expanduser()
        if memory != "auto":
            raise ValueError("memory='' is not a folder; None keeps nothing.")
        from platformdirs import user_cache_path  # not needed to serve

        return user_cache_path("sklearn-static", appauthor=False)
    # A joblib.Memory lends its folder: one file for each text would take longer than the teacher.
    if isinstance(memory, Memory) and memory.backend == "local" and memory.location is not None:
        return Path(memory.location, "sklearn_static")
    return None


class Store:
    """Keeps values by their keys, in a folder or, without one, as long as itself.

    SQLite's transactions and the operating system's file locks see to it that a process may die
    at any time: nothing is stored by halves, and no lock stays. A folder that fails, be it full
    or not writable, costs one warning; from then on the store does without.

    Parameters
    ----------
    folder : Path or None
        Where the values are kept.

    Raises
    ------
    ValueError
        If the environment variable SKLEARN_STATIC_CACHE_MB is not a number above zero.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._limit = _limit()
        self._values: dict[bytes, bytes] = {}

    @property
    def lasts(self) -> bool:
        """Whether another store of the same folder has the values, too."""
        return self._folder is not None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Look values up.

        Parameters
        ----------
        keys : sequence of bytes
            Their keys.

        Returns
        -------
        values : dict
            From each key that has a value to it. A value that is damaged is left out.
        """
        if self._folder is not None:
            with self._forgiving():
                with _reading(self._folder) as connection:
                    sealed, old = _read(connection, keys) if connection else ({}, [])
                if old:
                    _mark_as_used(self._folder, old)
                return {key: value[4:] for key, value in sealed.items() if _is_whole(value)}
        return {key: self._values[key] for key in keys if key in self._values}

    def put(self, values: dict[bytes, bytes]) -> None:
        """Store values; above the limit, evict the least recently used ones.

        Parameters
        ----------
        values : dict
            From keys to values.
        """
        if self._folder is not None:
            with self._forgiving():
                self._folder.mkdir(parents=True, exist_ok=True)
                with _writing(self._folder) as connection:
                    _write(connection, values, self._limit)
                return
        self._values.update(values)

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Keep other processes and threads from the same work.

        Parameters
        ----------
        name : str
            What the work is; another name may share its lock.
        wait : bool
            Whether to wait for whoever has the lock.

        Yields
        ------
        held : bool
            Whether the work is ours.
        """
        from filelock import FileLock, Timeout  # not needed to serve

        lock, held = None, True
        if self._folder is not None:
            with self._forgiving():
                locks = self._folder / "locks"
                locks.mkdir(parents=True, exist_ok=True)
                lock = FileLock(locks / str(crc32(name.encode()) % _LOCKS))
                try:
                    lock.acquire(blocking=wait)
                except Timeout:
                    held = False
        try:
            yield held
        finally:
            if lock is not None:
                lock.release()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: no possible path
            warn(
                f"The teacher's outputs are not kept, since the cache in {self._folder} failed: "
                f"{error}. (sklearn_static.clear_cache({str(self._folder)!r}) resets it.)"
            )
            self._folder = None


def _limit() -> float:
    """Give the limit of the cache in bytes."""
    stated = os.environ.get(_LIMIT_VARIABLE, "")
    try:
        megabytes = float(stated) if stated else _DEFAULT_LIMIT
    except ValueError:
        megabytes = math.nan
    if not megabytes > 0:
        raise ValueError(
            f"{_LIMIT_VARIABLE} must be a number of megabytes above 0, got {stated!r}."
        )
    return megabytes * 1e6


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the file, or give None where nothing is stored yet."""
    if not (folder / _FILE).exists():
        yield None
        return
    # Read-only, so that readers neither wait for nor hold up a writer, nor need its rights.
    address = f"file:{quote(str((folder / _FILE).absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, timeout=_SECONDS_TO_WAIT, uri=True)) as connection:
        # Another process may just be making the file.
        is_made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outputs'")
        yield connection if is_made.fetchone() else None


@contextmanager
def _writing(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / _FILE, timeout=_SECONDS_TO_WAIT)) as connection:
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS outputs "
            "(key BLOB PRIMARY KEY, value BLOB NOT NULL, day INTEGER NOT NULL)"
        )
        yield connection


def _today() -> int:
    return int(time.time() // _SECONDS_PER_DAY)


def _seal(value: bytes | memoryview) -> bytes:
    return crc32(value).to_bytes(4, "little")


def _is_whole(sealed: Any) -> bool:
    return isinstance(sealed, bytes) and _seal(memoryview(sealed)[4:]) == sealed[:4]


def _read(
    connection: sqlite3.Connection, keys: Sequence[bytes]
) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Give values by their keys, and the keys that were not used today."""
    values: dict[bytes, bytes] = {}
    old: list[bytes] = []
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        found = connection.execute(
            f"SELECT key, value, day FROM outputs WHERE key IN ({','.join('?' * len(some))})",
            some,
        ).fetchall()
        values.update((key, value) for key, value, _ in found)
        old += [key for key, _, day in found if day < _today()]
    return values, old


def _mark_as_used(folder: Path, keys: Sequence[bytes]) -> None:
    """Note the day, unless the file is not ours to write."""
    with suppress(sqlite3.OperationalError), _writing(folder) as connection, connection:
        connection.executemany(
            "UPDATE outputs SET day = ? WHERE key = ?", ((_today(), key) for key in keys)
        )


def _write(connection: sqlite3.Connection, values: dict[bytes, bytes], limit: float) -> None:
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)",
            ((key, _seal(value) + value, _today()) for key, value in values.items()),
        )
        excess = _bytes_in_use(connection) - limit
        if excess > 0:
            _drop_oldest(connection, excess + (1 - _KEPT_SHARE) * limit)
    if excess > 0:
        connection.execute("PRAGMA incremental_vacuum").fetchall()


def _drop_oldest(connection: sqlite3.Connection, n_bytes: float) -> None:
    dropped = []
    oldest = connection.execute("SELECT rowid, LENGTH(value) FROM outputs ORDER BY day, rowid")
    for rowid, length in oldest:
        if n_bytes <= 0:
            break
        dropped.append((rowid,))
        n_bytes -= length
    connection.executemany("DELETE FROM outputs WHERE rowid = ?", dropped)


def _bytes_in_use(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {fact}").fetchone()[0]
        for fact in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
