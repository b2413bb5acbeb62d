"""A Dask cluster of two processes: fit, searches and transform match a single process."""

import gc
import os
import pickle
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import N_TOKENS, save_logged

import sklearn_static.dask
from sklearn_static import StaticEmbeddingVectorizer, StaticTable
from sklearn_static._distill import workers

pytest.importorskip("distributed", reason="needs the dependency group `cluster`")
import dask
import dask.array
import dask.bag
import dask.dataframe
from distributed import Client, KilledWorker, LocalCluster
from distributed.utils import get_mp_context

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dask")


@pytest.fixture(scope="module")
def cluster(folder, request):
    environment = {"LOG": str(folder / "log"), "KILL": str(folder / "kill")}
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    method = "forkserver" if sys.platform == "linux" else "spawn"
    with dask.config.set({"distributed.worker.multiprocessing-method": method}):
        if method == "forkserver":
            get_mp_context()  # which would otherwise change later what the server imports
            request.getfixturevalue("forkserver")
        with LocalCluster(env=environment, **settings) as cluster:
            yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def teacher(folder):
    return save_logged(folder / "teacher")


@pytest.fixture
def log(folder):
    """The log of the inputs on which workers run the teacher."""
    (folder / "log").write_text("")
    (folder / "kill").write_text("")
    return folder / "log"


@pytest.fixture
def logged(teacher, log, tmp_path):
    return StaticEmbeddingVectorizer(
        teacher,
        n_components=8,
        distill_on="corpus",
        trust_remote_code=True,
        memory=tmp_path / "cache",
    )


