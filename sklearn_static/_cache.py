"""The teacher's outputs on disk, by the hash of what was run; all processes share them."""

import os
import sqlite3
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from zlib import crc32

_FOLDER_VARIABLE = "SKLEARN_STATIC_CACHE"
_LIMIT_VARIABLE = "SKLEARN_STATIC_CACHE_MB"
_DEFAULT_LIMIT = 2048  # MB
# What is left when the limit was reached, so that it is not reached again at once.
_KEPT_SHARE = 0.8
_FILE = "outputs.sqlite"
_KEYS_PER_QUERY = 900  # older versions of SQLite take 999
_SECONDS_TO_WAIT = 60.0  # for another process's transaction
_SECONDS_PER_DAY = 86_400
_LOCKS = 64


def clear_cache(folder: str | os.PathLike[str] | None = None) -> None:
    """Forget all outputs of teachers.

    Safe while other processes use the cache: they run the teacher again.

    Parameters
    ----------
    folder : str, os.PathLike or None, default=None
        What was given as ``memory`` to `StaticEmbeddingVectorizer`. None is the folder of
        ``memory="auto"``.

    See Also
    --------
    cache_size : How much is stored.

    Examples
    --------
    >>> import sklearn_static
    >>> sklearn_static.clear_cache("some/folder")
    """
    folder = cache_folder() if folder is None else Path(folder)
    if (folder / _FILE).exists():
        with _connection(folder) as connection:
            connection.execute("DELETE FROM outputs")
            connection.commit()
            connection.execute("VACUUM")


def cache_size(folder: str | os.PathLike[str] | None = None) -> int:
    """Tell how much is stored of the outputs of teachers.

    Parameters
    ----------
    folder : str, os.PathLike or None, default=None
        What was given as ``memory`` to `StaticEmbeddingVectorizer`. None is the folder of
        ``memory="auto"``.

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
    folder = cache_folder() if folder is None else Path(folder)
    if not (folder / _FILE).exists():
        return 0
    with _connection(folder) as connection:
        if connection.execute("SELECT 1 FROM outputs LIMIT 1").fetchone() is None:
            return 0
        return _bytes_in_use(connection)


def cache_folder() -> Path:
    """Give the folder of ``memory="auto"``.

    Returns
    -------
    folder : Path
        What the environment variable SKLEARN_STATIC_CACHE names, else a folder of the user's
        cache folder. It need not exist.
    """
    from platformdirs import user_cache_path  # not needed to serve

    chosen = os.environ.get(_FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("sklearn-static", appauthor=False)


class Store:
    """Keeps values by their keys, in a folder or, without one, as long as itself.

    SQLite's transactions and the operating system's file locks see to it that a process may die
    at any time: nothing is stored by halves, and no lock stays. A folder that fails, be it full
    or not writable, costs one warning; from then on the store does without.

    Parameters
    ----------
    folder : Path or None
        Where the values are kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._values: dict[bytes, bytes] = {}

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Look values up.

        Parameters
        ----------
        keys : sequence of bytes
            Their keys.

        Returns
        -------
        values : dict
            From each key that has a value to it.
        """
        if self._folder is not None and (self._folder / _FILE).exists():
            with self._forgiving(), _connection(self._folder) as connection:
                return _read(connection, keys)
        return {key: self._values[key] for key in keys if key in self._values}

    def put(self, values: dict[bytes, bytes]) -> None:
        """Store values; where it gets too much, drop those that were not used for longest.

        Parameters
        ----------
        values : dict
            From keys to values.
        """
        if self._folder is not None:
            with self._forgiving():
                self._folder.mkdir(parents=True, exist_ok=True)
                with _connection(self._folder) as connection:
                    _write(connection, values)
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
                self._folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self._folder / f"{crc32(name.encode()) % _LOCKS}.lock")
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
        except (OSError, sqlite3.Error) as error:
            warnings.warn(
                f"The teacher's outputs are not kept, since the cache in {self._folder} failed: "
                f"{error}",
                stacklevel=2,
            )
            self._folder = None


@contextmanager
def _connection(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / _FILE, timeout=_SECONDS_TO_WAIT)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded while the file is empty
        connection.execute(
            "CREATE TABLE IF NOT EXISTS outputs "
            "(key BLOB PRIMARY KEY, value BLOB NOT NULL, day INTEGER NOT NULL)"
        )
        yield connection


def _read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    today = int(time.time() // _SECONDS_PER_DAY)
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        wanted = f"key IN ({','.join('?' * len(some))})"
        found = connection.execute(
            f"SELECT key, value, day < {today} FROM outputs WHERE {wanted}", some
        ).fetchall()
        values.update((key, value) for key, value, _ in found)
        if any(is_old for _, _, is_old in found):
            with connection:
                connection.execute(f"UPDATE outputs SET day = {today} WHERE {wanted}", some)
    return values


def _write(connection: sqlite3.Connection, values: dict[bytes, bytes]) -> None:
    today = int(time.time() // _SECONDS_PER_DAY)
    limit = float(os.environ.get(_LIMIT_VARIABLE, _DEFAULT_LIMIT)) * 1e6
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)",
            ((key, value, today) for key, value in values.items()),
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
