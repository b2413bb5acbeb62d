"""Tasks: inputs of the teacher that one process runs while the others leave them to it."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

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


def place_of_token(token: int) -> Place:
    """Assign a token to a task: a block of the vocabulary, whatever tokens are needed."""
    return Place(token // TOKENS_PER_TASK)


def place_of_document(ids: NDArray[Any]) -> Place:
    """Assign a document to a task: documents of one length, which need no padding.

    The longest ones come first: if memory does not suffice, that shows at once, and the time left
    is not underestimated. A batch holds few long documents, so those of one length are divided by a
    hash into about as many tasks as they need batches.
    """
    return Place(-ids.size, crc32(ids.tobytes()) % (1 + ids.size // 16))


def tasks_of(inputs: Iterable[tuple[Place, Any, NDArray[Any]]]) -> list[Task]:
    """Collect inputs in the order in which they are run.

    Parameters
    ----------
    inputs : iterable of (Place, Any, ndarray of int of shape (1, length))
        The task of each input, the key of its output, and its token ids; duplicates have the same
        key.

    Returns
    -------
    tasks : list of Task
        The tasks.
    """
    found: dict[Place, dict[Any, NDArray[Any]]] = {}
    for place, key, ids in inputs:
        found.setdefault(place, {})[key] = ids
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
