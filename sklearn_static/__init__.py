"""Static embeddings as a scikit-learn text vectorizer."""

from sklearn_static._cache import cache_size, clear_cache
from sklearn_static._serve.table import StaticTable
from sklearn_static._show_versions import show_versions
from sklearn_static._vectorizer import StaticEmbeddingVectorizer

__version__ = "0.1.0"

__all__ = [
    "StaticEmbeddingVectorizer",
    "StaticTable",
    "__version__",
    "cache_size",
    "clear_cache",
    "show_versions",
]

# Saved models refer to these paths, so that the defining modules may move.
for _public in (StaticEmbeddingVectorizer, StaticTable):
    _public.__module__ = __name__
