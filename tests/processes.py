"""What tests run in processes of their own, which need not import the tests and torch for it."""

import joblib


def put_features(path: str, texts: list[str], queue: object) -> None:
    """Load a vectorizer and transform."""
    queue.put(joblib.load(path).transform(texts * 10))
