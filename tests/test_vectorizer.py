import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from teachers import (
    DIMENSION,
    FAMILIES,
    awkward_texts,
    save_sentence_transformer,
    save_transformer,
    tiny_vectorizer,
)
from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import Replace

from sklearn_static import StaticEmbeddingVectorizer, StaticTable

NO_MODEL = "no/such-model"


class TestFit:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_family(self, family, tmp_path, texts):
        folder = save_sentence_transformer(family, tmp_path)
        vectorizer = tiny_vectorizer(folder, n_components=16)
        features = vectorizer.fit_transform(texts)
        assert features.shape == (len(texts), 16)
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
        assert vectorizer.vectors_.shape == (len(vectorizer.vocabulary_), 16)

    def test_fitted_attributes(self, fitted):
        n_tokens = len(fitted.vocabulary_)
        assert fitted.vectors_.shape == (n_tokens, 8)
        assert fitted.vectors_.dtype == np.float32
        assert fitted.explained_variance_ratio_.shape == (8,)
        assert fitted.n_components_ == 8
        assert fitted.transform(["return"])[0] @ fitted.vectors_[
            fitted.vocabulary_["return"]
        ] == pytest.approx(np.linalg.norm(fitted.vectors_[fitted.vocabulary_["return"]]), rel=1e-5)

    def test_the_vocabulary_is_a_copy(self, fitted):
        fitted.vocabulary_.clear()
        assert len(fitted.vocabulary_) == len(fitted.vectors_)

    def test_public_module_name(self):
        assert StaticEmbeddingVectorizer.__module__ == StaticTable.__module__ == "sklearn_static"

    def test_sif_weighs_by_rank(self, bert_folder):
        weighted = tiny_vectorizer(bert_folder).fit(["a"]).vectors_
        plain = tiny_vectorizer(bert_folder, sif_coefficient=None).fit(["a"]).vectors_
        weights = np.linalg.norm(weighted, axis=1) / np.linalg.norm(plain, axis=1)
        ranks = np.arange(2, len(weights) + 2)
        p = 1 / ranks / np.sum(1 / ranks)
        np.testing.assert_allclose(weights, 1e-4 / (1e-4 + p), rtol=1e-4)

    def test_n_components(self, bert_folder):
        def fit(n_components):
            return tiny_vectorizer(bert_folder, n_components=n_components).fit(["a"])

        assert fit(None).n_components_ == DIMENSION
        assert fit(None).explained_variance_ratio_.sum() == pytest.approx(1)
        half = fit(0.5)
        assert half.explained_variance_ratio_.sum() >= 0.5
        assert half.explained_variance_ratio_[:-1].sum() < 0.5
        np.testing.assert_allclose(fit(4).vectors_, fit(8).vectors_[:, :4], atol=1e-6)

    def test_more_components_than_the_teacher_has(self, bert_folder, capfd):
        vectorizer = tiny_vectorizer(bert_folder, n_components=33, verbose=1)
        with pytest.raises(ValueError, match="n_components=33 must be at most 32, the teacher's"):
            vectorizer.fit(["a"])
        assert "Teacher" not in capfd.readouterr().err

    @pytest.mark.parametrize("n_components", [401, None])
    def test_fewer_tokens_than_the_teacher_has_dimensions(self, n_components, tmp_path):
        folder = save_transformer("bert", tmp_path, hidden_size=512)
        vectorizer = tiny_vectorizer(folder, n_components=n_components).fit(["a"])
        assert vectorizer.n_components_ == (n_components or 512)
        assert np.isfinite(vectorizer.transform(["a list"])).all()
        np.testing.assert_allclose(vectorizer.explained_variance_ratio_[400:], 0, atol=1e-12)

    @pytest.mark.parametrize(
        ("X", "error", "message"),
        [
            ([], ValueError, "X has no documents"),
            (iter(()), ValueError, "X has no documents"),
            ("a text", ValueError, "single str"),
            (None, TypeError, "NoneType"),
            ([1, 2], TypeError, "got int in row 0"),
            (["a", None], ValueError, "1 missing value, in row 1"),
            (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one column of documents"),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "fit_transform"])
    def test_invalid_documents_raise_before_the_model_is_loaded(self, X, error, message, method):
        with pytest.raises(error, match=message):
            getattr(StaticEmbeddingVectorizer(NO_MODEL), method)(X)

    @pytest.mark.parametrize(
        "params",
        [
            {"n_components": 0},
            {"n_components": 1.5},
            {"sif_coefficient": 0.0},
            {"pooling": "max"},
            {"norm": "l1"},
            {"quantize": "int4"},
            {"max_length": 0},
            {"missing": "drop"},
            {"memory": 3},
            {"batch_size": 0},
            {"trust_remote_code": "yes"},
        ],
        ids=str,
    )
    def test_invalid_parameters_raise_before_the_model_is_loaded(self, params):
        (name,) = params
        with pytest.raises(ValueError, match=f"The '{name}' parameter of StaticEmbedding"):
            StaticEmbeddingVectorizer(NO_MODEL, **params).fit(["a"])

    def test_no_such_model(self):
        vectorizer = StaticEmbeddingVectorizer(NO_MODEL, local_files_only=True)
        with pytest.raises(OSError, match=f"model='{NO_MODEL}' is not a local folder"):
            vectorizer.fit(["a"])

    @pytest.mark.parametrize(
        ("sif_coefficient", "quantize"), [(1e-300, None), (1e-300, "int8"), (1e-9, "float16")]
    )
    def test_sif_coefficient_that_makes_all_vectors_zero(
        self, sif_coefficient, quantize, bert_folder, capfd
    ):
        vectorizer = StaticEmbeddingVectorizer(
            bert_folder,
            sif_coefficient=sif_coefficient,
            quantize=quantize,
            memory=None,
            verbose=1,
            lsa_components=0,
        )
        with pytest.raises(ValueError, match=f"sif_coefficient={sif_coefficient} gives all token"):
            vectorizer.fit(["a"])
        assert "Teacher" not in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("sif_coefficient", "quantize"), [(1e-30, None), (1e-30, "int8"), (1e-4, "float16")]
    )
    def test_a_small_sif_coefficient(self, sif_coefficient, quantize, bert_folder, texts):
        vectorizer = tiny_vectorizer(
            bert_folder, sif_coefficient=sif_coefficient, quantize=quantize
        )
        features = vectorizer.fit_transform(texts)
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-3)

    def test_refit_replaces_everything(self, bert_folder):
        vectorizer = tiny_vectorizer(bert_folder).fit(["a"])
        vectorizer.set_params(n_components=4).fit(["a"])
        assert vectorizer.transform(["the"]).shape == (1, 4)
        assert len(vectorizer.get_feature_names_out()) == 4

    def test_fit_prints_nothing(self, bert_folder, capfd):
        tiny_vectorizer(bert_folder, n_components=4).fit(["a"])
        assert capfd.readouterr() == ("", "")


class TestTransform:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_features_are_the_sum_of_the_tokens_vectors(self, family, tmp_path, texts):
        folder = save_sentence_transformer(family, tmp_path)
        vectorizer = tiny_vectorizer(folder, norm=None).fit(texts)
        documents = [t for t in awkward_texts() if t.strip()] + texts
        features = []
        for text in documents:
            encoding = vectorizer.table_.vocabulary.tokenizer.encode(text, add_special_tokens=False)
            rows = [vectorizer.vocabulary_.get(token) for token in encoding.tokens]
            known = [row for row in rows if row is not None]
            features.append(
                vectorizer.vectors_[known].mean(axis=0) if known else np.zeros(8, np.float32)
            )
        empty = sum(not f.any() for f in features)
        if empty:
            with pytest.warns(UserWarning, match=f"token: {empty} of {len(documents)}"):
                result = vectorizer.transform(documents)
        else:
            result = vectorizer.transform(documents)
        np.testing.assert_allclose(result, features, atol=1e-5)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_tokens_are_those_of_the_published_tokenizer(self, family, tmp_path, texts):
        folder = save_sentence_transformer(family, tmp_path)
        vectorizer = tiny_vectorizer(folder).fit(texts)
        published = Tokenizer.from_file(str(folder / "tokenizer.json"))
        published.no_truncation()
        published.no_padding()
        row_of_token = vectorizer.vocabulary_
        for text in [*awkward_texts(), *texts]:
            rows, _ = vectorizer.table_.vocabulary.tokens([text]).in_vocabulary(None)
            tokens = published.encode(text, add_special_tokens=False).tokens
            assert rows.tolist() == [row_of_token[t] for t in tokens if t in row_of_token]

    def test_a_tokenizer_that_the_engine_has_no_equivalent_of_reads_all_documents(
        self, tmp_path, capsys
    ):
        folder = save_sentence_transformer("roberta", tmp_path)
        path = str(folder / "tokenizer.json")
        tokenizer = Tokenizer.from_file(path)
        tokenizer.normalizer = Replace(Regex("(?<=return) the"), "")
        tokenizer.save(path)
        vectorizer = tiny_vectorizer(folder, verbose=1)
        features = vectorizer.fit_transform(["return the value", "return value"])
        np.testing.assert_array_equal(features[0], features[1])
        assert vectorizer.table_.tokenizer.composition is None
        assert "uses the original one" in capsys.readouterr().out

    def test_one_warning_counts_the_documents_without_an_in_vocabulary_token(self, fitted):
        with pytest.warns(UserWarning, match="with no in-vocabulary token: 3 of 4") as caught:
            features = fitted.transform(["", "字", "[SEP]", "the"])
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert features.any(axis=1).tolist() == [False, False, False, True]

    def test_the_warning_of_fit_transform_points_to_its_caller(self, bert_folder):
        vectorizer = tiny_vectorizer(bert_folder)
        with pytest.warns(UserWarning, match="token: 1 of 2") as caught:
            vectorizer.fit_transform(["", "the"])
        assert caught[0].filename == __file__

    def test_no_documents(self, fitted):
        features = fitted.transform([])
        assert features.shape == (0, 8)
        assert features.dtype == np.float32

    def test_missing_as_empty(self, bert_folder):
        vectorizer = tiny_vectorizer(bert_folder, missing="empty")
        with pytest.warns(UserWarning, match="token: 1 of 2"):
            features = vectorizer.fit_transform(["the", None])
        assert not features[1].any()

    def test_max_length(self, bert_folder):
        vectorizer = tiny_vectorizer(bert_folder, max_length=3)
        features = vectorizer.fit_transform(["return the value of it", "return the value"])
        np.testing.assert_array_equal(features[0], features[1])

    @pytest.mark.parametrize("quantize", ["float16", "int8"])
    def test_quantized_features_are_close(self, quantize, bert_folder, fitted, texts):
        vectorizer = tiny_vectorizer(bert_folder, quantize=quantize)
        features = vectorizer.fit_transform(texts)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, fitted.transform(texts), atol=2e-2)

    @pytest.mark.parametrize("n_jobs", [None, 2])
    def test_many_batches_are_as_one(self, n_jobs, bert_folder, fitted, texts):
        vectorizer = tiny_vectorizer(bert_folder, n_jobs=n_jobs)
        vectorizer.fit(texts)
        many = texts * 20 + ["long " * 300_000] * 2
        features = vectorizer.transform(many)
        np.testing.assert_array_equal(features[: len(texts)], fitted.transform(texts))
        np.testing.assert_array_equal(features[:-2], np.tile(features[: len(texts)], (20, 1)))
        np.testing.assert_array_equal(features[-1], fitted.transform([many[-1]])[0])

    @pytest.mark.parametrize(
        ("name", "value"),
        [("max_length", -3), ("missing", "drop"), ("n_jobs", "a"), ("norm", "l1")],
    )
    def test_a_parameter_that_is_set_after_fit_is_checked(self, name, value, fitted):
        changed = pickle.loads(pickle.dumps(fitted)).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of StaticEmbeddingVec"):
            changed.transform(["the value"])

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            StaticEmbeddingVectorizer().transform(["a"])
        with pytest.raises(NotFittedError):
            StaticEmbeddingVectorizer().get_feature_names_out()

    @pytest.mark.parametrize("name", ["vectors_", "vocabulary_"])
    def test_attributes_before_fit(self, name):
        vectorizer = StaticEmbeddingVectorizer()
        assert not hasattr(vectorizer, name)
        with pytest.raises(NotFittedError, match="This StaticEmbeddingVectorizer instance is not"):
            getattr(vectorizer, name)


