"""scikit-learn's own checks by name, and the others in a form for documents."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

from sklearn_static import StaticEmbeddingVectorizer

# Those that need no data: `parametrize_with_checks` would skip nearly all for a text transformer.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_param_validation",
    "check_estimators_unfitted",
    "check_transformers_unfitted",
]


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learn(check):
    getattr(estimator_checks, check)(
        "StaticEmbeddingVectorizer",
        StaticEmbeddingVectorizer("no/such-model", lsa_components=0),
    )


@pytest.fixture
def vectorizer(bert_folder) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(bert_folder, n_components=8, lsa_components=0)


def test_fit_returns_self(vectorizer, texts):
    assert vectorizer.fit(texts) is vectorizer


def test_fit_leaves_parameters_alone(vectorizer, texts):
    before = vectorizer.get_params()
    vectorizer.fit(texts)
    assert vectorizer.get_params() == before


def test_fit_ignores_y(vectorizer, texts, fitted):
    features = vectorizer.fit(texts, y=["any"] * len(texts)).transform(texts)
    np.testing.assert_array_equal(features, fitted.transform(texts))


def test_fit_is_idempotent(vectorizer, texts):
    first = vectorizer.fit(texts).transform(texts)
    second = vectorizer.fit(texts).transform(texts)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
def test_fit_transform_is_fit_then_transform(vectorizer, texts, distill_on):
    vectorizer.set_params(distill_on=distill_on)
    together = vectorizer.fit_transform(iter(texts))
    np.testing.assert_array_equal(together, vectorizer.transform(texts))
    np.testing.assert_array_equal(together, clone(vectorizer).fit(texts).transform(texts))


def test_transform_of_subsets(fitted, texts):
    whole = fitted.transform(texts)
    np.testing.assert_array_equal(fitted.transform(texts[3:9]), whole[3:9])


def test_transform_in_another_order(fitted, texts):
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = fitted.transform([texts[i] for i in order])
    np.testing.assert_array_equal(shuffled, fitted.transform(texts)[order])


def test_transform_changes_nothing(fitted, texts):
    before = pickle.dumps(fitted)
    X = np.array(texts, dtype=object)
    copy = X.copy()
    fitted.transform(X)
    assert pickle.dumps(fitted) == before
    np.testing.assert_array_equal(X, copy)


def test_pickle(fitted, texts):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(texts), fitted.transform(texts))


def test_feature_names(fitted):
    assert fitted.get_feature_names_out().tolist() == [
        f"staticembeddingvectorizer_semantic{i}" for i in range(8)
    ]


def test_tags(fitted):
    tags = fitted.__sklearn_tags__()
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit
    assert tags.transformer_tags.preserves_dtype == []


def test_metadata_routing_is_untouched(fitted):
    assert fitted.get_metadata_routing()._serialize() == {}
