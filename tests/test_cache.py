"""The teacher runs once, in one process and in several, even if the disk fails."""

import os
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from fresh import run
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import N_TOKENS, save_logged, save_sentence_transformer

from sklearn_static import StaticEmbeddingVectorizer, cache_size, clear_cache
from sklearn_static._cache import Store, _seal, cache_folder
from sklearn_static._distill import cached_teacher, tasks
from sklearn_static._distill.teacher import Teacher
from sklearn_static._distill.token_store import TOKENS_PER_ENTRY


@pytest.fixture
def vectorizer(bert_folder, tmp_path) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, memory=tmp_path / "cache")


@pytest.fixture
def log(tmp_path) -> Path:
    """The log of the inputs on which a logged teacher is run."""
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture
def logged(log, tmp_path) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(
        save_logged(tmp_path / "logged", str(log)),
        n_components=8,
        trust_remote_code=True,
        memory=tmp_path / "cache",
    )


def runs(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines())


@pytest.mark.parametrize("wrap", [Path, str, lambda p: joblib.Memory(p, verbose=0)])
@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
def test_a_second_fit_does_not_run_the_teacher(distill_on, wrap, logged, log, texts, tmp_path):
    logged.set_params(memory=wrap(tmp_path / "cache"), distill_on=distill_on)
    first = logged.fit(texts).vectors_
    once = runs(log)
    assert set(once.values()) == {1}
    assert len(once) == N_TOKENS + (len(set(texts)) if distill_on == "corpus" else 0)
    again = logged.set_params(batch_size=7).fit(texts).vectors_
    assert runs(log) == once
    np.testing.assert_array_equal(first, again)


def test_any_object_with_the_interface_of_joblib_memory(logged, log, texts, tmp_path):
    class Memory:
        def __init__(self) -> None:
            self.cache = joblib.Memory(tmp_path, verbose=0).cache

    logged.set_params(memory=Memory(), distill_on="corpus").fit(texts)
    once = runs(log)
    logged.fit(texts)
    assert runs(log) == once


def test_without_memory_each_fit_runs_each_input_once(logged, log, texts, tmp_path):
    logged.set_params(memory=None, distill_on="corpus").fit(texts)
    assert set(runs(log).values()) == {1}
    logged.fit(texts)
    assert set(runs(log).values()) == {2}
    assert not (tmp_path / "cache").exists()


def test_only_documents_that_are_not_cached_are_run(logged, log, texts):
    logged.set_params(distill_on="corpus").fit(texts[:80])
    first = runs(log)
    logged.fit(texts[20:100])
    new = runs(log) - first
    assert len(new) == len(set(texts[:100])) - len(set(texts[:80]))


def test_each_prompt_has_its_own_outputs(logged, log, texts):
    """Of documents only: tokens are read without a prompt."""
    n_documents = len(set(texts))
    for prompt, n_new in (("", N_TOKENS + n_documents), ("query: ", n_documents), ("", 0)):
        before = runs(log).total()
        logged.set_params(distill_on="corpus", prompt=prompt).fit(texts)
        assert runs(log).total() - before == n_new


