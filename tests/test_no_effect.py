"""Warnings about parameters that have no effect in the mode in which `fit` runs."""

import warnings

import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 1.0}, "alpha=1.0 has no effect without distill_on='corpus'"),
        ({"prompt": "query: "}, "prompt='query: ' has no effect without distill_on='corpus'"),
        ({"prompt": ""}, "prompt='' has no effect without distill_on='corpus'"),
        ({"max_teacher_tokens": None}, "max_teacher_tokens=None has no effect without distill_on="),
        (
            {"ngram_range": (1, 2), "lsa_components": 0},
            r"ngram_range=\(1, 2\) has no effect without distill_on='corpus' or lsa_components abo",
        ),
        ({"max_bigrams": 9}, r"max_bigrams=9 has no effect without ngram_range=\(1, 2\)"),
        ({"max_bigrams": 9, "distill_on": "corpus"}, "max_bigrams=9 has no effect without ngram_"),
    ],
    ids=str,
)
def test_a_warning_names_the_parameter_and_what_it_needs(parameters, message, bert_folder, texts):
    vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8, **parameters)
    with pytest.warns(UserWarning, match=message) as found:
        vectorizer.fit(texts)
    assert len(found) == 1
    assert found[0].filename == __file__


@pytest.mark.parametrize(
    "parameters",
    [
        {"distill_on": "corpus", "prompt": "", "alpha": 1.0, "max_teacher_tokens": None},
        {"distill_on": "corpus", "ngram_range": (1, 2), "lsa_components": 0, "max_bigrams": 9},
        {"ngram_range": (1, 2), "max_bigrams": 9},
        {"ngram_range": (1, 2), "lsa_components": 3},
    ],
    ids=str,
)
def test_parameters_with_an_effect_are_not_warned_about(parameters, bert_folder, texts):
    StaticEmbeddingVectorizer(bert_folder, n_components=8, **parameters).fit(texts)


def test_a_prompt_does_not_change_a_static_model(fitted, texts):
    with pytest.warns(UserWarning, match="prompt='query: ' has no effect") as found:
        StaticEmbeddingVectorizer(fitted.table_, prompt="query: ").fit(texts)
    assert len(found) == 1


def test_a_search_over_both_modes_is_not_warned(bert_folder, texts):
    pipeline = make_pipeline(
        StaticEmbeddingVectorizer(bert_folder, n_components=8, alpha=1.0), LogisticRegression()
    )
    name = "staticembeddingvectorizer__"
    grid = {f"{name}distill_on": ["vocabulary", "corpus"], f"{name}alpha": [0.5, 2.0]}
    labels = [len(text) % 2 for text in texts]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(texts, labels)
        search.best_estimator_.fit(texts, labels)
    with pytest.warns(UserWarning, match="alpha=1.0 has no effect"):
        clone(pipeline).fit(texts, labels)


def test_a_search_in_a_column_transformer_is_not_warned(bert_folder, texts):
    """Which clones the vectorizer once more, after the search has set its parameters."""
    vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8)
    transformer = ColumnTransformer([("text", vectorizer, "text")])
    pipeline = make_pipeline(transformer, LogisticRegression())
    grid = {"columntransformer__text__alpha": [0.5, 2.0]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
        search.fit(pd.DataFrame({"text": texts}), [len(text) % 2 for text in texts])
