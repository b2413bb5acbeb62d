"""How many threads or workers joblib's settings stand for."""

import sys

from joblib import effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend

# Where joblib keeps the backends of one machine; those of clusters are registered by others.
_LOCAL = "joblib._parallel_backends"


def n_threads(n_jobs: int | None) -> int:
    """Tell how many threads of this process `n_jobs` means.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn.

    Returns
    -------
    n_threads : int
        At least 1. The workers of a cluster do not count: they share no memory.
    """
    if _is_local():
        return int(effective_n_jobs(n_jobs))
    with parallel_config(backend="threading", n_jobs=1):
        return int(effective_n_jobs(n_jobs))


def n_workers(n_jobs: int | None) -> int:
    """Tell among how many workers of a cluster work is to be divided.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn; None is what the active backend says, 1 is this process.

    Returns
    -------
    n_workers : int
        0 for this process: if joblib's active backend is one of a single machine, or if this code
        already runs on a worker, where what is divided is the work around it.
    """
    if _is_local() or _on_dask_worker():
        return 0
    backend, n_in_context = get_active_backend()
    chosen = (n_jobs, n_in_context, backend.default_n_jobs)
    n_chosen = next(n for n in chosen if n is not None)
    return 0 if n_chosen == 1 else int(effective_n_jobs(n_chosen))


def _is_local() -> bool:
    # Not by isinstance: Ray's backend is derived from the one of multiprocessing.
    return type(get_active_backend()[0]).__module__ == _LOCAL


def _on_dask_worker() -> bool:
    """Tell whether this code runs in a task; in it, Dask's backend stays the active one."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
