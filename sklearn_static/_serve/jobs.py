"""The number of threads or workers that joblib's settings mean."""

import sys

from joblib import effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend

# The module of joblib's single-machine backends; other packages register those of clusters.
_LOCAL = "joblib._parallel_backends"


def n_threads(n_jobs: int | None) -> int:
    """Determine the number of threads of this process that `n_jobs` means.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn.

    Returns
    -------
    n_threads : int
        At least 1. Workers of a cluster are not counted, since they share no memory.
    """
    if _is_local():
        return int(effective_n_jobs(n_jobs))
    with parallel_config(backend="threading", n_jobs=1):
        return int(effective_n_jobs(n_jobs))


def n_workers(n_jobs: int | None) -> int:
    """Determine the number of cluster workers among which to divide work.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn; None takes the default of the active backend, 1 means this process.

    Returns
    -------
    n_workers : int
        0 to stay in this process: if joblib's active backend is that of a single machine, or if
        this code already runs on a worker, where the surrounding work is what is divided.
    """
    if _is_local() or _on_dask_worker():
        return 0
    backend, n_in_context = get_active_backend()
    chosen = (n_jobs, n_in_context, backend.default_n_jobs)
    n_chosen = next(n for n in chosen if n is not None)
    return 0 if n_chosen == 1 else int(effective_n_jobs(n_chosen))


def _is_local() -> bool:
    # Not by isinstance: Ray's backend is a subclass of the multiprocessing one.
    return type(get_active_backend()[0]).__module__ == _LOCAL


def _on_dask_worker() -> bool:
    """Whether this code runs in a Dask task, in which Dask's backend stays active."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