class TestTokens:
    """Each token has an output of its own in the cache, whatever min_df selects."""

    @pytest.fixture(autouse=True)
    def many_tasks(self, monkeypatch):
        for module in (tasks, cached_teacher):
            monkeypatch.setattr(module, "TOKENS_PER_TASK", TOKENS_PER_ENTRY)

    @pytest.fixture
    def batches(self, monkeypatch) -> list[int]:
        """The number of inputs in each forward pass."""
        sizes = []
        forward = Teacher._forward

        def counted(self, input_ids, **options):
            sizes.append(len(input_ids))
            return forward(self, input_ids, **options)

        monkeypatch.setattr(Teacher, "_forward", counted)
        return sizes

    def test_only_tokens_that_are_not_cached_are_run(self, logged, log, texts):
        logged.set_params(min_df=1)
        for documents in (texts[:2], texts[1:4], texts[:40]):
            logged.fit(documents)
            assert set(runs(log).values()) == {1}
        assert len(runs(log)) == len(logged.table_.vocabulary) < N_TOKENS
        few = logged.vectors_
        logged.set_params(min_df=0).fit(texts)
        assert set(runs(log).values()) == {1}
        assert len(runs(log)) == N_TOKENS
        logged.set_params(min_df=1, memory=None).fit(texts[:40])
        np.testing.assert_allclose(logged.vectors_, few, atol=1e-5)

    def test_the_teacher_gets_full_batches(self, logged, texts, batches):
        logged.set_params(min_df=1, batch_size=64)
        logged.fit(texts[:1])
        n_first = len(logged.table_.vocabulary)
        batches.clear()
        logged.fit(texts[:3])
        n_missing = len(logged.table_.vocabulary) - n_first
        assert 64 < sum(batches) == n_missing < 128
        # They are in 7 blocks, which are run together as long as they are a batch at most.
        assert len(batches) <= 3

    def test_batches_may_be_larger_than_blocks(self, logged, batches):
        logged.set_params(batch_size=200).fit(["a"])
        assert max(batches) == 3 * 64

    def test_the_whole_vocabulary_runs_block_by_block(self, logged, batches):
        """So that its outputs are the same bits, whether or not the last block is full."""
        logged.set_params(batch_size=50, min_df=0).fit(["a"])
        whole, rest = divmod(N_TOKENS, 64)
        assert sorted(batches) == sorted([50, 14] * whole + [rest])

    @pytest.mark.slow
    def test_threads_with_other_documents_share_the_work(self, logged, log, texts, monkeypatch):
        monkeypatch.setenv("SECONDS", "0.05")
        vectorizers = [clone(logged).set_params(min_df=1, batch_size=8) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            parts = [texts[i::4] for i in range(4)]
            fitted = list(pool.map(lambda v, part: v.fit(part), vectorizers, parts))
        assert set(runs(log).values()) == {1}
        assert len(runs(log)) == len(set().union(*(v.vocabulary_ for v in fitted)))


def test_settings_of_later_steps_reuse_the_outputs(logged, log):
    logged.fit(["a"])
    once = runs(log)
    for settings in ({"n_components": 4}, {"sif_coefficient": None}, {"quantize": "int8"}):
        logged.set_params(**settings).fit(["a"])
    assert runs(log) == once
    logged.set_params(pooling="cls").fit(["a"])
    assert runs(log) == once + once


def test_changed_weights_under_the_same_path_are_noticed(vectorizer, tmp_path):
    folder = save_sentence_transformer("bert", tmp_path / "teacher")
    before = vectorizer.set_params(model=folder).fit(["a"]).vectors_
    file = folder / "model.safetensors"
    status = file.stat()
    weights = load_file(file)
    weights["embeddings.word_embeddings.weight"][7] *= -1
    save_file(weights, file, {"format": "pt"})
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not np.allclose(vectorizer.fit(["a"]).vectors_, before)


@pytest.mark.slow
def test_a_grid_search_runs_each_token_and_each_document_once(logged, log, texts, tmp_path, forks):
    """In two processes, over all candidates and folds; a second search runs nothing.

    A third, with another cache, is over selections of tokens.
    """
    labels = ["list" in text for text in texts]
    search = GridSearchCV(
        make_pipeline(logged, LogisticRegression()),
        {
            "staticembeddingvectorizer__n_components": [4, 8],
            "staticembeddingvectorizer__distill_on": ["vocabulary", "corpus"],
            "logisticregression__C": [1, 10],
        },
        cv=3,
        n_jobs=2,
    )
    with joblib.parallel_config(backend="multiprocessing"):
        search.fit(texts, labels)
        once = runs(log)
        assert set(once.values()) == {1}
        assert len(once) == N_TOKENS + len(set(texts))
        search.fit(texts, labels)
        assert runs(log) == once

    log.write_text("")
    logged.set_params(min_df=1, memory=tmp_path / "another")
    search = GridSearchCV(
        make_pipeline(logged, LogisticRegression()),
        {"staticembeddingvectorizer__min_df": [1, 2, 0.05, 0]},
        cv=3,
        n_jobs=2,
    )
    with joblib.parallel_config(backend="multiprocessing"):
        search.fit(texts, labels)
    assert set(runs(log).values()) == {1}
    assert len(runs(log)) == N_TOKENS


@pytest.mark.slow
def test_killed_process_leaves_no_lock_and_no_partial_entry(logged, log, texts, tmp_path):
    code = f"""
import os, threading, time
from pathlib import Path
from sklearn_static import StaticEmbeddingVectorizer
def kill():
    while Path({str(log)!r}).read_text().count("\\n") < 120:
        time.sleep(0.01)
    os.kill(os.getpid(), 9)  # while documents are run
threading.Thread(target=kill, daemon=True).start()
StaticEmbeddingVectorizer({str(logged.model)!r}, n_components=8, distill_on="corpus",
                          trust_remote_code=True, memory={str(tmp_path / "cache")!r},
                          batch_size=4).fit({texts!r})
"""
    with pytest.raises(AssertionError, match=r"exit code -?9\n"):
        run(code, needs_torch=True, SECONDS="0.02")
    before = runs(log)
    resumed = logged.set_params(distill_on="corpus").fit(texts).vectors_
    new = runs(log) - before
    assert len(new) < N_TOKENS + len(set(texts)), "what was stored was not used"
    alone = logged.set_params(memory=None).fit(texts).vectors_
    np.testing.assert_allclose(resumed, alone, atol=1e-5)


class TestFailures:
    def test_a_folder_that_cannot_be_made(self, vectorizer, tmp_path):
        expected = vectorizer.set_params(memory=None).fit(["a"]).vectors_
        (tmp_path / "file").touch()
        vectorizer.set_params(memory=tmp_path / "file" / "cache")
        with pytest.warns(
            UserWarning, match=r"outputs are not cached, .*file.cache failed.*; pass another folder"
        ) as caught:
            vectorizer.set_params(distill_on="corpus").fit([f"text {i}" for i in range(8)])
        assert len(caught) == 1
        with pytest.warns(UserWarning, match="not cached"):
            vectors = vectorizer.set_params(distill_on="vocabulary").fit(["a"]).vectors_
        np.testing.assert_array_equal(vectors, expected)

    def test_file_that_is_no_database(self, vectorizer, tmp_path):
        file = tmp_path / "cache" / "outputs.sqlite"
        file.parent.mkdir()
        file.write_bytes(b"not a database" * 100)
        with pytest.warns(UserWarning, match=r"file is not a database; .*clear_cache"):
            vectorizer.fit(["a"])
        clear_cache(tmp_path / "cache")
        vectorizer.fit(["a"])
        assert cache_size(tmp_path / "cache") > 0

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[: len(content) // 2 - 99],
            lambda content: content[:100] + bytes(len(content) - 100),
            lambda content: b"not a database" * 100,
        ],
        ids=["cut off", "zeros", "text"],
    )
    def test_the_size_of_a_damaged_file(self, damage, vectorizer, tmp_path):
        folder = tmp_path / "cache"
        vectorizer.fit(["a"])
        file = folder / "outputs.sqlite"
        file.write_bytes(damage(file.read_bytes()))
        (folder / "outputs.sqlite-journal").write_bytes(b"left by a process that was killed")
        message = rf"The cache {file} cannot be read: .*clear_cache\('{folder}'\) resets it"
        with pytest.raises(OSError, match=message):
            cache_size(folder)
        clear_cache(folder)
        assert list(folder.glob("*.sqlite*")) == []
        assert cache_size(folder) == 0
        vectorizer.fit(["a"])
        assert cache_size(folder) > 0

    def test_clearing_a_file_that_cannot_be_written(self, tmp_path):
        (tmp_path / "outputs.sqlite").mkdir()
        for function in (cache_size, clear_cache):
            with pytest.raises(OSError, match=f"The cache {tmp_path / 'outputs.sqlite'} cannot be"):
                function(tmp_path)

    @pytest.mark.parametrize(
        "damage", ["zeroblob(length(value))", "substr(value, 1, 40)", "'text'", "x''"]
    )
    def test_damaged_entries_are_run_again(self, damage, logged, log, tmp_path):
        expected = logged.fit(["a"]).vectors_
        once = runs(log)
        with sqlite3.connect(tmp_path / "cache" / "outputs.sqlite") as connection:
            connection.execute(f"UPDATE outputs SET value = {damage}")
        np.testing.assert_array_equal(logged.fit(["a"]).vectors_, expected)
        assert runs(log) == once + once
        logged.fit(["a"])
        assert runs(log) == once + once

    @pytest.mark.parametrize("damage", ["NaN", "too short"])
    def test_sound_entries_with_damaged_outputs_are_run_again(self, damage, logged, log, tmp_path):
        """Of another size than the others, or not finite, although their checksum is right."""
        logged.set_params(distill_on="corpus")
        expected = logged.fit(["a", "the list"]).vectors_
        n_before = sum(runs(log).values())
        with sqlite3.connect(tmp_path / "cache" / "outputs.sqlite") as connection:
            rows = connection.execute("SELECT key, value FROM outputs").fetchall()
            key, value = min(rows, key=lambda row: len(row[1]))  # that of a document
            value = (
                value[4:-4] if damage == "too short" else np.float32(np.nan).tobytes() + value[8:]
            )
            connection.execute(
                "UPDATE outputs SET value = ? WHERE key = ?", (_seal(value) + value, key)
            )
        with pytest.warns(UserWarning, match="The cache has 1 damaged outputs of the teacher"):
            np.testing.assert_array_equal(logged.fit(["a", "the list"]).vectors_, expected)
        assert sum(runs(log).values()) == n_before + 1
        logged.fit(["a", "the list"])
        assert sum(runs(log).values()) == n_before + 1

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
    def test_folders_without_permission(self):
        """One folder is readable but not writable, the other is not accessible."""
        with tempfile.TemporaryDirectory() as root:
            folder = save_sentence_transformer("bert", Path(root, "teacher"))
            readable, closed = Path(root, "readable"), Path(root, "closed")
            for path in (Path(root), folder, *folder.rglob("*")):
                path.chmod(0o755)
            code = f"""
import io, os, sys, warnings
from pathlib import Path
from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._cache import Store, _seal
sys.stderr = io.StringIO()
vectorizer = StaticEmbeddingVectorizer({str(folder)!r}, n_components=8, verbose=1)
# This also imports all that fit needs: without root's rights the package may be out of reach.
readable, closed = Path({str(readable)!r}), Path({str(closed)!r})
vectorizer.set_params(memory=readable).fit(["a"])
for path in readable.iterdir():
    path.chmod(0o444)
readable.chmod(0o555)
closed.mkdir(mode=0)
if os.geteuid() == 0:
    os.seteuid(65534)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    vectorizer.fit(["a"])  # all is in the cache; transformers could not even read its own files
    store = Store(closed / "cache")
    print(len(caught))
    store.put({{b"key": b"value"}})
    print(store.get([b"key"]), [str(w.message)[:36] for w in caught])
print(sys.stderr.getvalue().count("  0%|"))
"""
            kept, closed, n_bars = run(code, needs_torch=True).splitlines()
        assert kept == "0"
        assert closed == """{b'key': b'value'} ["The teacher's outputs are not cached"]"""
        assert n_bars == "1"  # only the first fit

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
    def test_a_full_disk(self, bert_folder, tmp_path):
        code = f"""
import resource, warnings
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from sklearn_static import StaticEmbeddingVectorizer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fitted = StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8,
                                       memory={str(tmp_path / "cache")!r}).fit(["a"])
print([str(w.message)[:36] for w in caught], fitted.vectors_.shape)
"""
        expected = f"['The teacher\\'s outputs are not cached'] ({N_TOKENS}, 9)\n"
        printed = run(code, needs_torch=True)
        assert printed.replace('"', "'") == expected.replace("\\'", "'")