@pytest.fixture(scope="module")
def expected(teacher, texts, folder):
    """The result of a single process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOG", os.devnull)
        patch.setenv("KILL", os.devnull)
        return StaticEmbeddingVectorizer(
            teacher, n_components=8, distill_on="corpus", trust_remote_code=True, memory=None
        ).fit(texts)


def runs(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines())


def loads() -> int:
    return workers._load.cache_info().misses


class TestFit:
    def test_the_workers_divide_what_the_cache_lacks(
        self, client, logged, log, texts, expected, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("LOG", str(tmp_path / "here"))  # that is, not on the workers
        before = client.run(loads)
        with joblib.parallel_config(backend="dask"):
            logged.fit(texts[:100])
            first = runs(log)
            logged.fit(texts)
            once = runs(log)
            logged.fit(texts)
        np.testing.assert_allclose(logged.vectors_, expected.vectors_, atol=1e-5)
        assert runs(log) == once
        assert set(once.values()) == {1}
        assert len(first) == N_TOKENS + len(set(texts[:100]))
        assert len(once) == N_TOKENS + len(set(texts))
        assert not (tmp_path / "here").exists()
        after = client.run(loads)
        assert [after[worker] - before[worker] for worker in before] == [1, 1]

    @pytest.mark.parametrize("backend", [{"backend": "dask"}, {"backend": "loky", "n_jobs": 2}, {}])
    def test_teacher_runs_in_this_process_with_any_other_backend(
        self, backend, client, logged, log, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("LOG", str(tmp_path / "here"))
        logged.set_params(distill_on="vocabulary", n_jobs=1 if "dask" in backend.values() else 2)
        with joblib.parallel_config(**backend):
            logged.fit(["a"])
        assert len(runs(tmp_path / "here")) == N_TOKENS
        assert not runs(log)

    def test_an_error_of_a_worker(self, client, logged, texts):
        with (
            joblib.parallel_config(backend="dask"),
            pytest.raises(ValueError, match="device='nowhere' cannot be used"),
        ):
            logged.set_params(device="nowhere").fit(texts)

    def test_a_grid_search_runs_each_token_and_each_document_once(
        self, client, logged, log, texts, tmp_path
    ):
        labels = ["list" in text for text in texts]
        search = GridSearchCV(
            make_pipeline(logged, LogisticRegression()),
            {
                "staticembeddingvectorizer__n_components": [4, 8],
                "staticembeddingvectorizer__distill_on": ["vocabulary", "corpus"],
            },
            cv=3,
        )
        with joblib.parallel_config(backend="dask"):
            search.fit(texts, labels)
        once = runs(log)
        assert set(once.values()) == {1}
        assert len(once) == N_TOKENS + len(set(texts))
        scores = search.cv_results_["mean_test_score"]
        search.fit(texts, labels)  # in this process, with the cached outputs of the workers
        np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)
        assert runs(log) == once

    def test_inputs_of_a_dead_worker_are_run_again(
        self, client, logged, log, texts, expected, folder
    ):
        with joblib.parallel_config(backend="dask"):
            logged.set_params(distill_on="vocabulary").fit(texts)
            (folder / "kill").write_text(self.deadly(logged, texts))
            logged.set_params(distill_on="corpus").fit(texts)
        assert (folder / "kill").read_text() == ""
        np.testing.assert_allclose(logged.vectors_, expected.vectors_, atol=1e-5)

    def test_inputs_that_kill_every_worker_raise_and_the_others_are_kept(
        self, client, cluster, logged, log, texts, monkeypatch, folder
    ):
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
        with joblib.parallel_config(backend="dask"):
            logged.set_params(distill_on="vocabulary").fit(texts)
            (folder / "kill").write_text(self.deadly(logged, texts))
            with pytest.raises(KilledWorker) as caught:
                logged.set_params(distill_on="corpus").fit(texts)
        (note,) = caught.value.__notes__
        assert "outputs; calling fit again runs the teacher on the others only." in note
        n_kept = int(note.split()[3])
        assert n_kept > 0
        monkeypatch.setenv("LOG", str(folder / "here"))
        logged.fit(texts)
        assert len(runs(folder / "here")) == len(set(texts)) - n_kept

    def deadly(self, vectorizer, texts) -> str:
        """Return the input of a document of medium length, as in the log."""
        tokenizer = vectorizer.table_.vocabulary.tokenizer
        inputs = [tokenizer.encode(text).ids for text in set(texts)]
        ids = sorted(inputs, key=lambda ids: (min(len(ids), 64), ids))[len(inputs) // 8]
        return " ".join(map(str, ids)) + "\n"


def in_partitions(texts: list[str]) -> dict[str, tuple[object, dict[str, str]]]:
    series = pd.Series(texts, index=range(7, 7 + len(texts)), name="text")
    frame = pd.DataFrame({"label": range(len(texts)), "text": series.to_list()}, index=series.index)
    column = {"column": "text"}
    return {
        "series": (dask.dataframe.from_pandas(series, npartitions=3), {}),
        "frame": (dask.dataframe.from_pandas(frame, npartitions=3), column),
        "frame of one column": (dask.dataframe.from_pandas(frame[["text"]], npartitions=3), {}),
        "bag": (dask.bag.from_sequence(texts, npartitions=3), {}),
        "lazy bag": (dask.bag.from_sequence(texts, npartitions=3).map(str), {}),
        "array": (dask.array.from_array(np.array(texts, dtype=object), chunks=70), {}),
    }


KINDS = list(in_partitions(["a"]))


class TestTransform:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_array(self, kind, client, fitted, texts):
        X, options = in_partitions(texts)[kind]
        features = sklearn_static.dask.transform(fitted, X, **options)
        assert isinstance(features, dask.array.Array)
        assert features.dtype == np.float32
        assert features.shape[1] == 8
        assert (features.shape[0] == len(texts)) == (kind == "array")
        assert isinstance(features._meta, np.ndarray)
        np.testing.assert_array_equal(features.compute(), fitted.transform(texts))
        sums = features.sum(axis=0).compute()  # as part of a larger graph
        np.testing.assert_allclose(sums, fitted.transform(texts).sum(axis=0), rtol=1e-4)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("by", ["set_output", "set_config"])
    def test_a_frame(self, by, kind, client, fitted, texts):
        X, options = in_partitions(texts)[kind]
        vectorizer = pickle.loads(pickle.dumps(fitted))
        if by == "set_output":
            vectorizer.set_output(transform="pandas")
            features = sklearn_static.dask.transform(vectorizer, X, **options)
        else:
            with sklearn.config_context(transform_output="pandas"):
                features = sklearn_static.dask.transform(vectorizer, X, **options)
        assert isinstance(features, dask.dataframe.DataFrame)
        assert list(features.columns) == list(fitted.get_feature_names_out())
        assert set(features.dtypes) == {np.dtype(np.float32)}
        computed = features.compute()
        np.testing.assert_array_equal(computed, fitted.transform(texts))
        assert set(computed.dtypes) == {np.dtype(np.float32)}
        if "frame" in kind or kind == "series":
            assert list(computed.index) == list(X.index.compute())

    @pytest.mark.parametrize("kind", KINDS)
    def test_without_a_client(self, kind, fitted, texts):
        X, options = in_partitions(texts)[kind]
        features = sklearn_static.dask.transform(fitted, X, **options)
        np.testing.assert_array_equal(
            features.compute(scheduler="threads"), fitted.transform(texts)
        )

    def test_each_worker_gets_the_vectorizer_once(self, client, fitted, texts):
        bag = dask.bag.from_sequence(texts, npartitions=20)
        features = sklearn_static.dask.transform(fitted, bag)
        assert set(client.run(n_tables).values()) == {1}
        features.compute()
        assert set(client.run(n_tables).values()) == {1}

    def test_graph_contains_the_vectorizer_once(self, fitted, texts):
        bag = dask.bag.from_sequence(texts, npartitions=20)
        graph = dict(sklearn_static.dask.transform(fitted, bag).dask)
        assert sum("Vectorizer" in str(key) for key in graph) == 1

    @pytest.mark.parametrize("has_client", [True, False])
    def test_later_changes_of_the_vectorizer_have_no_effect(
        self, has_client, cluster, bert_folder, texts
    ):
        with Client(cluster) if has_client else nullcontext():
            vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8).fit(texts)
            vectorizer.set_output(transform="pandas")
            expected = vectorizer.transform(texts)
            frame = pd.DataFrame({"text": texts})
            X = dask.dataframe.from_pandas(frame, npartitions=3)
            features = sklearn_static.dask.transform(vectorizer, X)
            vectorizer.set_params(norm=None, max_length=1, n_components=4).fit(texts[:5])
            vectorizer.set_output(transform="default")
            pd.testing.assert_frame_equal(features.compute(), expected)

    @pytest.mark.slow
    def test_a_loop_that_drops_each_result(self, client, fitted, texts):
        bag = dask.bag.from_sequence(texts[:20], npartitions=2)
        expected = fitted.transform(texts[:20])
        for _ in range(30):
            features = sklearn_static.dask.transform(fitted, bag).compute()
            np.testing.assert_array_equal(features, expected)

    def test_missing_values_of_the_example_that_dask_makes_up(self, fitted, texts):
        X = dask.dataframe.from_pandas(pd.DataFrame({"text": texts}), npartitions=2)["text"]
        with pytest.raises(ValueError, match=r"sklearn_static\.dask\.transform\(vectorizer, X\)"):
            X.map_partitions(fitted.transform)
        features = X.map_partitions(fitted.transform, meta=np.empty((0, 8), dtype=np.float32))
        np.testing.assert_array_equal(features.compute(), fitted.transform(texts))

    def test_missing_values(self, client, bert_folder, fitted):
        series = pd.Series(["a", None, "b"])
        X = dask.dataframe.from_pandas(series, npartitions=1)
        with pytest.raises(ValueError, match="X has 1 missing value, in row 1"):
            sklearn_static.dask.transform(fitted, X).compute()
        forgiving = pickle.loads(pickle.dumps(fitted)).set_params(missing="empty")
        with pytest.warns(UserWarning, match="token: 1 of 3"):
            expected = forgiving.transform(series)
        features = sklearn_static.dask.transform(forgiving, X).compute()
        np.testing.assert_array_equal(features, expected)

    def test_invalid_arguments(self, fitted):
        X, _ = in_partitions(["a", "b"])["frame"]
        for column in (None, "texts"):
            with pytest.raises(ValueError, match=rf"column={column!r} must be .*'label', 'text'"):
                sklearn_static.dask.transform(fitted, X, column=column)
        with pytest.raises(ValueError, match=r"column='text' needs a Dask DataFrame"):
            sklearn_static.dask.transform(fitted, X["text"], column="text")
        with pytest.raises(TypeError, match=r"dask\.bag\.Bag, .*, got builtins\.list; vectorizer"):
            sklearn_static.dask.transform(fitted, ["a"])
        with pytest.raises(TypeError, match="got Pipeline; for a pipeline, pass its"):
            sklearn_static.dask.transform(make_pipeline(fitted), X["text"])
        with pytest.raises(sklearn.exceptions.NotFittedError):
            sklearn_static.dask.transform(clone(fitted), X["text"])
        with pytest.raises(ValueError, match=r"shape \(n_documents,\), got \(2, 1\); pass X\[:, 0"):
            sklearn_static.dask.transform(fitted, dask.array.from_array(np.array([["a"], ["b"]])))
        polars = pickle.loads(pickle.dumps(fitted)).set_output(transform="polars")
        with pytest.raises(TypeError, match=r"set_output\(transform='pandas'\)"):
            sklearn_static.dask.transform(polars, X["text"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_that_is_given_a_collection_names_the_function(kind, fitted):
    X, _ = in_partitions(["a"])[kind]
    message = r"got dask\..*; import sklearn_static\.dask and call sklearn_static\.dask\.transform"
    for method in (clone(fitted).fit, clone(fitted).fit_transform, fitted.transform):
        with pytest.raises(TypeError, match=message):
            method(X)


def n_tables() -> int:
    gc.collect()
    return sum(isinstance(thing, StaticTable) for thing in gc.get_objects())
