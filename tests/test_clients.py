"""Libraries that users combine with the vectorizer; `make clients` installs them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("default"),  # theirs are not ours to fix
]

TABLE = pd.DataFrame(
    {"title": ["a cat", "the dog", "fish", "a fish"] * 8, "body": ["fish", "cat", "dog", "cat"] * 8}
)
LABELS = [0, 1, 0, 1] * 8
NAMES = ["title_semantic0", "title_semantic1", "body_semantic0", "body_semantic1"]


@pytest.fixture
def vectorizer() -> StaticEmbeddingVectorizer:
    vectors = {"cat": [1.0, 0.0], "dog": [0.8, 0.6], "fish": [0.0, 1.0]}
    return StaticEmbeddingVectorizer.from_vectors(vectors)


class TestSkrub:
    @pytest.fixture(autouse=True)
    def skrub(self):
        return pytest.importorskip("skrub")

    def test_two_text_columns(self, skrub, vectorizer):
        columns = skrub.ApplyToCols(vectorizer, cols=["title", "body"])
        features = columns.fit_transform(TABLE)
        assert features.columns.tolist() == NAMES
        expected = np.hstack([vectorizer.transform(TABLE[name]) for name in TABLE])
        np.testing.assert_array_equal(features, expected)
        np.testing.assert_array_equal(columns.transform(TABLE[:3]), expected[:3])

    def test_a_plan(self, skrub, vectorizer):
        plan = skrub.X(TABLE).skb.apply(vectorizer, cols=["title", "body"])
        assert plan.skb.eval().columns.tolist() == NAMES

    def test_a_table_vectorizer(self, skrub, vectorizer):
        table = skrub.TableVectorizer(high_cardinality=vectorizer, cardinality_threshold=2)
        assert table.fit_transform(TABLE).columns.tolist() == NAMES


def test_mlflow_saves_and_loads_a_pipeline(vectorizer, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    pipeline = make_pipeline(vectorizer, LogisticRegression()).fit(TABLE["title"], LABELS)
    trusted = ["sklearn_static.StaticEmbeddingVectorizer", "sklearn_static.StaticTable"]
    folder = str(Path(tmp_path, "model"))
    mlflow.sklearn.save_model(pipeline, folder, skops_trusted_types=trusted)
    loaded = mlflow.sklearn.load_model(folder)
    np.testing.assert_array_equal(
        loaded.predict_proba(TABLE["title"]), pipeline.predict_proba(TABLE["title"])
    )


def test_imbalanced_learn_resamples_the_features(vectorizer):
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    make = pytest.importorskip("imblearn.pipeline").make_pipeline
    labels = [0] * 24 + [1] * 8
    pipeline = make(vectorizer, over_sampling.SMOTE(random_state=0), LogisticRegression())
    assert pipeline.fit(TABLE["title"], labels).predict(TABLE["title"]).shape == (32,)


def test_bertopic_embeds_with_the_vectorizer(vectorizer):
    bertopic = pytest.importorskip("bertopic")
    from bertopic.backend import BaseEmbedder

    class Static(BaseEmbedder):
        n_documents = 0

        def embed(self, documents, verbose=False):
            self.n_documents += len(documents)
            return vectorizer.transform(documents)

    backend = Static()
    model = bertopic.BERTopic(
        embedding_model=backend,
        umap_model=TruncatedSVD(1),
        hdbscan_model=KMeans(2, random_state=0),
    )
    documents = TABLE["title"].tolist() * 3
    topics, _ = model.fit_transform(documents)
    assert len(set(topics)) == 2
    assert backend.n_documents >= len(documents)
