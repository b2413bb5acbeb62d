"""A teacher whose outputs for tokens and documents are computed once, then taken from a cache."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from sklearn.utils.extmath import row_norms

from sklearn_static._cache import Store, cache_folder
from sklearn_static._distill.corpus import Corpus
from sklearn_static._distill.inputs import Inputs, Joined
from sklearn_static._distill.passages import Passages
from sklearn_static._distill.requirements import import_for_fit, teacher_versions
from sklearn_static._distill.states import StateSums, dimension_of, packed_size, unpack
from sklearn_static._distill.tasks import (
    TOKENS_PER_TASK,
    Place,
    Task,
    grouped,
    place_of_document,
    place_of_token,
    tasks_of,
)
from sklearn_static._distill.teacher_files import Pooling, read_teacher_files
from sklearn_static._distill.token_store import TOKENS_PER_ENTRY, TokenStore
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._distill.workers import run_here, run_on_workers
from sklearn_static._formats.hub import Source
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import composition_of
from sklearn_static._serve.jobs import n_workers
from sklearn_static._serve.original import Original
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

if TYPE_CHECKING:
    from sklearn_static._distill.teacher import Teacher

# Number of outputs that are read from the cache at once; a multiple of those that share an entry.
_KEYS_AT_ONCE = 16 * TOKENS_PER_ENTRY
# Part of every key; to be incremented when the same input would result in another output, or when
# it is stored in another way.
_VERSION = 3
# Poolings for which an output is the mean of the states of the tokens.
_POOLING_WITH_STATES = ("mean",)


class _Values(Protocol):
    """Where outputs are stored: those of documents by hash, those of tokens by row."""

    def get(self, keys: list[Any]) -> dict[Any, bytes]: ...
    def put(self, values: dict[Any, bytes]) -> None: ...


def _accept(dimension: int) -> None:
    """Accept any dimension."""


@dataclass(frozen=True)
class _Request:
    """Inputs of the teacher, each an array of shape (1, length).

    Attributes
    ----------
    title : str
        The title of the progress bar and of the locks.
    arrays : Joined or ndarray of int
        The token ids of each input.
    keys : list
        The key of each input in `values`.
    place_of : callable
        Returns the task of an input, given its key and its token ids.
    values : Store or TokenStore
        Where the outputs are stored.
    n_at_once : int
        Number of inputs up to which tasks are run together.
    check : callable
        Raises if the dimension is too small; called as soon as that is known.
    with_states : bool
        Whether the outputs are stored with the states of the tokens.
    """

    title: str
    arrays: Joined | NDArray[Any]
    keys: list[Any]
    place_of: Callable[[Any, NDArray[Any]], Place]
    values: _Values
    n_at_once: int
    check: Callable[[int], None]
    with_states: bool = False


class CachedTeacher:
    """A teacher that runs each input only once as long as its outputs are cached.

    Its weights are loaded when they are first needed.

    Parameters
    ----------
    source : Source
        Where the teacher's files are.
    pooling : {"auto", "mean", "cls", "last"}
        How its outputs are pooled into one vector.
    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface
        Where the outputs are cached.
    device : str or None
        The torch device; None takes the best available.
    batch_size : int
        Inputs per forward pass; fewer if they are long.
    progress : bool
        Whether to show a progress bar on standard error.
    n_jobs : int or None, default=None
        Number of workers among which to divide the inputs if joblib's active backend is that of a
        cluster; None takes the backend's default.
    prompt : str or None, default=None
        The name of one of the teacher's prompts, or any other text, which is put before every
        document; None takes its default prompt.

    Attributes
    ----------
    vocabulary : Vocabulary
        The tokens that can occur in a document.

    Raises
    ------
    OSError
        If there is no such model or a file is missing.
    ValueError
        If the model is of an unsupported kind.
    ImportError
        If torch or transformers is not installed.
    """

    def __init__(
        self,
        source: Source,
        pooling: Pooling,
        *,
        memory: Any,
        device: str | None,
        batch_size: int,
        progress: bool,
        n_jobs: int | None = None,
        prompt: str | None = None,
    ) -> None:
        files = read_teacher_files(source, pooling, prompt)
        teacher_versions()  # raises before the documents are read
        self.vocabulary: Vocabulary = usable_tokens(Original.from_tokenizer(files.tokenizer))
        self._inputs = Inputs(files, self.vocabulary)
        self._encoder = files.encoder
        self._device = device
        self._batch_size = batch_size
        self._progress = progress
        self._n_jobs = n_jobs
        self._store = Store(cache_folder(memory))
        # Another object with the joblib.Memory interface stores outputs itself.
        is_other = hasattr(memory, "cache") and not isinstance(memory, Memory)
        self._memory = memory if is_other else None
        self._n_run = 0
        self._seconds_run = 0.0
        self._n_bytes = 0  # of all outputs that were asked for
        self._has_warned = False  # that the cache is too small for these

    @cached_property
    def tokenizer(self) -> FastTokenizer:
        """The tokenizer; the engine's equivalent of it, if there is one."""
        return FastTokenizer(self.vocabulary, composition_of(self.vocabulary.original))

    @property
    def max_document_tokens(self) -> int | None:
        """Number of a document's own tokens that the teacher reads; None means all."""
        return self._inputs.max_document_tokens

    def token_outputs(
        self, tokens: NDArray[np.integer[Any]], check: Callable[[int], None] = _accept
    ) -> NDArray[np.float32]:
        """Run the teacher on tokens, each alone in the tokenizer's template.

        Parameters
        ----------
        tokens : ndarray of int, shape (n_tokens,)
            Rows of the teacher's vocabulary, in ascending order.
        check : callable, optional
            Called with the dimension as soon as that is known; raises if it is too small.

        Returns
        -------
        outputs : ndarray of float32, shape (n_tokens, dimension)
            The pooled outputs after the dense layers, not normalized.
        """
        # Blocks of which few tokens are missing are run together.
        request = _Request(
            "Teacher, vocabulary",
            self._token_ids[tokens][:, None],
            tokens.tolist(),
            lambda token, _: place_of_token(token),
            self._token_store,
            max(TOKENS_PER_TASK, self._batch_size),
            check,
        )
        outputs, _ = self._run(request)
        return self._owned(outputs)

    @cached_property
    def _token_ids(self) -> NDArray[np.int64]:
        return self._inputs.of_vocabulary()

    @cached_property
    def _token_store(self) -> TokenStore:
        ids, n = self._token_ids, TOKENS_PER_ENTRY
        keys = [self._key(ids[i : i + n]) for i in range(0, len(ids), n)]
        return TokenStore(self._store, keys)

    def document_inputs(
        self, corpus: Corpus, max_tokens: int | None
    ) -> tuple[Joined, NDArray[np.int64], Passages]:
        """Choose what the teacher reads of the documents, and convert it to its inputs.

        Parameters
        ----------
        corpus : Corpus
            The documents and their tokens.
        max_tokens : int or None
            The maximum number of tokens that the teacher reads; None sets no limit.

        Returns
        -------
        inputs : Joined
            The different inputs, as many as `max_tokens` allows, at least one.
        numbers : ndarray of int64, shape (n_passages,)
            The number of each passage's input.
        passages : Passages
            What is read: whole documents, or passages if the limit does not suffice for these.

        Raises
        ------
        ValueError
            If the teacher excludes its prompt from the pooling, or truncates long documents at
            their beginning.
        """
        return self._inputs.of_documents(corpus, max_tokens)

    def embeddings(
        self, inputs: Joined, check: Callable[[int], None] = _accept
    ) -> tuple[NDArray[np.float32], StateSums | None]:
        """Run the teacher on documents.

        Parameters
        ----------
        inputs : Joined
            The inputs, all of them different.
        check : callable, optional
            Called with the dimension as soon as that is known; raises if it is too small.

        Returns
        -------
        embeddings : ndarray of float32, shape (n_documents, dimension)
            The outputs, scaled to unit length.
        states : StateSums or None
            The states of the tokens in different inputs, each input scaled likewise; None if the
            embedding is not their mean.
        """
        self._n_run, self._seconds_run = 0, 0.0
        outputs, states = self._run(
            _Request(
                "Teacher, documents",
                inputs,
                list(map(self._key, inputs)),
                lambda _, ids: place_of_document(ids),
                self._store,
                1,
                check,
                self._encoder.pooling == _POOLING_WITH_STATES,
            )
        )
        embeddings = self._owned(outputs)
        embeddings /= _lengths(embeddings)
        return embeddings, states and replace(states)  # its sums are freed

    def _owned(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return outputs that may be changed in place, since copies may take much memory."""
        return outputs if self._memory is None else outputs.copy()

    def duration(self, n_inputs: int) -> str:
        """Estimate the time for further inputs from those that were run.

        Parameters
        ----------
        n_inputs : int
            The number of further inputs.

        Returns
        -------
        clause : str
            A clause like "; the others would take about 5 min"; empty if no document was run.
        """
        if not self._n_run:
            return ""
        seconds = self._seconds_run / self._n_run * n_inputs
        span = f"{seconds / 60:.0f} min" if seconds > 100 else f"{seconds:.0f} s"
        return f"; the others would take about {span}"

    def _run(self, request: _Request) -> tuple[NDArray[np.float32], StateSums | None]:
        if self._memory is None:
            return self._gather(request)

        # The arguments are exactly what the result depends on, since the method `cache` of another
        # object may not have the option to ignore some of them.
        def gather(fingerprint: str, arrays: Any) -> tuple[NDArray[np.float32], StateSums | None]:
            return self._gather(request)

        result: tuple[NDArray[np.float32], StateSums | None] = self._memory.cache(gather)(
            self._fingerprint, request.arrays
        )
        request.check(result[0].shape[1])
        return result

    def _gather(self, request: _Request) -> tuple[NDArray[np.float32], StateSums | None]:
        outputs = _Outputs(request)
        for start in range(0, len(request.keys), _KEYS_AT_ONCE):
            some = request.keys[start : start + _KEYS_AT_ONCE]
            outputs.fill(start, request.values.get(some))
        outputs.warn_of_damage()
        arrays, place_of = request.arrays, request.place_of
        missing = outputs.missing.items()
        tasks = tasks_of((place_of(key, arrays[i]), key, arrays[i]) for key, i in missing)
        try:
            with closing(self._run_all(tasks, outputs.damaged, request)) as parts:
                for new in parts:
                    outputs.add(new)
        except Exception as error:
            n_cached = len(request.keys) - len(outputs.missing)
            if n_cached and self._store.lasts:
                error.add_note(
                    f"The cache has {n_cached} of the {len(request.keys)} outputs; calling "
                    "fit again runs the teacher on the others only."
                )
            raise
        self._n_bytes += outputs.n_bytes
        if tasks and not self._has_warned:
            self._has_warned = self._store.is_too_small(self._n_bytes)
        return outputs.array, outputs.states

    def _run_all(
        self, tasks: list[Task], damaged: set[Any], request: _Request
    ) -> Generator[dict[Any, bytes], None, None]:
        if not tasks:
            return
        tqdm = import_for_fit("tqdm.auto").tqdm
        sizes = {key: ids.size for task in tasks for key, ids in task.inputs.items()}
        n_used = n_workers(self._n_jobs)
        n_at_once = len(sizes) if n_used else request.n_at_once
        with tqdm(
            total=sum(sizes.values()), desc=request.title, unit="token", disable=not self._progress
        ) as bar:
            # Tasks that another process holds come last: it may finish them in the meantime.
            wait = False
            while tasks:
                held: list[Task] = []
                # A process that waits for a lock must not hold another one.
                for group in grouped(tasks, 0 if wait else n_at_once):
                    for new in self._run_group(group, held, damaged, request, n_used, wait=wait):
                        bar.update(sum(sizes[key] for key in new))
                        yield new
                # Two tasks may share a lock, which is free again by now.
                wait = len(held) == len(tasks)
                tasks = held

    def _run_group(
        self,
        tasks: list[Task],
        held: list[Task],
        damaged: set[Any],
        request: _Request,
        n_used: int,
        *,
        wait: bool,
    ) -> Iterator[dict[Any, bytes]]:
        """Run tasks, except those that another process holds, which are added to `held`."""
        with ExitStack() as locks:
            left: dict[Any, NDArray[Any]] = {}
            for task in tasks:
                order, part = task.place
                name = f"{self._fingerprint} {request.title} {order} {part}"
                if not locks.enter_context(self._store.lock(name, wait=wait)):
                    held.append(task)
                    continue
                done = request.values.get([key for key in task.inputs if key not in damaged])
                yield done
                left |= task.without(done).inputs
            for new in self._run_teacher(left, n_used, request) if left else ():
                request.values.put(new)
                yield new

    def _run_teacher(
        self, inputs: dict[Any, NDArray[Any]], n_used: int, request: _Request
    ) -> Iterator[dict[Any, bytes]]:
        keys, arrays = list(inputs), list(inputs.values())
        size, with_states = self._batch_size, request.with_states
        if not n_used:
            parts = run_here(self._teacher, arrays, size, with_states=with_states)
        else:
            parts = run_on_workers(
                self._encoder, arrays, self._device, size, n_used, with_states=with_states
            )
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
        return f"{_VERSION} {self._encoder.fingerprint() if is_shared else ''}"

    @cached_property
    def _teacher(self) -> "Teacher":
        teacher: Teacher = import_for_fit("sklearn_static._distill.teacher").load_teacher(
            self._encoder, self._device
        )
        return teacher


class _Outputs:
    """The outputs of a request, collected in one array, and the sums of the tokens' states.

    Parameters
    ----------
    request : _Request
        The request.

    Attributes
    ----------
    array : ndarray of float32, shape (n_inputs, dimension)
        The outputs; undefined where they are missing.
    states : StateSums or None
        The states of the inputs whose outputs are there; None if they are not stored.
    missing : dict of Any to int
        The number of the input of each key whose output is missing.
    damaged : set
        The keys whose cached output no teacher gives: of another size, or not finite.
    """

    def __init__(self, request: _Request) -> None:
        self._keys = request.keys
        self._check = request.check
        self._inputs = request.arrays
        self._lengths = [ids.size for ids in request.arrays]
        self.array: NDArray[np.float32] = np.empty((len(self._keys), 0), dtype=np.float32)
        self.states = StateSums.of(self._inputs) if request.with_states else None
        self.missing: dict[Any, int] = {}
        self.damaged: set[Any] = set()

    @property
    def n_bytes(self) -> int:
        """Number of bytes of all values."""
        n_inputs, dimension = self.array.shape
        return sum(packed_size(dimension, self._n_states(i)) for i in range(n_inputs))

    def fill(self, start: int, values: dict[Any, bytes]) -> None:
        """Take cached outputs of the next keys; those that are not there are missing."""
        keys = enumerate(self._keys[start : start + _KEYS_AT_ONCE], start)
        numbers = {key: i for i, key in keys}
        if not self.array.shape[1]:
            found = Counter(self._dimension(numbers[key], value) for key, value in values.items())
            del found[0]
            if found:
                self._allocate(max(found, key=lambda dimension: (found[dimension], dimension)))
        damaged = self._take(numbers, values)
        for key, i in numbers.items():
            if key not in values or key in damaged:
                self.missing[key] = i
        self.damaged |= damaged

    def add(self, values: dict[Any, bytes]) -> None:
        """Take outputs that were missing."""
        numbers = {key: self.missing.pop(key) for key in values}
        for key, i in numbers.items():
            dimension = self._dimension(i, values[key])
            if not self.array.shape[1]:
                self._allocate(dimension)
            if dimension != self.array.shape[1]:
                raise ValueError(
                    f"The cache has outputs of {self.array.shape[1]} numbers, but the teacher's "
                    f"have {dimension}; reset the cache with sklearn_static.clear_cache()."
                )
        self._take(numbers, values)

    def _take(self, numbers: dict[Any, int], values: dict[Any, bytes]) -> set[Any]:
        """Take values that can be an output; return the keys of the others."""
        size = self.array.shape[1]
        same: dict[int, list[Any]] = {}  # the keys of values of each size
        damaged = set()
        for key, value in values.items():
            if size and self._dimension(numbers[key], value) == size:
                same.setdefault(len(value), []).append(key)
            else:
                damaged.add(key)
        ids: list[NDArray[Any]] = []
        codes, scales = [], []
        for keys in same.values():
            joined = np.frombuffer(b"".join([values[key] for key in keys]), dtype=np.uint8)
            outputs, some_scales, some_codes = unpack(joined.reshape(len(keys), -1), size)
            finite = np.flatnonzero(
                np.isfinite(outputs).all(axis=1) & np.isfinite(some_scales).all(axis=1)
            )
            damaged |= set(keys) - {keys[i] for i in finite}
            rows = np.array([numbers[keys[i]] for i in finite], dtype=np.int64)
            self.array[rows] = outputs[finite]
            if self.states is not None:
                ids += [self._inputs[i].ravel() for i in rows]
                codes.append(some_codes[finite].reshape(-1, size))
                scales.append((some_scales[finite] / _lengths(outputs[finite])).ravel())
        if self.states is not None and ids:
            self.states.add(np.concatenate(ids), np.concatenate(codes), np.concatenate(scales))
        return damaged

    def _dimension(self, i: int, value: bytes) -> int:
        """Return the dimension of the output in a value for this input; 0 if it is damaged."""
        return dimension_of(len(value), self._n_states(i))

    def _n_states(self, i: int) -> int:
        """Return the number of states that are stored with the output of an input."""
        return 0 if self.states is None else self._lengths[i]

    def warn_of_damage(self) -> None:
        """Warn about outputs that the teacher must compute again."""
        if self.damaged:
            warn(
                f"The cache has {len(self.damaged)} damaged outputs of the teacher, which runs "
                "again for these. If this happens again, sklearn_static.clear_cache() resets the "
                "cache."
            )

    def _allocate(self, dimension: int) -> None:
        self._check(dimension)
        self.array = np.empty((len(self._keys), dimension), dtype=np.float32)
        if self.states is not None:
            self.states.allocate(dimension)


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a column of the lengths by which to divide vectors; 1 for zero vectors."""
    lengths: NDArray[np.float32] = row_norms(vectors)[:, None]
    lengths[lengths == 0] = 1
    return lengths
