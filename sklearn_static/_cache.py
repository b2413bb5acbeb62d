"""Teacher outputs on disk, so that the next fit need not run the teacher again."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_memory

if TYPE_CHECKING:
    from sklearn_static._teacher import Teacher


def cached_outputs(
    teacher: "Teacher",
    input_ids: NDArray[np.int64],
    *,
    memory: Any,
    batch_size: int,
    progress: bool,
) -> NDArray[np.float32]:
    """Run token ids through the teacher, or load what it gave before.

    Parameters
    ----------
    teacher : Teacher
        Its content is the key, together with `input_ids`: not its name, device or batch size.
    input_ids : ndarray of int64, shape (n_texts, length)
        What to run through it.
    memory : None, "auto", str, os.PathLike or object with the joblib.Memory interface
        None and "auto" store nothing.
    batch_size : int
        Texts per forward pass.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    outputs : ndarray of float32, shape (n_texts, dimension)
        As `Teacher.outputs` gives them.
    """
    if memory is None or memory == "auto":
        return teacher.outputs(input_ids, batch_size=batch_size, progress=progress)
    if isinstance(memory, os.PathLike):
        memory = os.fspath(memory)
    run = check_memory(memory).cache(_run, ignore=["teacher", "batch_size", "progress"])
    outputs: NDArray[np.float32] = run(
        teacher.fingerprint(), input_ids, teacher, batch_size, progress
    )
    return outputs


def _run(
    fingerprint: str,
    input_ids: NDArray[np.int64],
    teacher: "Teacher",
    batch_size: int,
    progress: bool,
) -> NDArray[np.float32]:
    return teacher.outputs(input_ids, batch_size=batch_size, progress=progress)
