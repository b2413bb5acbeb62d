"""What n_jobs means, by joblib's active backend."""

import joblib
import pytest
from joblib.parallel import MultiprocessingBackend, register_parallel_backend

from sklearn_static._serve.jobs import n_threads, n_workers


class ClusterBackend(MultiprocessingBackend):
    """Ray's backend is also a subclass of this one."""

    default_n_jobs = -1

    def effective_n_jobs(self, n_jobs):
        return 1000 if n_jobs == -1 else n_jobs or 1


@pytest.fixture
def cluster():
    register_parallel_backend("cluster", ClusterBackend)
    return "cluster"


def test_n_threads_without_a_context():
    assert (n_threads(None), n_threads(1), n_threads(3)) == (1, 1, 3)
    assert n_threads(-1) == joblib.cpu_count()


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing", "sequential"])
def test_a_local_backend_has_no_workers_for_the_teacher(backend):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert n_workers(None) == n_workers(2) == n_workers(-1) == 0
        assert n_threads(None) == joblib.effective_n_jobs(None)
    assert n_workers(2) == 0


def test_the_workers_of_a_cluster_are_not_threads(cluster):
    with joblib.parallel_config(backend=cluster):
        assert n_workers(None) == n_workers(-1) == 1000
        assert (n_workers(1), n_workers(5)) == (0, 5)
        assert (n_threads(None), n_threads(3)) == (1, 3)
        assert n_threads(-1) == joblib.cpu_count()
    with joblib.parallel_config(backend=cluster, n_jobs=7):
        assert n_workers(None) == 7
        assert n_threads(None) == 1
    with joblib.parallel_config(backend=cluster, n_jobs=1):
        assert n_workers(None) == 0
