"""On-disk cache of teachers' outputs, keyed by a hash of the input and shared by all processes."""

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
# Share of the limit that is kept when it is exceeded, so that it is not exceeded again at once.
_KEPT_SHARE = 0.8
# Size of the file relative to the values in it.
_OVERHEAD = 1.1
_FILE = "outputs.sqlite"
_KEYS_PER_QUERY = 900  # older versions of SQLite allow 999
_SECONDS_TO_WAIT = 60.0  # for another process's transaction
_SECONDS_UNTIL_WARNING = 30.0  # that another process holds a lock
_SECONDS_TO_WAIT_FOR_LOCK = 600.0
_SECONDS_PER_DAY = 86_400
_LOCKS = 1024


def clear_cache(memory: Any = "auto") -> None:
    """Remove all outputs of teachers from the cache.

    This is safe while other processes use the cache: they run the teacher again. A damaged cache
    file is deleted.

    Parameters
    ----------
    memory : "auto", str, os.PathLike or joblib.Memory, default="auto"
        The cache, as in `StaticEmbeddingVectorizer`.

    See Also
    --------
    cache_size : Return the size of the cache.

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
    except sqlite3.OperationalError as error:  # for example, in use or not writable
        raise OSError(
            f"The cache {file} cannot be cleared: {error}. Try again when no other process uses "
            "it, or delete the file."
        ) from error
    except sqlite3.DatabaseError:
        file.unlink()
        # SQLite would apply the remains of an unfinished transaction to the next file.
        Path(f"{file}-journal").unlink(missing_ok=True)


def cache_size(memory: Any = "auto") -> int:
    """Return the size of the cache of teachers' outputs.

    Parameters
    ----------
    memory : "auto", str, os.PathLike or joblib.Memory, default="auto"
        The cache, as in `StaticEmbeddingVectorizer`.

    Returns
    -------
    n_bytes : int
        Size on disk in bytes; 0 if nothing is cached.

    See Also
    --------
    clear_cache : Remove all outputs from the cache.

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
    """Return the cache folder that the parameter `memory` means.

    Parameters
    ----------
    memory : None, "auto", str, os.PathLike or object with the joblib.Memory interface
        "auto" is the folder in the environment variable SKLEARN_STATIC_CACHE, otherwise a folder
        in the user's cache folder.

    Returns
    -------
    folder : Path or None
        The folder, which need not exist; None without a folder.

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
            raise ValueError("memory='' is not a folder; use None to disable the cache.")
        from platformdirs import user_cache_path  # not needed to serve

        return user_cache_path("sklearn-static", appauthor=False)
    # Only the folder of a joblib.Memory is used: to store one file per document would take
    # longer than to run the teacher.
    if isinstance(memory, Memory) and memory.backend == "local" and memory.location is not None:
        return Path(memory.location, "sklearn_static")
    return None


class Store:
    """Key-value store, in a folder or, without a folder, in memory.

    SQLite transactions and file locks of the operating system make it safe to kill a process at
    any time: no value is stored partially, and no lock remains. If the folder fails, for example
    because it is full or not writable, a warning is issued and values are stored in memory.

    Parameters
    ----------
    folder : Path or None
        The folder of the values; None stores them in memory.

    Raises
    ------
    ValueError
        If the environment variable SKLEARN_STATIC_CACHE_MB is not a positive number.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._limit = _limit()
        self._values: dict[bytes, bytes] = {}
        self._waits = True

    @property
    def lasts(self) -> bool:
        """Whether the values outlive this object."""
        return self._folder is not None

    def is_too_small(self, n_bytes: int) -> bool:
        """Warn if values that are needed together do not fit.

        Parameters
        ----------
        n_bytes : int
            The size of the values.

        Returns
        -------
        is_too_small : bool
            Whether a warning was issued.

        Warns
        -----
        UserWarning
            If the cache evicts some of them before they are needed again.
        """
        if not self.lasts or n_bytes * _OVERHEAD <= self._limit:
            return False
        warn(
            f"The cache is limited to {self._limit / 1e6:.3g} MB, but this fit needs about "
            f"{n_bytes * _OVERHEAD / 1e6:.3g} MB of the teacher's outputs: some are evicted, and "
            "the teacher runs again for these at the next fit. Set the environment variable "
            f"{_LIMIT_VARIABLE} to a larger number of megabytes."
        )
        return True

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Look values up.

        Parameters
        ----------
        keys : sequence of bytes
            The keys of the values.

        Returns
        -------
        values : dict
            A mapping from keys to their values, without missing and damaged ones.
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
            A mapping from keys to values.
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
        """Lock a task, so that other processes and threads do not do the same.

        Parameters
        ----------
        name : str
            The name of the task; several names may share a lock.
        wait : bool
            Whether to wait until the lock is free.

        Yields
        ------
        held : bool
            Whether to do the task; always True if `wait` or if there is no folder. If another
            process holds the lock and nothing is stored for ten minutes, because it was suspended
            for example, neither this nor later locks are waited for: the tasks are then done twice.

        Warns
        -----
        UserWarning
            If another process holds the lock for a while.
        """
        from filelock import FileLock, Timeout  # not needed to serve

        lock, held = None, True
        if self._folder is not None:
            with self._forgiving():
                locks = self._folder / "locks"
                locks.mkdir(parents=True, exist_ok=True)
                lock = FileLock(locks / str(crc32(name.encode()) % _LOCKS))
                try:
                    lock.acquire(timeout=_SECONDS_UNTIL_WARNING if wait and self._waits else 0)
                except Timeout:
                    held = wait and (not self._waits or self._wait_longer(lock))
        try:
            yield held
        finally:
            if lock is not None:
                lock.release()

    def _wait_longer(self, lock: Any) -> bool:
        from filelock import Timeout

        warn(
            f"Another process has held {lock.lock_file} for {_SECONDS_UNTIL_WARNING:.0f} seconds, "
            "as it runs the same teacher; fit waits for it for up to "
            f"{_SECONDS_TO_WAIT_FOR_LOCK / 60:.0f} minutes. If it is suspended, resume or end it."
        )
        start, stamp = time.monotonic(), self._stamp()
        while time.monotonic() - start < _SECONDS_TO_WAIT_FOR_LOCK:
            with suppress(Timeout):
                lock.acquire(timeout=_SECONDS_UNTIL_WARNING)
                return True
            if self._stamp() != stamp:  # somebody still stores outputs
                start, stamp = time.monotonic(), self._stamp()
        self._waits = False  # a suspended process may hold many locks
        return True

    def _stamp(self) -> int:
        """Return when outputs were stored last."""
        with suppress(OSError):
            if self._folder is not None:
                return (self._folder / _FILE).stat().st_mtime_ns
        return 0

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: an impossible path
            is_damaged = type(error) is sqlite3.DatabaseError  # not one of its subclasses
            cure = (
                f"sklearn_static.clear_cache({str(self._folder)!r}) resets it"
                if is_damaged
                else "pass another folder as the parameter memory"
            )
            warn(
                f"The teacher's outputs are not cached, since the cache in {self._folder} failed: "
                f"{error}; {cure}."
            )
            self._folder = None


def _limit() -> float:
    """Return the limit of the cache in bytes."""
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
    """Open the file for reading; yield None if nothing is stored yet."""
    if not (folder / _FILE).exists():
        yield None
        return
    # Read-only, so that readers neither wait for nor block a writer, nor need write permission.
    address = f"file:{quote(str((folder / _FILE).absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, timeout=_SECONDS_TO_WAIT, uri=True)) as connection:
        # Another process may be creating the file right now.
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
    """Return values by their keys, and the keys that were last used before today."""
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
    """Record today as the day of last use, unless the file is not writable."""
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
