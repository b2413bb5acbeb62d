from pathlib import Path

import joblib
import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from teachers import save_sentence_transformer

from sklearn_static import StaticEmbeddingVectorizer


def entries(folder: Path) -> int:
    return len(list(folder.rglob("output.pkl")))


@pytest.fixture
def vectorizer(bert_folder, tmp_path) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, memory=tmp_path / "cache")


@pytest.mark.parametrize("wrap", [Path, str, lambda p: joblib.Memory(p, verbose=0)])
def test_a_second_fit_does_not_run_the_teacher(wrap, vectorizer, tmp_path, capfd):
    vectorizer.set_params(memory=wrap(tmp_path / "cache"), verbose=1)
    first = vectorizer.fit(["a"]).vectors_
    assert "Teacher" in capfd.readouterr().err
    second = vectorizer.set_params(batch_size=7).fit(["b"]).vectors_
    assert "Teacher" not in capfd.readouterr().err
    np.testing.assert_array_equal(first, second)


def test_settings_behind_the_teacher_share_an_entry(vectorizer, tmp_path):
    for settings in ({}, {"n_components": 4}, {"sif_coefficient": None}, {"quantize": "int8"}):
        vectorizer.set_params(**settings).fit(["a"])
    assert entries(tmp_path / "cache") == 1
    vectorizer.set_params(pooling="cls").fit(["a"])
    assert entries(tmp_path / "cache") == 2


def test_a_changed_file_under_the_same_path_is_not_the_old_teacher(vectorizer, tmp_path):
    folder = save_sentence_transformer("bert", tmp_path / "teacher")
    before = vectorizer.set_params(model=folder).fit(["a"]).vectors_
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][7] *= -1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert not np.allclose(vectorizer.fit(["a"]).vectors_, before)


@pytest.mark.parametrize("memory", [None, "auto"])
def test_nothing_is_stored_unasked(memory, bert_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    StaticEmbeddingVectorizer(bert_folder, n_components=8, memory=memory).fit(["a"])
    assert not list(tmp_path.iterdir())
