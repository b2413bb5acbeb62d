"""The teacher's outputs for tokens and documents, computed or taken from the cache."""

import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sklearn_static._cache import Store, cache_folder
from sklearn_static._distill.folder import Folder
from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.requirements import import_for_fit
from sklearn_static._distill.token_store import TOKENS_PER_ENTRY, TokenStore
from sklearn_static._distill.workers import run_here, run_on_workers
from sklearn_static._serve.jobs import n_workers

if TYPE_CHECKING:
    from sklearn_static._distill.teacher import Teacher

# Part of every key; to be incremented when the same input would result in another output, or when
# it is stored in another way.
_VERSION = 2
# Number of adjacent tokens of a vocabulary that one process runs; a multiple of those that share
# an entry of the cache.
_BLOCK = 16 * TOKENS_PER_ENTRY
# Maximum number of tasks that are run at once; each holds a lock, which is an open file.
_LOCKS_AT_ONCE = 100


class _Values(Protocol):
    """Where outputs are stored: those of documents by hash, those of tokens by row."""

    def get(self, keys: list[Any]) -> dict[Any, bytes]: ...
    def put(self, values: dict[Any, bytes]) -> None: ...


@dataclass(frozen=True)
class _Request:
    """Inputs of the teacher, each an array of shape (1, length).

    Attributes
    ----------
    title : str
        The title of the progress bar and of the tasks.
    arrays : sequence of ndarray of int
        The token ids of each input.
    keys : list
        The key of each input in `values`; duplicates have the same key.
    tasks : list of int
        The task of each input. Another process that runs a task is left to finish it. All inputs of
        a task have the same length.
    values : Store or TokenStore
        Where the outputs are stored.
    n_at_once : int
        Number of inputs up to which tasks are run together.
    """

    title: str
    arrays: Sequence[NDArray[Any]] | NDArray[Any]
    keys: list[Any]
    tasks: list[int]
    values: _Values
    n_at_once: int


