"""What is saved: the same features later, in a fresh interpreter, without the teacher."""

import json
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from fresh import run
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import corpus, save_sentence_transformer, tiny_vectorizer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._serve.table import FORMAT_VERSION

DATA = Path(__file__).parent / "data"
SAMPLE = ["Return the value.", "of an object, or None", "a list of names"]

FORBIDDEN = "{'torch', 'transformers', 'safetensors', 'huggingface_hub', 'tqdm'}"


def fresh(code: str, *, needs_torch: bool = False) -> str:
    """Run code outside this folder, with warnings as errors; return what it prints."""
    start = f"import os, warnings\nwarnings.simplefilter('error')\nos.chdir({str(DATA)!r})\n"
    return run(start + code, needs_torch=needs_torch)


@pytest.mark.slow
def test_skops(bert_folder, texts):
    """Saved without pickle; the two public classes must be trusted."""
    vectorizer = StaticEmbeddingVectorizer(
        bert_folder, n_components=8, distill_on="corpus", ngram_range=(1, 2), quantize="int8"
    )
    model = make_pipeline(vectorizer, LogisticRegression())
    model.fit(texts, [len(text) > 200 for text in texts])
    for fitted, method in ((model[0], "transform"), (model, "predict_proba")):
        saved = skops.io.dumps(fitted)
        types = skops.io.get_untrusted_types(data=saved)
        assert types == [
            "sklearn_static.StaticEmbeddingVectorizer",
            "sklearn_static.StaticTable",
        ]
        loaded = skops.io.loads(saved, trusted=types)
        expected = getattr(fitted, method)(texts)
        np.testing.assert_array_equal(getattr(loaded, method)(texts), expected)


@pytest.fixture
def saved(fitted, tmp_path) -> Path:
    joblib.dump(fitted, tmp_path / "model.joblib")
    return tmp_path / "model.joblib"


@pytest.mark.slow
def test_importing_needs_no_torch():
    code = f"import sys, sklearn_static; print(sorted({FORBIDDEN} & set(sys.modules)))"
    assert fresh(code).strip() == "[]"


@pytest.mark.slow
def test_loading_and_transforming_needs_no_torch_and_no_teacher(tmp_path, texts):
    folder = save_sentence_transformer("bert", tmp_path / "teacher")
    model = make_pipeline(
        tiny_vectorizer(folder),
        LogisticRegression(),
    ).fit(texts, [len(t) > 200 for t in texts])
    joblib.dump(model, tmp_path / "model.joblib")
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    code = f"""
import sys, json, joblib
model = joblib.load({str(tmp_path / "model.joblib")!r})
print(json.dumps(model.predict_proba({texts[:5]!r}).tolist()))
assert not {FORBIDDEN} & set(sys.modules)
"""
    np.testing.assert_array_equal(json.loads(fresh(code)), model.predict_proba(texts[:5]))


def test_a_path_is_saved_as_a_string(saved, bert_folder):
    """Path objects load only on their own platform, and not in every Python version."""
    assert b"pathlib" not in saved.read_bytes()
    assert joblib.load(saved).model == str(bert_folder)


def test_features_are_bit_equal_after_joblib(saved, fitted, texts):
    np.testing.assert_array_equal(joblib.load(saved).transform(texts), fitted.transform(texts))


@pytest.mark.parametrize("quantize", [None, "float16", "int8"])
def test_memory_mapping_shares_the_table(quantize, bert_folder, tmp_path, texts):
    fitted = tiny_vectorizer(bert_folder, quantize=quantize)
    expected = fitted.fit_transform(texts)
    joblib.dump(fitted, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(mapped.table_.stored, np.memmap)
    np.testing.assert_array_equal(mapped.transform(texts), expected)
    assert isinstance(mapped.table_.stored, np.memmap)
    if quantize is None:
        assert np.shares_memory(mapped.vectors_, mapped.table_.stored)


def test_nothing_of_the_teacher_is_in_the_file(saved, bert_folder):
    content = saved.read_bytes()
    assert b"torch" not in content
    # Only the estimator and its table: no other class of ours has to exist later.
    assert b"sklearn_static._" not in content


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "transformers", "tqdm"])
def test_without_the_extra_fit_says_what_to_install(package, bert_folder):
    code = f"""
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == {package!r}]:
    del sys.modules[name]
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError("No such module", name=name)
sys.meta_path.insert(0, Without())
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer({str(bert_folder)!r}, memory=None, lsa_components=0).fit(["a"])
except ImportError as error:
    print(error)
"""
    message = f"fit needs {package}, which is not installed: pip install --upgrade 'sklearn-static["
    assert fresh(code, needs_torch=True).startswith(message)


