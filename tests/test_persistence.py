"""What is saved: the same features later, in a fresh interpreter, without the teacher."""

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from teachers import save_sentence_transformer

from sklearn_static import StaticEmbeddingVectorizer

DATA = Path(__file__).parent / "data"
SAMPLE = ["Return the value.", "of an object, or None", "a list of names"]

FORBIDDEN = "{'torch', 'transformers', 'safetensors', 'huggingface_hub', 'tqdm'}"


def fresh(code: str, **environment: str) -> str:
    """Run code in a new interpreter, outside this folder; give what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        cwd=DATA,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def saved(fitted, tmp_path) -> Path:
    joblib.dump(fitted, tmp_path / "model.joblib")
    return tmp_path / "model.joblib"


def test_importing_needs_no_torch():
    code = f"import sys, sklearn_static; print(sorted({FORBIDDEN} & set(sys.modules)))"
    assert fresh(code).strip() == "[]"


def test_loading_and_transforming_needs_no_torch_and_no_teacher(tmp_path, texts):
    folder = save_sentence_transformer("bert", tmp_path / "teacher")
    model = make_pipeline(
        StaticEmbeddingVectorizer(folder, n_components=8), LogisticRegression()
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
    """Path objects load only on their own kind of system, and not in every Python version."""
    assert b"pathlib" not in saved.read_bytes()
    assert joblib.load(saved).model == str(bert_folder)


def test_features_are_bit_equal_after_joblib(saved, fitted, texts):
    np.testing.assert_array_equal(joblib.load(saved).transform(texts), fitted.transform(texts))


@pytest.mark.parametrize("quantize", [None, "float16", "int8"])
def test_memory_mapping_shares_the_table(quantize, bert_folder, tmp_path, texts):
    fitted = StaticEmbeddingVectorizer(bert_folder, n_components=8, quantize=quantize)
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
    for module in ("_vocabulary", "_teacher", "_cache", "_distill"):
        assert f"sklearn_static.{module}".encode() not in content


def test_without_torch_fit_says_what_to_install(bert_folder):
    code = f"""
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer({str(bert_folder)!r}).fit(["a"])
except ImportError as error:
    print(error)
"""
    assert fresh(code).startswith("fit needs torch: pip install 'sklearn-static[distill]'.")


def test_a_file_of_format_1_still_loads():
    """Written once by `python tests/test_persistence.py`; never to be written again."""
    vectorizer = joblib.load(DATA / "format_1.joblib")
    expected = np.load(DATA / "format_1.npy")
    np.testing.assert_allclose(vectorizer.transform(SAMPLE), expected, atol=1e-6)
    assert vectorizer.n_components_ == 4
    assert len(vectorizer.get_feature_names_out()) == 4


def _write_format_1() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save_sentence_transformer("bert", Path(folder))
        vectorizer = StaticEmbeddingVectorizer(folder, n_components=4, quantize="int8")
        np.save(DATA / "format_1.npy", vectorizer.fit_transform(SAMPLE))
        joblib.dump(vectorizer, DATA / "format_1.joblib")


if __name__ == "__main__":
    _write_format_1()