class Outputs:
    """A teacher that runs each input only once as long as its outputs are cached.

    Parameters
    ----------
    folder : Folder
        The teacher; its weights are loaded when they are first needed.
    inputs : Inputs
        The inputs of the teacher.
    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface
        Where the outputs are cached.
    device : str or None
        The torch device; None takes the best available.
    batch_size : int
        Documents per forward pass.
    progress : bool
        Whether to show a progress bar on standard error.
    n_jobs : int or None, default=None
        Number of workers among which to divide the inputs if joblib's active backend is that of a
        cluster; None takes the backend's default.
    """

    def __init__(
        self,
        folder: Folder,
        inputs: Inputs,
        *,
        memory: Any,
        device: str | None,
        batch_size: int,
        progress: bool,
        n_jobs: int | None = None,
    ) -> None:
        self._folder = folder
        self.inputs = inputs
        self._device = device
        self._batch_size = batch_size
        self._progress = progress
        self._n_jobs = n_jobs
        folder_of_cache = cache_folder(memory)
        self._store = Store(folder_of_cache)
        # Another object with the joblib.Memory interface, which stores outputs itself.
        own_way = folder_of_cache is None and not isinstance(memory, Memory)
        self._memory = memory if own_way else None
        self._n_run = 0
        self._seconds_run = 0.0

    def of_tokens(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Run the teacher on tokens, each alone in the tokenizer's template.

        Parameters
        ----------
        tokens : ndarray of int, shape (n_tokens,)
            Rows of the teacher's vocabulary, in ascending order.

        Returns
        -------
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The pooled outputs after the dense layers, not normalized.
        """
        # A block of the vocabulary is a task, so that processes divide it in the same way whatever
        # tokens they need; blocks of which few tokens are missing are run together.
        request = _Request(
            "Teacher, vocabulary",
            self._token_ids[tokens][:, None],
            tokens.tolist(),
            (tokens // _BLOCK).tolist(),
            self._token_store,
            max(_BLOCK, self._batch_size),
        )
        return self._run(request)

    @cached_property
    def _token_ids(self) -> NDArray[np.int64]:
        return self.inputs.of_vocabulary()

    @cached_property
    def _token_store(self) -> TokenStore:
        ids, n = self._token_ids, TOKENS_PER_ENTRY
        keys = [self._key(ids[i : i + n]) for i in range(0, len(ids), n)]
        return TokenStore(self._store, keys)

    def of_documents(self, inputs: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Run the teacher on documents.

        Parameters
        ----------
        inputs : sequence of ndarray of int32
            Token ids as returned by `Inputs.of_documents`.

        Returns
        -------
        embeddings : ndarray of float32, shape (n_documents, dimension)
            The outputs, scaled to unit length.
        """
        # Documents of one length need no padding and form a task; a batch holds few long documents,
        # so those of one length are divided into several tasks.
        tasks = [len(ids) * 1000 + crc32(ids.tobytes()) % (1 + len(ids) // 16) for ids in inputs]
        self._n_run, self._seconds_run = 0, 0.0
        arrays = [ids[None] for ids in inputs]
        keys = [self._key(ids) for ids in arrays]
        outputs = self._run(_Request("Teacher, documents", arrays, keys, tasks, self._store, 1))
        lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        embeddings: NDArray[np.float32] = outputs / lengths
        return embeddings

    def duration(self, n_documents: int) -> str:
        """Estimate the time for further documents from the documents that were run.

        Parameters
        ----------
        n_documents : int
            The number of further documents.

        Returns
        -------
        clause : str
            A clause like "; the others would take about 5 min"; empty if no document was run.
        """
        if not self._n_run:
            return ""
        seconds = self._seconds_run / self._n_run * n_documents
        span = f"{seconds / 60:.0f} min" if seconds > 100 else f"{seconds:.0f} s"
        return f"; the others would take about {span}"

    def _run(self, request: _Request) -> NDArray[np.float32]:
        if self._memory is None:
            return self._gather(request)

        # The arguments are exactly what the result depends on, since the method `cache` of another
        # object may not have the option to ignore some of them.
        def gather(fingerprint: str, arrays: Any) -> NDArray[np.float32]:
            return self._gather(request)

        outputs: NDArray[np.float32] = self._memory.cache(gather)(self._fingerprint, request.arrays)
        return outputs

    def _gather(self, request: _Request) -> NDArray[np.float32]:
        values = request.values.get(list(dict.fromkeys(request.keys)))
        missing: dict[int, dict[Any, NDArray[Any]]] = {}
        for i, key in enumerate(request.keys):
            if key not in values:
                missing.setdefault(request.tasks[i], {})[key] = request.arrays[i]
        try:
            with closing(self._run_missing(missing, request)) as parts:
                for new in parts:
                    values |= new
        except Exception as error:
            if values and self._store.lasts:
                error.add_note(
                    f"The cache has {len(values)} of the {len(set(request.keys))} outputs; calling "
                    "fit again runs the teacher on the others only."
                )
            raise
        flat = np.frombuffer(b"".join([values[key] for key in request.keys]), dtype=np.float32)
        return flat.reshape(len(request.keys), -1 if request.keys else 0)

    def _run_missing(
        self, missing: dict[int, dict[Any, NDArray[Any]]], request: _Request
    ) -> Generator[dict[Any, bytes], None, None]:
        if not missing:
            return
        sizes = {key: ids.size for by_key in missing.values() for key, ids in by_key.items()}
        n_used = n_workers(self._n_jobs)
        with tqdm(
            total=sum(sizes.values()), desc=request.title, unit="token", disable=not self._progress
        ) as bar:
            # Tasks that another process holds come last: it may finish them in the meantime.
            wait = False
            while missing:
                n_tasks = len(missing)
                # A process that waits for a lock must not hold another one.
                n_missing = {task: len(by_key) for task, by_key in missing.items()}
                n_at_once = sum(n_missing.values()) if n_used else request.n_at_once
                for tasks in _groups(n_missing, 0 if wait else n_at_once):
                    for new in self._run_tasks(missing, tasks, request, n_used, wait=wait):
                        bar.update(sum(sizes[key] for key in new))
                        yield new
                # Two tasks may share a lock, which is free again by now.
                wait = len(missing) == n_tasks

    def _run_tasks(
        self,
        missing: dict[int, dict[Any, NDArray[Any]]],
        tasks: list[int],
        request: _Request,
        n_used: int,
        *,
        wait: bool,
    ) -> Iterator[dict[Any, bytes]]:
        """Run the tasks that no other process holds, and remove them from `missing`."""
        with ExitStack() as locks:
            left: dict[Any, NDArray[Any]] = {}
            for task in tasks:
                lock = self._store.lock(f"{self._fingerprint} {request.title} {task}", wait=wait)
                if not locks.enter_context(lock):
                    continue
                by_key = missing.pop(task)
                done = request.values.get(list(by_key))
                yield done
                left |= {key: ids for key, ids in by_key.items() if key not in done}
            for new in self._run_teacher(left, n_used) if left else ():
                request.values.put(new)
                yield new

    def _run_teacher(
        self, inputs: dict[Any, NDArray[Any]], n_used: int
    ) -> Iterator[dict[Any, bytes]]:
        keys, arrays = list(inputs), list(inputs.values())
        if not n_used:
            parts = run_here(self._teacher, arrays, self._batch_size)
        else:
            parts = run_on_workers(self._folder, arrays, self._device, self._batch_size, n_used)
        start = time.perf_counter()
        for part, outputs in parts:
            self._seconds_run += time.perf_counter() - start
            self._n_run += sum(map(len, outputs))
            some = zip(keys[part], outputs, strict=True)
            yield {key: output.tobytes() for key, output in some}
            start = time.perf_counter()

    def _key(self, ids: NDArray[Any]) -> bytes:
        digest = hashlib.blake2b(self._fingerprint.encode(), digest_size=16)
        digest.update(repr(ids.shape).encode())
        digest.update(ids.astype(np.int32).tobytes())
        return digest.digest()

    @cached_property
    def _fingerprint(self) -> str:
        # To read all of a teacher's files takes seconds.
        is_shared = self._store.lasts or self._memory is not None
        return f"{_VERSION} {self._folder.fingerprint() if is_shared else ''}"

    @cached_property
    def _teacher(self) -> "Teacher":
        teacher: Teacher = import_for_fit("teacher").load_teacher(self._folder, self._device)
        return teacher


def _groups(n_inputs: dict[int, int], n_at_once: int) -> Iterator[list[int]]:
    """Divide tasks, the last ones first, into groups of at most `n_at_once` inputs.

    Tasks are not divided, so a larger one is a group of its own.
    """
    group: list[int] = []
    total = 0
    for task in sorted(n_inputs, reverse=True):
        if group and (total + n_inputs[task] > n_at_once or len(group) == _LOCKS_AT_ONCE):
            yield group
            group, total = [], 0
        group.append(task)
        total += n_inputs[task]
    yield group