class TestInScikitLearn:
    @pytest.mark.parametrize(
        "container",
        [
            pd.DataFrame,
            pytest.param(
                pd.Series,
                marks=pytest.mark.skipif(
                    parse_version(sklearn.__version__) < parse_version("1.7.2"),
                    reason="scikit-learn's set_output looked at the index of frames only",
                ),
            ),
        ],
    )
    def test_set_output(self, container, bert_folder, fitted, texts):
        vectorizer = tiny_vectorizer(bert_folder)
        names = [f"staticembeddingvectorizer_semantic{i}" for i in range(8)]
        X = container(texts, index=np.arange(len(texts))[::-1])
        frame = vectorizer.set_output(transform="pandas").fit_transform(X)
        assert frame.columns.tolist() == names
        assert frame.index.tolist() == X.index.tolist()
        np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(texts))
        frame = vectorizer.set_output(transform="polars").fit_transform(pl.Series(texts))
        assert frame.columns == names
        np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(texts))

    @pytest.mark.parametrize("columns", ["text", ["text"]], ids=["series", "frame"])
    @pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
    def test_column_transformer(self, frame, columns, bert_folder, fitted, texts):
        data = frame({"text": texts, "length": [len(t) for t in texts]})
        if frame is pd.DataFrame:
            data = data.sample(frac=1, random_state=0)
        transformer = ColumnTransformer(
            [
                ("text", tiny_vectorizer(bert_folder), columns),
                ("length", StandardScaler(), ["length"]),
            ]
        )
        transformer.set_output(transform="pandas" if frame is pd.DataFrame else "polars")
        features = transformer.fit_transform(data)
        assert features.shape == (len(texts), 9)
        assert features.columns[0] == "text__text_semantic0"
        expected = fitted.transform(data["text"])
        np.testing.assert_array_equal(features.to_numpy()[:, :8].astype(np.float32), expected)

    def test_pyarrow(self, fitted, texts):
        np.testing.assert_array_equal(fitted.transform(pa.array(texts)), fitted.transform(texts))

    @pytest.mark.slow
    def test_grid_search_with_workers(self, bert_folder, texts, tmp_path):
        labels = [len(t) > 200 for t in texts]
        search = GridSearchCV(
            make_pipeline(
                StaticEmbeddingVectorizer(bert_folder, memory=tmp_path, lsa_components=0),
                LogisticRegression(),
            ),
            {
                "staticembeddingvectorizer__n_components": [4, 16],
                "staticembeddingvectorizer__sif_coefficient": [None, 1e-2],
            },
            n_jobs=2,
            cv=3,
            error_score="raise",
        ).fit(texts, labels)
        assert search.best_score_ > 0.5
        assert search.predict(texts[:2]).shape == (2,)

    def test_clone_and_repr(self, fitted, bert_folder):
        copy = clone(fitted)
        assert copy.get_params() == fitted.get_params()
        assert not hasattr(copy, "table_")
        assert repr(StaticEmbeddingVectorizer("m", norm=None, lsa_components=0)) == (
            "StaticEmbeddingVectorizer(lsa_components=0, model='m', norm=None)"
        )
        assert "StaticEmbeddingVectorizer" in fitted._repr_html_()

    def test_html_links_to_the_page_of_the_class(self, fitted):
        link = "/generated/sklearn_static.StaticEmbeddingVectorizer.html"
        assert f'{link}"' in make_pipeline(fitted)._repr_html_()

    def test_get_params_does_not_touch_the_path(self, bert_folder):
        assert (
            StaticEmbeddingVectorizer(bert_folder, lsa_components=0).get_params()["model"]
            is bert_folder
        )
        assert isinstance(bert_folder, Path)