@pytest.mark.slow
def test_fit_from_cached_outputs_does_not_import_torch(bert_folder, texts):
    code = f"""
import sys
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8, distill_on="corpus")
vectorizer.fit({texts!r})
print({{"torch", "transformers"}} & set(sys.modules))
"""
    fresh(code, needs_torch=True)
    assert fresh(code) == "set()\n"


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_files_of_every_format_load(version):
    """Written once by `python tests/test_persistence.py`; never to be written again."""
    vectorizer = joblib.load(DATA / f"format_{version}.joblib")
    assert clone(vectorizer).get_params().keys() == StaticEmbeddingVectorizer().get_params().keys()
    assert repr(vectorizer)
    expected = np.load(DATA / f"format_{version}.npy")
    np.testing.assert_allclose(vectorizer.transform(SAMPLE), expected, atol=1e-6)
    assert vectorizer.n_components_ == 4
    assert len(vectorizer.get_feature_names_out()) == expected.shape[1]


def _write() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save_sentence_transformer("bert", Path(folder))
        vectorizer = StaticEmbeddingVectorizer(
            folder,
            n_components=4,
            distill_on="corpus",
            ngram_range=(1, 2),
            max_bigrams=100,
            lsa_components=2,
            quantize="int8",
        )
        vectorizer.fit(corpus())
        np.save(DATA / f"format_{FORMAT_VERSION}.npy", vectorizer.transform(SAMPLE))
        joblib.dump(vectorizer, DATA / f"format_{FORMAT_VERSION}.joblib", compress=9)


if __name__ == "__main__":
    _write()


class TestWordVectors:
    """The table of `from_vectors` is a parameter and a fitted attribute; a file holds it once."""

    documents = ("w1 w2", "w3 w4 w5", "w6", "w7 w8")

    @pytest.fixture
    def vectorizer(self):
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((2000, 128)).astype(np.float32)
        return StaticEmbeddingVectorizer.from_vectors([f"w{i}" for i in range(2000)], vectors)

    @pytest.mark.parametrize("quantize", [None, "int8", "float16"])
    @pytest.mark.parametrize("by", ["clone", "search"])
    def test_a_fitted_clone_is_saved_once(self, by, quantize, vectorizer, tmp_path):
        estimator = clone(vectorizer).set_params(quantize=quantize)
        if by == "search":
            pipeline = make_pipeline(estimator, LogisticRegression())
            search = GridSearchCV(pipeline, {"logisticregression__C": [1]}, cv=2)
            search.fit(self.documents, [0, 1, 0, 1])
            fitted = search.best_estimator_[0]
        else:
            fitted = estimator.fit(self.documents)
        file = tmp_path / "vectorizer.joblib"
        joblib.dump(fitted, file)
        size = fitted.table_.stored.nbytes + 4 * 2000
        assert file.stat().st_size < size + 250_000  # the tokenizer
        loaded = joblib.load(file, mmap_mode="r")
        assert loaded.model is loaded.table_
        assert isinstance(loaded.table_.stored, np.memmap)
        expected = fitted.transform(self.documents)
        np.testing.assert_array_equal(loaded.transform(self.documents), expected)
        again = clone(loaded).fit(self.documents)
        np.testing.assert_array_equal(again.transform(self.documents), expected)

    def test_a_table_with_other_columns_is_saved_beside_the_vectors(self, vectorizer):
        fitted = clone(vectorizer).set_params(n_components=64, lsa_components=3, quantize="int8")
        fitted.fit(self.documents)
        loaded = pickle.loads(pickle.dumps(fitted))
        assert loaded.model.n_components == 128
        assert loaded.table_.n_components == 64 + 3
