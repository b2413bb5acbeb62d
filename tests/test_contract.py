"""scikit-learn's own checks, and those that fit in a form for documents."""

import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted
from teachers import tiny_vectorizer

from sklearn_static import StaticEmbeddingVectorizer

# Checks that do not apply to documents: the test that replaces them, or why there is none.
NOT_APPLICABLE = {
    # They fit on numbers or on several columns, and expect that to work.
    "check_fit_score_takes_y": "test_fit_ignores_y",
    "check_estimators_overwrite_params": "test_fit_leaves_parameters_alone",
    "check_dont_overwrite_parameters": "test_fit_adds_fitted_attributes_only",
    "check_estimators_fit_returns_self": "test_fit_returns_self",
    "check_pipeline_consistency": "test_fit_transform_is_fit_then_transform",
    "check_estimators_pickle": "test_pickle",
    "check_transformer_general": "test_fit_transform_is_fit_then_transform",
    "check_methods_sample_order_invariance": "test_transform_in_another_order",
    "check_methods_subset_invariance": "test_transform_of_subsets",
    "check_dict_unchanged": "test_transform_changes_nothing",
    "check_fit_idempotent": "test_fit_is_idempotent",
    "check_fit_check_is_fitted": "test_fit_makes_it_fitted",
    "check_readonly_memmap_input": "documents cannot be mapped into memory",
    "check_positive_only_tag_during_fit": "documents have no sign",
    "check_estimators_dtypes": "documents have one type, str",
    "check_f_contiguous_array_estimator": "documents are one column",
    "check_array_api_input": "arrays of these libraries hold numbers only",
    "check_n_features_in": "documents are one column, and are not counted as features",
    # They expect certain errors, for input that is wrong in another way here.
    "check_complex_data": "test_documents.py: test_invalid_documents",
    "check_dtype_object": "test_documents.py: test_invalid_documents",
    "check_transformer_data_not_an_array": "test_documents.py: test_invalid_documents",
    "check_estimator_sparse_tag": "test_documents.py: test_invalid_documents",
    "check_estimator_sparse_array": "test_documents.py: test_invalid_documents",
    "check_estimator_sparse_matrix": "test_documents.py: test_invalid_documents",
    "check_estimators_nan_inf": "test_documents.py: test_missing_values",
    "check_estimators_empty_data_messages": "test_vectorizer.py: test_no_documents",
    "check_fit2d_1sample": "one document is enough",
    "check_fit2d_1feature": "one column is what documents are",
    "check_fit1d": "one dimension is what documents have",
    "check_fit2d_predict1d": "one dimension is what documents have",
}


class Tabular(StaticEmbeddingVectorizer):
    """Only for input of this kind does scikit-learn list its checks."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


# scikit-learn runs the first two on its own classes, and does not list them.
CHECKS = [
    partial(estimator_checks.check_param_validation),
    partial(estimator_checks.check_get_feature_names_out_error),
    *(check for _, check in estimator_checks.estimator_checks_generator(Tabular())),
]


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check.func.__name__ not in NOT_APPLICABLE],
    ids=lambda check: check.func.__name__,
)
def test_scikit_learn(check):
    """A check that a newer scikit-learn adds runs, too, until NOT_APPLICABLE has a reason."""
    check.func(
        "StaticEmbeddingVectorizer",
        StaticEmbeddingVectorizer("no/such-model", lsa_components=0),
        **check.keywords,
    )


@pytest.fixture
def vectorizer(bert_folder) -> StaticEmbeddingVectorizer:
    return tiny_vectorizer(bert_folder)


def test_fit_returns_self(vectorizer, texts):
    assert vectorizer.fit(texts) is vectorizer


def test_fit_makes_it_fitted(vectorizer, texts):
    with pytest.raises(NotFittedError):
        check_is_fitted(vectorizer)
    check_is_fitted(vectorizer.fit(texts))


def test_fit_adds_fitted_attributes_only(vectorizer, texts):
    before = set(vars(vectorizer))
    added = set(vars(vectorizer.fit(texts))) - before
    assert added
    assert all(name.startswith("_") or name.endswith("_") for name in added)


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
