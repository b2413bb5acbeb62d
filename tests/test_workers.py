"""The teacher on workers, by a joblib backend that simulates Ray's and Spark's."""

import pickle
import re
import shutil

import joblib
import numpy as np
import pytest
from joblib.parallel import MultiprocessingBackend, register_parallel_backend
from teachers import N_TOKENS, save_logged

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill import workers
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source


class ClusterBackend(MultiprocessingBackend):
    """Local processes; like Ray's and Spark's, it returns all results of a call at once."""

    supports_return_generator = False


@pytest.fixture
def cluster(forks):
    register_parallel_backend("cluster", ClusterBackend)
    return joblib.parallel_config(backend="cluster", n_jobs=2)


@pytest.fixture
def encoder(bert_folder):
    return read_teacher_files(
        Source(str(bert_folder), None, False, True), "auto"
    ).encoder.for_workers()


@pytest.fixture(autouse=True)
def _no_loaded_teacher():
    workers._load.cache_clear()


@pytest.mark.slow
def test_fit_divides_the_inputs(cluster, tmp_path, texts, monkeypatch):
    vectorizer = StaticEmbeddingVectorizer(
        save_logged(tmp_path / "teacher", str(tmp_path / "log")),
        n_components=8,
        distill_on="corpus",
        trust_remote_code=True,
        memory=tmp_path / "cache",
    )
    with cluster:
        monkeypatch.setattr(workers, "_TASKS_PER_WORKER", 2)  # that is, more than one call
        vectors = vectorizer.fit(texts).vectors_
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == N_TOKENS + len(set(texts))
    assert workers._load.cache_info().misses == 0, "it ran in this process"
    alone = vectorizer.set_params(memory=None).fit(texts).vectors_
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


@pytest.mark.parametrize("n_workers", [1, 2, 50])
def test_parts_are_of_about_the_same_size(n_workers):
    sizes = sorted(np.random.default_rng(0).integers(3, 512, 3000).tolist(), reverse=True)
    parts = list(workers._parts(sizes, n_workers))
    assert [i for part in parts for i in range(len(sizes))[part]] == list(range(len(sizes)))
    totals = [sum(sizes[part]) for part in parts]
    assert max(totals) <= workers._MOST_TOKENS
    assert len(parts) >= 4 * n_workers
    assert min(totals[:-1]) > 0.5 * max(totals)


def test_an_input_is_not_divided():
    assert list(workers._parts([], 2)) == []
    assert list(workers._parts([10**6, 5, 10**6], 2)) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert list(workers._parts([3] * 100, 50)) == [slice(0, 100)]


def test_pickled_encoder_is_small(bert_folder):
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto")
    task = pickle.loads(pickle.dumps(files.encoder.for_workers()))
    assert len(pickle.dumps(task)) < 1000
    assert task.fingerprint() == files.encoder.fingerprint()


def test_a_model_of_the_hub_is_sent_with_its_commit(bert_folder, snapshot, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    shutil.copytree(bert_folder, snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = Source("org/tiny", None, False, True)
    task = read_teacher_files(source, "auto").encoder.for_workers()
    assert task.source.revision == "c0ffee"
    assert str(tmp_path).encode() not in pickle.dumps(task)


def test_a_worker_loads_the_teacher_once(encoder):
    ids = [np.full((2, 5), 7), np.full((1, 5), 8), np.full((3, 4), 9)]
    fingerprint = encoder.fingerprint()
    for _ in range(3):
        part, outputs = workers._run(encoder, fingerprint, "cpu", 4, False, slice(0, 3), ids)
        assert part == slice(0, 3)
        assert [output.shape for output in outputs] == [(2, 32), (1, 32), (3, 32)]
    assert workers._load.cache_info().misses == 1


def test_a_worker_with_other_files(encoder, bert_folder, tmp_path):
    with pytest.raises(ValueError, match=r"worker on .* has different files for model=.*torch 2\."):
        workers._run(encoder, "another", None, 4, False, slice(0, 1), [np.full((2, 5), 7)])


def test_a_worker_without_the_files(bert_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bert_folder, copy)
    encoder = read_teacher_files(Source(str(copy), None, False, True), "auto").encoder.for_workers()
    fingerprint = encoder.fingerprint()
    shutil.rmtree(copy)
    message = f"worker on .* has no such teacher: model='{re.escape(str(copy))}' is neither"
    with pytest.raises(OSError, match=message):
        workers._run(encoder, fingerprint, None, 4, False, slice(0, 1), [np.full((2, 5), 7)])