class TestFolder:
    def test_auto_is_the_folder_of_the_environment(self, vectorizer, tmp_path, monkeypatch):
        monkeypatch.setenv("SKLEARN_STATIC_CACHE", str(tmp_path / "mine"))
        assert cache_size() == 0
        vectorizer.set_params(memory="auto").fit(["a"])
        assert cache_size() > N_TOKENS * 32 * 4
        assert cache_size() == cache_size(tmp_path / "mine")
        clear_cache()
        assert cache_size() == 0

    def test_default_folder_is_in_the_cache_of_the_user(self, monkeypatch):
        monkeypatch.delenv("SKLEARN_STATIC_CACHE")
        assert "sklearn-static" in cache_folder("auto").parts

    def test_tilde_is_expanded_and_an_empty_name_raises(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_folder("~/mine") == tmp_path / "mine"
        with pytest.raises(ValueError, match="memory='' is not a folder"):
            cache_folder("")

    def test_the_folder_of_a_joblib_memory(self, vectorizer, tmp_path):
        memory = joblib.Memory(tmp_path / "joblib", verbose=0)
        vectorizer.set_params(memory=memory).fit(["a"])
        assert cache_size(memory) > 0
        clear_cache(memory)
        assert cache_size(memory) == 0

    def test_no_text_is_stored(self, vectorizer, texts, tmp_path):
        vectorizer.set_params(distill_on="corpus").fit(texts)
        stored = b"".join(f.read_bytes() for f in (tmp_path / "cache").glob("*.*"))
        assert not [
            word
            for text in texts
            for word in text.encode().split()
            if word in stored and len(word) > 8
        ]


class TestStore:
    def test_least_recently_used_entries_are_evicted_first(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SKLEARN_STATIC_CACHE_MB", "1.0")
        store = Store(tmp_path)
        day = 0

        def clock() -> float:
            return day * 86_400.0

        monkeypatch.setattr(time, "time", clock)
        for day in range(20):
            store.put({bytes([day]): bytes(100_000)})
            assert store.get([bytes([0])]), "what is used every day stays"
            assert cache_size(tmp_path) <= 1e6
        left = [day for day in range(20) if store.get([bytes([day])])]
        assert left[0] == 0
        assert left[1:] == list(range(20 - len(left) + 1, 20))
        assert len(left) >= 6
        assert (tmp_path / "outputs.sqlite").stat().st_size < 1.2e6

    def test_a_lock_keeps_others_out_until_it_is_released(self, tmp_path):
        with Store(tmp_path).lock("work", wait=False) as ours:
            assert ours
            with Store(tmp_path).lock("work", wait=False) as theirs:
                assert not theirs
        with Store(tmp_path).lock("work", wait=False) as theirs:
            assert theirs

    def test_a_lock_is_not_waited_for_forever(self, tmp_path, monkeypatch):
        """A suspended process never releases its locks."""
        monkeypatch.setattr("sklearn_static._cache._SECONDS_UNTIL_WARNING", 0.1)
        monkeypatch.setattr("sklearn_static._cache._SECONDS_TO_WAIT_FOR_LOCK", 0.1)
        with Store(tmp_path).lock("work", wait=False):
            message = "Another process has held .* fit waits for it for up to 0 minutes. If it is s"
            waiting = Store(tmp_path).lock("work", wait=True)
            with pytest.warns(UserWarning, match=message), waiting as ours:
                assert ours

    def test_a_file_that_another_process_has_just_begun(self, tmp_path):
        (tmp_path / "outputs.sqlite").touch()
        store = Store(tmp_path)
        assert store.get([b"key"]) == {}
        assert cache_size(tmp_path) == 0
        store.put({b"key": b"value"})
        assert Store(tmp_path).get([b"key"]) == {b"key": b"value"}

    def test_store_without_a_folder_is_in_memory(self):
        store = Store(None)
        store.put({b"key": b"value"})
        assert store.get([b"key", b"other"]) == {b"key": b"value"}
        assert Store(None).get([b"key"]) == {}

    @pytest.mark.parametrize("limit", ["2GB", "nan", "0", "-1"])
    def test_invalid_limit(self, limit, monkeypatch, vectorizer):
        monkeypatch.setenv("SKLEARN_STATIC_CACHE_MB", limit)
        with pytest.raises(ValueError, match=f"SKLEARN_STATIC_CACHE_MB must be .*, got '{limit}'"):
            vectorizer.fit(["a"])

    @pytest.mark.slow
    @pytest.mark.parametrize("limit", ["0.0001", "0.02"])
    def test_a_limit_below_what_a_fit_needs(self, limit, monkeypatch, logged, log, texts):
        monkeypatch.setenv("SKLEARN_STATIC_CACHE_MB", limit)
        message = (
            f"The cache is limited to {float(limit):.3g} MB, but this fit needs about .* MB of"
        )
        with pytest.warns(UserWarning, match=message) as caught:
            logged.set_params(distill_on="corpus").fit(texts)
        assert len(caught) == 1
        assert set(runs(log).values()) == {1}


@pytest.mark.slow
def test_threads_that_fit_at_once_share_the_work(logged, log, texts):
    before = warnings.filters[:]
    vectorizers = [clone(logged).set_params(distill_on="corpus") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda vectorizer: vectorizer.fit(texts), vectorizers))
    assert set(runs(log).values()) == {1}
    assert warnings.filters == before


def test_clearing_a_folder_that_does_not_exist(tmp_path):
    clear_cache(tmp_path / "none")
    assert cache_size(tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()
