"""The teacher's outputs for tokens and documents, from the cache where it has them."""

import hashlib
import time
from collections.abc import Sequence
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

if TYPE_CHECKING:
    from sklearn_static._distill.teacher import Teacher

# Part of every key: to be raised when the same input would give another output.
_VERSION = 1
# The vocabulary is kept and worked on by blocks of tokens, since all of it is wanted together.
_BLOCK = 1024
# So many documents are stored at once; as much is lost when a process dies.
_STORED_AT_ONCE = 512


class Outputs:
    """A teacher that runs each input once, as long as its cache lasts.

    Parameters
    ----------
    folder : Folder
        The teacher; its weights are loaded when they are first needed.
    inputs : Inputs
        What it reads.
    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface
        Where the outputs are kept.
    device : str or None
        The torch device; None takes the best available.
    batch_size : int
        Documents per forward pass.
    progress : bool
        Whether to show a progress bar on standard error.
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
    ) -> None:
        self._folder = folder
        self.inputs = inputs
        self._device = device
        self._batch_size = batch_size
        self._progress = progress
        folder_of_cache = cache_folder(memory)
        self._store = Store(folder_of_cache)
        # An object that keeps things in its own way.
        own_way = folder_of_cache is None and not isinstance(memory, Memory)
        self._memory = memory if own_way else None
        self._n_run = 0
        self._seconds_run = 0.0

    def find_dimension(self) -> int:
        """Run the first block of tokens to find the number of dimensions of an output.

        Returns
        -------
        dimension : int
            Known for the whole vocabulary before the rest of it is run.
        """
        return int(self._first_block.shape[1])

    @cached_property
    def _first_block(self) -> NDArray[np.float32]:
        return self._run_blocks(0, 1)

    def of_vocabulary(self) -> NDArray[np.float32]:
        """Run every token, alone in the tokenizer's template.

        Returns
        -------
        outputs : ndarray of float32, shape (n_tokens, dimension)
            Pooled and after the dense layers, not normalized.
        """
        first, rest = self._first_block, self._run_blocks(1, None)
        return np.concatenate([first, rest.reshape(-1, first.shape[1])])

    @cached_property
    def _blocks(self) -> list[NDArray[np.int64]]:
        input_ids = self.inputs.of_vocabulary()
        return [input_ids[i : i + _BLOCK] for i in range(0, len(input_ids), _BLOCK)]

    def _run_blocks(self, start: int, stop: int | None) -> NDArray[np.float32]:
        # Each block is a work of its own, so that processes share the vocabulary.
        works = list(range(len(self._blocks)))
        return self._run(self._blocks[start:stop], works[start:stop], "Teacher, vocabulary")

    def of_documents(self, inputs: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Run documents.

        Parameters
        ----------
        inputs : sequence of ndarray of int32
            As `Inputs.of_documents` gives them.

        Returns
        -------
        embeddings : ndarray of float32, shape (n_documents, dimension)
            Scaled to unit length.
        """
        # Documents of one length need no padding and fill a batch; of long ones, few do.
        works = [len(ids) * 1000 + crc32(ids.tobytes()) % (1 + len(ids) // 16) for ids in inputs]
        self._n_run, self._seconds_run = 0, 0.0
        outputs = self._run([ids[None] for ids in inputs], works, "Teacher, documents")
        lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        embeddings: NDArray[np.float32] = outputs / lengths
        return embeddings

    def duration(self, n_documents: int) -> str:
        """Say how long documents would take, by those that were run.

        Parameters
        ----------
        n_documents : int
            How many documents.

        Returns
        -------
        clause : str
            Something like "; the others would take about 5 min". Empty if none was run.
        """
        if not self._n_run:
            return ""
        seconds = self._seconds_run / self._n_run * n_documents
        span = f"{seconds / 60:.0f} min" if seconds > 100 else f"{seconds:.0f} s"
        return f"; the others would take about {span}"

    def _run(self, inputs: list[NDArray[Any]], works: list[int], title: str) -> NDArray[np.float32]:
        """Run arrays of shape (n, length); all those of one work have the same length."""
        if self._memory is None:
            return self._gather(inputs, works, title)

        # The arguments are all that the result depends on, since the method `cache` of any object
        # may take no word on which of them to ignore.
        def gather(fingerprint: str, inputs: list[NDArray[Any]]) -> NDArray[np.float32]:
            return self._gather(inputs, works, title)

        outputs: NDArray[np.float32] = self._memory.cache(gather)(self._fingerprint, inputs)
        return outputs

    def _gather(
        self, inputs: list[NDArray[Any]], works: list[int], title: str
    ) -> NDArray[np.float32]:
        keys = [self._key(ids) for ids in inputs]
        values = self._store.get(list(dict.fromkeys(keys)))
        missing: dict[int, dict[bytes, NDArray[Any]]] = {}
        for key, ids, work in zip(keys, inputs, works, strict=True):
            if key not in values:
                missing.setdefault(work, {})[key] = ids
        if missing:
            values |= self._run_missing(missing, title)
        flat = np.frombuffer(b"".join(values[key] for key in keys), dtype=np.float32)
        return flat.reshape(sum(map(len, inputs)), -1 if inputs else 0)

    def _run_missing(
        self, missing: dict[int, dict[bytes, NDArray[Any]]], title: str
    ) -> dict[bytes, bytes]:
        values: dict[bytes, bytes] = {}
        n_tokens = sum(ids.size for work in missing.values() for ids in work.values())
        with tqdm(total=n_tokens, desc=title, unit="token", disable=not self._progress) as bar:
            # First what nobody else is at, then what is left of what others were at.
            for wait in (False, True):
                for work in sorted(missing, reverse=True):
                    name = f"{self._fingerprint} {title} {work}"
                    with self._store.lock(name, wait=wait) as held:
                        if not held:
                            continue
                        by_key = missing.pop(work)
                        done = self._store.get(list(by_key))
                        bar.update(sum(by_key[key].size for key in done))
                        values |= done
                        left = [(k, ids) for k, ids in by_key.items() if k not in done]
                        for start in range(0, len(left), _STORED_AT_ONCE):
                            some = dict(left[start : start + _STORED_AT_ONCE])
                            new = self._run_teacher(some)
                            self._store.put(new)
                            values |= new
                            bar.update(sum(ids.size for ids in some.values()))
        return values

    def _run_teacher(self, inputs: dict[bytes, NDArray[Any]]) -> dict[bytes, bytes]:
        teacher = self._teacher
        start = time.perf_counter()
        outputs = teacher.outputs(np.concatenate(list(inputs.values())), self._batch_size)
        self._seconds_run += time.perf_counter() - start
        self._n_run += len(outputs)
        ends = np.cumsum([len(ids) for ids in inputs.values()])
        parts = np.split(outputs, ends[:-1])
        return {key: part.tobytes() for key, part in zip(inputs, parts, strict=True)}

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