class Shouting(StaticEmbeddingVectorizer):
    """A subclass that changes what is transformed."""

    def transform(self, X):
        return super().transform([document.upper() for document in X])


class Whispering(StaticEmbeddingVectorizer):
    """A subclass that changes what is fitted."""

    def fit(self, X, y=None):
        return super().fit([document.lower() for document in X], y)


@pytest.mark.parametrize("cls", [Shouting, Whispering])
def test_a_subclass_trains_on_the_features_with_which_it_predicts(cls, bert_folder):
    documents = ["A List of names", "RETURN the Value", "names"]
    vectorizer = cls(bert_folder, n_components=8, distill_on="corpus")
    features = vectorizer.fit_transform(iter(documents))
    np.testing.assert_array_equal(features, clone(vectorizer).fit(documents).transform(documents))


class Shortcut(StaticEmbeddingVectorizer):
    """A subclass whose `fit` calls `fit_transform`."""

    def fit(self, X, y=None):
        self.fit_transform(X, y)
        return self


def test_a_subclass_may_fit_by_fit_transform(bert_folder):
    documents = ["a list of names", "return the value"]
    vectorizer = Shortcut(bert_folder, n_components=8)
    features = vectorizer.fit(documents).transform(documents)
    np.testing.assert_array_equal(vectorizer.fit_transform(documents), features)
