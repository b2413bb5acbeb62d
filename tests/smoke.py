"""A wheel, by itself: the extension is in it, and a vectorizer without a teacher works."""

import pickle

import numpy as np

from sklearn_static import StaticEmbeddingVectorizer, show_versions
from sklearn_static._serve import IS_COMPILED

if __name__ == "__main__":
    show_versions()
    assert IS_COMPILED
    vectors = {"cat": [1.0, 0.0], "dog": [0.8, 0.6]}
    vectorizer = StaticEmbeddingVectorizer.from_vectors(vectors)
    documents = ["A cat!", "the DOG, a dog"] * 1000
    features = pickle.loads(pickle.dumps(vectorizer)).transform(documents)
    np.testing.assert_allclose(features[:2], [[1.0, 0.0], [0.8, 0.6]], rtol=1e-6)
