"""The real all-MiniLM-L6-v2 on real documents."""

import inspect
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
from conftest import FULL
from safetensors.numpy import load_file, save_file
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import write_json
from tokenizers import Tokenizer

from sklearn_static import StaticEmbeddingVectorizer

pytestmark = pytest.mark.minilm


def test_table(minilm):
    assert minilm.vectors_.shape == (29_523, 256)
    assert list(minilm.vocabulary_)[:3] == ["!", '"', "#"]
    assert minilm.explained_variance_ratio_.sum() > 0.9


def test_meaning(minilm):
    cat, kitten, invoice = minilm.transform(["a cat", "a small kitten", "an overdue invoice"])
    assert cat @ kitten > cat @ invoice + 0.2


@pytest.fixture(scope="module")
def docstrings() -> list[str]:
    """500 real documents available on every machine: first paragraphs of docstrings."""
    members = [m for module in (np, np.ma, scipy.stats) for m in inspect.getmembers(module)]
    docs = (inspect.getdoc(value) or "" for _, value in members if callable(value))
    found = dict.fromkeys(doc.partition("\n\n")[0] for doc in docs)
    return [text for text in found if len(text) > 30][:500]


def with_tokens_of(texts: list[str], teacher: Path, folder: Path) -> Path:
    """Write the teacher with a smaller vocabulary, with which it reads these documents as before.

    It has the tokens of the documents, the special ones, which keep their ids, and some others.
    """
    shutil.copytree(teacher, folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    encoded = Tokenizer.from_str(json.dumps(state)).encode_batch(texts)
    used = {token for found in encoded for token in found.ids}
    vocab = sorted(state["model"]["vocab"].items(), key=lambda item: item[1])
    kept = [(token, i) for token, i in vocab if i <= 103 or i in used or i % 128 == 0]
    state["model"]["vocab"] = {token: new for new, (token, _) in enumerate(kept)}
    write_json(folder / "tokenizer.json", state)
    (folder / "vocab.txt").write_text("\n".join(token for token, _ in kept), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"vocab_size": len(kept)})
    weights = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    weights[name] = np.ascontiguousarray(weights[name][[i for _, i in kept]])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def intents_and_news(dataset) -> list[str]:
    return [
        text
        for name in ("banking77", "ag_news_7600")
        for text in dataset(name).test_documents[:250]
    ]


@pytest.fixture(scope="module")
def compared(minilm_path, docstrings, tmp_path_factory, request):
    """One distillation by this package and one by model2vec.

    Each runs the teacher on the whole vocabulary, which takes a minute for all of it.
    """
    distill = pytest.importorskip("model2vec.distill", reason="needs the group `peers`").distill
    teacher = minilm_path
    if not FULL:
        texts = [*docstrings]
        with suppress(pytest.skip.Exception):  # on a machine without the data sets
            texts += request.getfixturevalue("intents_and_news")
        folder = tmp_path_factory.mktemp("minilm") / "teacher"
        teacher = with_tokens_of(texts, minilm_path, folder)
    ours = StaticEmbeddingVectorizer(teacher, lsa_components=0).fit(["any text"])
    theirs = distill(str(teacher), pca_dims=256, sif_coefficient=1e-4, quantize_to="float32")
    return ours, theirs


@pytest.mark.peers
@pytest.mark.parametrize("source", ["docstrings", "intents_and_news"])
def test_gram_matrix_is_that_of_model2vec(source, compared, request):
    texts = request.getfixturevalue(source)
    assert len(texts) == 500
    vectorizer, model2vec = compared
    assert len(vectorizer.vectors_) > 3000
    ours = vectorizer.transform(texts)
    theirs = model2vec.encode(texts, max_length=None)
    difference = np.abs(ours @ ours.T - theirs @ theirs.T)
    assert difference.max() < 1e-2
    assert difference.mean() < 1e-3


def test_pipeline(minilm_path, dataset):
    data = dataset("banking77")
    model = make_pipeline(
        StaticEmbeddingVectorizer(minilm_path, n_components=256, lsa_components=0),
        LogisticRegression(C=10, max_iter=300),
    )
    model.fit(data.train_documents, data.train_labels)
    assert model.score(data.test_documents, data.test_labels) > 0.88


def test_grid_search(minilm_path, dataset):
    data = dataset("banking77")
    search = GridSearchCV(
        make_pipeline(
            StaticEmbeddingVectorizer(minilm_path, lsa_components=0),
            LogisticRegression(),
        ),
        {
            "staticembeddingvectorizer__n_components": [16, 128],
            "staticembeddingvectorizer__sif_coefficient": [None, 1e-4],
        },
        n_jobs=2,
        cv=2,
        error_score="raise",
    ).fit(data.train_documents[::5], data.train_labels[::5])
    assert search.best_params_["staticembeddingvectorizer__n_components"] == 128


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_column_transformer(frame, minilm_path, docstrings):
    texts = docstrings[:200]
    data = frame({"text": texts, "length": [len(t) for t in texts]})
    vectorizer = StaticEmbeddingVectorizer(minilm_path, n_components=32, lsa_components=0)
    transformer = ColumnTransformer(
        [("text", vectorizer, "text"), ("rest", "passthrough", ["length"])]
    )
    features = transformer.fit_transform(data)
    assert features.shape == (200, 33)
    assert transformer.get_feature_names_out()[-1] == "rest__length"


@pytest.mark.parametrize(("quantize", "closeness"), [("float16", 0.99999), ("int8", 0.9995)])
def test_quantized(quantize, closeness, minilm, minilm_path, docstrings):
    texts = docstrings[:300]
    quantized = StaticEmbeddingVectorizer(minilm_path, quantize=quantize, lsa_components=0).fit(
        texts
    )
    cosines = np.sum(quantized.transform(texts) * minilm.transform(texts), axis=1)
    assert cosines.min() > closeness


def test_long_documents_are_read_to_their_end(minilm, docstrings):
    texts = [" ".join(docstrings)]
    rows, _ = minilm.table_.vocabulary.tokens(texts).in_vocabulary(None)
    assert len(rows) > 5_000
    assert not np.allclose(minilm.transform(texts), minilm.transform([texts[0][:10_000]]))
