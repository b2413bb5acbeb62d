"""Running the teacher in this process, or on a cluster by joblib's Dask, Ray or Spark backend."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from platform import node
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from sklearn_static._distill.requirements import import_for_fit, teacher_versions
from sklearn_static._distill.teacher_files import Encoder

if TYPE_CHECKING:
    from sklearn_static._distill.teacher import Teacher

# Number of inputs that are run before they are stored, rounded up to whole batches; these are lost
# if this process dies.
_INPUTS_AT_ONCE = 1024
# Maximum number of tokens of a task, a few seconds on a CPU; these are lost if a worker dies.
_MOST_TOKENS = 16_384
# With fewer tokens, sending a task takes longer than running the teacher.
_FEWEST_TOKENS = 1024
# Enough tasks per worker that all workers finish at about the same time.
_TASKS_PER_WORKER = 4

_loading = Lock()


def run_on_workers(
    encoder: Encoder,
    inputs: Sequence[NDArray[Any]],
    device: str | None,
    batch_size: int,
    n_workers: int,
    *,
    with_states: bool,
) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Divide inputs among the workers of joblib's active backend.

    Parameters
    ----------
    encoder : Encoder
        The teacher; the workers must have the same files and package versions.
    inputs : sequence of ndarray of int, each of shape (n, length)
        Token ids; inputs of equal length should be adjacent.
    device : str or None
        The torch device of each worker.
    batch_size : int
        Inputs per forward pass; fewer if they are long.
    n_workers : int
        Number of workers.
    with_states : bool
        Whether to add the states of the tokens.

    Yields
    ------
    part : slice
        The inputs that a worker has run; parts are in any order.
    outputs : list of ndarray
        The result of `Teacher.outputs` for each.

    Raises
    ------
    OSError
        If a worker does not have the teacher's files.
    ValueError
        If a worker has different files or versions, or if an output is not finite.
    Exception
        The backend's exception if workers died.
    """
    fingerprint, encoder = encoder.fingerprint(), encoder.for_workers()
    tasks = (
        (encoder, fingerprint, device, batch_size, with_states, part, list(inputs[part]))
        for part in _parts([ids.size for ids in inputs], n_workers)
    )
    backend, _ = get_active_backend()
    if hasattr(backend, "client"):
        yield from _run_by_dask(backend, tasks, n_workers)
        return
    # The backends of Ray and Spark return all results of a call at once.
    while some := list(islice(tasks, _TASKS_PER_WORKER * n_workers)):
        yield from Parallel(n_workers, batch_size=1)(delayed(_run)(*task) for task in some)


def _run_by_dask(backend: Any, tasks: Iterator[tuple[Any, ...]], n_workers: int) -> Iterator[Any]:
    """Run tasks by the backend's client, since `Parallel` waits forever for a lost task."""
    from distributed import as_completed

    def submit(some: Iterator[tuple[Any, ...]]) -> None:
        for task in some:
            future = backend.client.submit(_run, *task, pure=False, **backend.submit_kwargs)
            pending.add(future)
            completed.add(future)

    pending: set[Any] = set()
    completed = as_completed()
    try:
        submit(islice(tasks, 2 * n_workers))
        for future in completed:
            pending.remove(future)
            submit(islice(tasks, 1))
            yield future.result()
    finally:
        backend.client.cancel(list(pending))


def run_here(
    teacher: "Teacher", inputs: Sequence[NDArray[Any]], batch_size: int, *, with_states: bool
) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Run inputs in this process.

    Parameters
    ----------
    teacher : Teacher
        The loaded teacher.
    inputs : sequence of ndarray of int, each of shape (n, length)
        Token ids; inputs of equal length should be adjacent.
    batch_size : int
        Inputs per forward pass; fewer if they are long.
    with_states : bool
        Whether to add the states of the tokens.

    Yields
    ------
    part : slice
        The inputs that were run, in order.
    outputs : list of ndarray
        The result of `Teacher.outputs` for each.

    Raises
    ------
    ValueError
        If an output is not finite.
    """
    n_at_once = -(-_INPUTS_AT_ONCE // batch_size) * batch_size
    for start in range(0, len(inputs), n_at_once):
        part = slice(start, start + n_at_once)
        yield part, _outputs(teacher, inputs[part], batch_size, with_states=with_states)


def _outputs(
    teacher: "Teacher", inputs: Sequence[NDArray[Any]], batch_size: int, *, with_states: bool
) -> list[NDArray[Any]]:
    """Run adjacent inputs of equal length together."""
    outputs: list[NDArray[Any]] = []
    for _, group in groupby(inputs, key=lambda ids: ids.shape[1]):
        same = list(group)
        ends = np.cumsum([len(ids) for ids in same])
        joined = teacher.outputs(np.concatenate(same), batch_size, with_states=with_states)
        outputs += np.split(joined, ends[:-1])
    return outputs


def _parts(sizes: Sequence[int], n_workers: int) -> Iterator[slice]:
    """Divide inputs of these numbers of tokens into tasks."""
    fair = sum(sizes) // (_TASKS_PER_WORKER * n_workers)
    limit = max(_FEWEST_TOKENS, min(_MOST_TOKENS, fair))
    start = n_tokens = 0
    for stop, size in enumerate(sizes):
        if stop > start and n_tokens + size > limit:
            yield slice(start, stop)
            start, n_tokens = stop, 0
        n_tokens += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def _run(
    encoder: Encoder,
    fingerprint: str,
    device: str | None,
    batch_size: int,
    with_states: bool,
    part: slice,
    inputs: list[NDArray[Any]],
) -> tuple[slice, list[NDArray[Any]]]:
    """Run one task on a worker."""
    with _loading:  # a worker may have several threads
        teacher = _load(fingerprint, device, encoder)
    return part, _outputs(teacher, inputs, batch_size, with_states=with_states)


@lru_cache(maxsize=1)
def _load(fingerprint: str, device: str | None, encoder: Encoder) -> "Teacher":
    """Load the teacher once per process, after checking that it is the caller's."""
    try:
        found = encoder.fingerprint()
    except OSError as error:
        raise OSError(f"The worker on {node()} has no such teacher: {error}") from error
    if found != fingerprint:
        versions = " and ".join(f"{name} {version}" for name, version in teacher_versions().items())
        raise ValueError(
            f"The worker on {node()} has different files for model={encoder.source.model!r} "
            f"or different package versions than the caller: the worker has {versions}. Both must "
            "be the same on all machines."
        )
    teacher: Teacher = import_for_fit("sklearn_static._distill.teacher").load_teacher(
        encoder, device
    )
    return teacher
