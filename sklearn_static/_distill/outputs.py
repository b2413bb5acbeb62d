"""The teacher's outputs for tokens and documents, computed or taken from the cache."""

import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sklearn_static._cache import Store, cache_folder
from sklearn_static._distill.folder import Folder
from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.requirements import import_for_fit
from sklearn_static._distill.workers import run_here, run_on_workers
from sklearn_static._serve.jobs import n_workers

if TYPE_CHECKING:
    from sklearn_static._distill.teacher import Teacher

# Part of every key; to be incremented when the same input would result in another output.
_VERSION = 1
# The vocabulary is run and cached in blocks of tokens, since all of it is always needed.
_BLOCK = 1024
# The number of tasks that a cluster gets at once; each holds a lock, which is an open file.
_LOCKS_AT_ONCE = 100


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

    def find_dimension(self) -> int:
        """Run the first block of tokens to determine the teacher's dimension.

        Returns
        -------
        dimension : int
            The number of columns of the outputs, before the rest of the vocabulary is run.
        """
        return int(self._first_block.shape[1])

    @cached_property
    def _first_block(self) -> NDArray[np.float32]:
        return self._run_blocks(0, 1)

    def of_vocabulary(self) -> NDArray[np.float32]:
        """Run the teacher on every token alone in the tokenizer's template.

        Returns
        -------
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The pooled outputs after the dense layers, not normalized.
        """
        first, rest = self._first_block, self._run_blocks(1, None)
        return np.concatenate([first, rest.reshape(-1, first.shape[1])])

    @cached_property
    def _blocks(self) -> list[NDArray[np.int64]]:
        input_ids = self.inputs.of_vocabulary()
        return [input_ids[i : i + _BLOCK] for i in range(0, len(input_ids), _BLOCK)]

    def _run_blocks(self, start: int, stop: int | None) -> NDArray[np.float32]:
        # Each block has its own task (a lock), so that processes share the vocabulary.
        tasks = list(range(len(self._blocks)))
        return self._run(self._blocks[start:stop], tasks[start:stop], "Teacher, vocabulary")

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
        outputs = self._run([ids[None] for ids in inputs], tasks, "Teacher, documents")
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

    def _run(self, inputs: list[NDArray[Any]], tasks: list[int], title: str) -> NDArray[np.float32]:
        """Run arrays of shape (n, length); all arrays of one task have the same length."""
        if self._memory is None:
            return self._gather(inputs, tasks, title)

        # The arguments are exactly what the result depends on, since the method `cache` of another
        # object may not have the option to ignore some of them.
        def gather(fingerprint: str, inputs: list[NDArray[Any]]) -> NDArray[np.float32]:
            return self._gather(inputs, tasks, title)

        outputs: NDArray[np.float32] = self._memory.cache(gather)(self._fingerprint, inputs)
        return outputs

    def _gather(
        self, inputs: list[NDArray[Any]], tasks: list[int], title: str
    ) -> NDArray[np.float32]:
        keys = [self._key(ids) for ids in inputs]
        values = self._store.get(list(dict.fromkeys(keys)))
        missing: dict[int, dict[bytes, NDArray[Any]]] = {}
        for key, ids, task in zip(keys, inputs, tasks, strict=True):
            if key not in values:
                missing.setdefault(task, {})[key] = ids
        try:
            with closing(self._run_missing(missing, title)) as parts:
                for new in parts:
                    values |= new
        except Exception as error:
            if values and self._store.lasts:
                error.add_note(
                    f"The cache has {len(values)} of the {len(set(keys))} outputs; calling fit "
                    "again runs the teacher on the others only."
                )
            raise
        flat = np.frombuffer(b"".join(values[key] for key in keys), dtype=np.float32)
        return flat.reshape(sum(map(len, inputs)), -1 if inputs else 0)

    def _run_missing(
        self, missing: dict[int, dict[bytes, NDArray[Any]]], title: str
    ) -> Generator[dict[bytes, bytes], None, None]:
        if not missing:
            return
        sizes = {key: ids.size for by_key in missing.values() for key, ids in by_key.items()}
        n_used = n_workers(self._n_jobs)
        with tqdm(
            total=sum(sizes.values()), desc=title, unit="token", disable=not self._progress
        ) as bar:
            # Tasks that another process holds come last: it may finish them in the meantime.
            wait = False
            while missing:
                tasks = sorted(missing, reverse=True)
                n_locks = 1 if wait or not n_used else _LOCKS_AT_ONCE
                for start in range(0, len(tasks), n_locks):
                    some = tasks[start : start + n_locks]
                    for new in self._run_tasks(missing, some, title, n_used, wait=wait):
                        bar.update(sum(sizes[key] for key in new))
                        yield new
                # Two tasks may share a lock, which is free again by now.
                wait = len(missing) == len(tasks)

    def _run_tasks(
        self,
        missing: dict[int, dict[bytes, NDArray[Any]]],
        tasks: list[int],
        title: str,
        n_used: int,
        *,
        wait: bool,
    ) -> Iterator[dict[bytes, bytes]]:
        """Run the tasks that no other process holds, and remove them from `missing`."""
        with ExitStack() as locks:
            left: dict[bytes, NDArray[Any]] = {}
            for task in tasks:
                lock = self._store.lock(f"{self._fingerprint} {title} {task}", wait=wait)
                if not locks.enter_context(lock):
                    continue
                by_key = missing.pop(task)
                done = self._store.get(list(by_key))
                yield done
                left |= {key: ids for key, ids in by_key.items() if key not in done}
            for new in self._run_teacher(left, n_used) if left else ():
                self._store.put(new)
                yield new

    def _run_teacher(
        self, inputs: dict[bytes, NDArray[Any]], n_used: int
    ) -> Iterator[dict[bytes, bytes]]:
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
        return f"{_VERSION} {self._folder.fingerprint()}"

    @cached_property
    def _teacher(self) -> "Teacher":
        teacher: Teacher = import_for_fit("teacher").load_teacher(self._folder, self._device)
        return teacher
