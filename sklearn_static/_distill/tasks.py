"""Tasks: inputs of the teacher that one process runs while the others leave them to it."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.token_store import TOKENS_PER_ENTRY

# Number of adjacent tokens of a vocabulary that one process runs; a multiple of those that share
# an entry of the cache.
TOKENS_PER_TASK = 16 * TOKENS_PER_ENTRY
# Maximum number of tasks that are run at once; each holds a lock, which is an open file.
_TASKS_AT_ONCE = 100


class Place(NamedTuple):
    """Where a task is in the order in which tasks are run, the same in all processes."""

    order: int
    part: int = 0


@dataclass(frozen=True)
class Task:
    """Inputs of one length.

    Attributes
    ----------
    place : Place
        Its place, which also names its lock.
    inputs : dict of Any to ndarray of int, shape (1, length)
        The token ids of each input by the key of its output.
    """

    place: Place
    inputs: dict[Any, NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.inputs)

    def without(self, keys: Container[Any]) -> "Task":
        """Leave out inputs whose outputs are there."""
        return Task(self.place, {key: ids for key, ids in self.inputs.items() if key not in keys})


def places_of_tokens(tokens: NDArray[np.integer[Any]]) -> list[Place]:
    """Assign tokens to tasks: a block of the vocabulary each, whatever tokens are needed."""
    return [Place(block) for block in (tokens // TOKENS_PER_TASK).tolist()]


def places_of_documents(inputs: Iterable[NDArray[Any]]) -> list[Place]:
    """Assign documents to tasks: documents of one length, which need no padding.

    The longest ones come first: if memory does not suffice, that shows at once, and the time left
    is not underestimated. A batch holds few long documents, so those of one length are divided by a
    hash into about as many tasks as they need batches.
    """
    return [Place(-len(ids), crc32(ids.tobytes()) % (1 + len(ids) // 16)) for ids in inputs]


def tasks_of(
    places: Sequence[Place],
    keys: Sequence[Any],
    inputs: Sequence[NDArray[Any]] | NDArray[Any],
    done: Container[Any],
) -> list[Task]:
    """Collect the inputs that have no output yet, in the order in which they are run.

    Parameters
    ----------
    places : sequence of Place of length n_inputs
        The task of each input.
    keys : sequence of length n_inputs
        The key of each input's output; duplicates have the same key.
    inputs : sequence of ndarray of int, each of shape (1, length)
        The token ids.
    done : container
        The keys of the outputs that are there.

    Returns
    -------
    tasks : list of Task
        The tasks.
    """
    found: dict[Place, dict[Any, NDArray[Any]]] = {}
    for i, key in enumerate(keys):
        if key not in done:
            found.setdefault(places[i], {})[key] = inputs[i]
    return [Task(place, found[place]) for place in sorted(found)]


def grouped(tasks: Iterable[Task], n_at_once: int) -> Iterator[list[Task]]:
    """Divide tasks into groups of at most `n_at_once` inputs, or of one larger task."""
    group: list[Task] = []
    n_inputs = 0
    for task in tasks:
        if group and (n_inputs + len(task) > n_at_once or len(group) == _TASKS_AT_ONCE):
            yield group
            group, n_inputs = [], 0
        group.append(task)
        n_inputs += len(task)
    if group:
        yield group
