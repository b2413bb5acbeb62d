"""Fitting the table to the teacher's embeddings of documents."""

import json
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import HalvingGridSearchCV, ParameterGrid
from sklearn.pipeline import make_pipeline
from teachers import (
    FAMILIES,
    awkward_texts,
    change,
    corpus_of,
    embeddings,
    engine,
    reference_features,
    save_sentence_transformer,
    tiny_teacher,
    usable,
    write_json,
)
from tokenizers.normalizers import Replace

from sklearn_static import StaticEmbeddingVectorizer, StaticTable
from sklearn_static._distill.corpus import checked, tokenize
from sklearn_static._distill.recipes import static_vectors
from sklearn_static._distill.targets import column_scales, smooth
from sklearn_static._serve import FastTokenizer


@pytest.fixture
def vectorizer(bert_folder) -> StaticEmbeddingVectorizer:
    return StaticEmbeddingVectorizer(
        bert_folder, n_components=16, distill_on="corpus", lsa_components=4
    )


class TestEmbeddings:
    """As sentence-transformers' encode gives them."""

    def check(self, folder: Path, documents: list[str]) -> None:
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        model = peer.SentenceTransformer(str(folder), device="cpu")
        expected = model.encode(documents, normalize_embeddings=True)
        cosines = (embeddings(folder, documents) * expected).sum(axis=1)
        assert cosines.min() > 0.9999

    @pytest.mark.peers
    @pytest.mark.parametrize("family", FAMILIES)
    def test_of_all_families(self, family, texts, tmp_path):
        pooling = {"pooling_mode": "lasttoken"} if family == "qwen" else None
        folder = save_sentence_transformer(family, tmp_path, pooling=pooling, dense={})
        # Of some families' 64 positions the first stand for padding.
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 60})
        # Else transformers 5 builds a normalizer of its own for XLM-R.
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
        write_json(folder / "tokenizer_config.json", settings)
        self.check(folder, [*texts, *awkward_texts()])

    @pytest.mark.peers
    @pytest.mark.parametrize("pooling", ["cls", "max", "weightedmean", "lasttoken"])
    def test_of_all_poolings(self, pooling, texts, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, pooling={"pooling_mode": pooling})
        self.check(folder, texts[:50])

    @pytest.mark.peers
    @pytest.mark.parametrize("max_seq_length", [10, None])
    def test_with_another_limit(self, max_seq_length, texts, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length})
        self.check(folder, texts[:50])

    @pytest.mark.peers
    @pytest.mark.minilm
    def test_of_real_documents_by_the_real_teacher(self, minilm_path, dataset):
        texts = (
            dataset("banking77").train_documents[:100]
            + dataset("20newsgroups").train_documents[:15]
        )
        self.check(minilm_path, texts)

    @pytest.mark.slow
    def test_a_plain_transformer_reads_as_far_as_it_has_positions(self, tmp_path):
        folder = save_sentence_transformer("xlm-roberta", tmp_path)
        (folder / "sentence_bert_config.json").unlink()
        long, longer = ("a list of names " * n for n in (40, 80))
        both = embeddings(folder, [long, longer])
        np.testing.assert_array_equal(both[0], both[1])


def frequencies(table: StaticTable, documents: list[str]) -> tuple[Counter[str], Counter[str]]:
    """Document frequencies of a table's tokens, and of pairs of adjacent ones, by name."""
    names = list(table.vocabulary.row_of_token)
    tokens, pairs = Counter(), Counter()
    rows, offsets = table.vocabulary.tokens(documents).in_vocabulary(None)
    for start, stop in pairwise(offsets):
        words = [names[row] for row in rows[start:stop]]
        tokens.update(set(words))
        pairs.update({f"{a} {b}" for a, b in pairwise(words)})
    return tokens, pairs


@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 2)])
def test_features(ngram_range, vectorizer, texts):
    vectorizer.set_params(ngram_range=ngram_range)
    features = vectorizer.fit_transform(texts)
    assert features.shape == (len(texts), 20)
    assert len(vectorizer.get_feature_names_out()) == 20
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(features, vectorizer.fit(texts).transform(texts))


def test_sums_are_near_the_teachers_embeddings(vectorizer, bert_folder, texts):
    expected = embeddings(bert_folder, list(texts))
    cosines = {}
    for alpha in (1e-3, 0.3, 1e3):
        vectorizer.set_params(n_components=None, lsa_components=0, alpha=alpha, max_length=62)
        features = vectorizer.fit_transform(texts)
        # The axes are rotated; the angles between documents are preserved.
        cosines[alpha] = np.corrcoef(
            (features @ features.T).ravel(), (expected @ expected.T).ravel()
        )
    near, default, far = (cosine[0, 1] for cosine in cosines.values())
    assert near > 0.99
    assert near > default > far


def test_the_targets_are_smoothed_and_scaled(vectorizer, bert_folder, texts):
    vectorizer.set_params(n_components=None, lsa_components=0, alpha=1e-3, max_length=62)
    features = vectorizer.fit_transform(texts)
    given = embeddings(bert_folder, list(texts))
    _, values, directions = np.linalg.svd(given, full_matrices=False)
    scales = column_scales(values**2 / (values**2).sum(), len(given))
    near = given @ directions.T.astype(np.float32)
    smooth(near)
    errors = []
    for targets in (given, near, near * scales):
        unit = targets / np.linalg.norm(targets, axis=1, keepdims=True)
        errors.append(np.linalg.norm(features @ features.T - unit @ unit.T))
    plain, without_scales, as_fitted = errors
    assert as_fitted < 0.5 * without_scales < 0.5 * plain


def test_the_order_of_documents_does_not_matter(vectorizer, texts):
    vectorizer.set_params(ngram_range=(1, 2), max_teacher_tokens=3000)
    with pytest.warns(UserWarning, match="The teacher read"):
        first = vectorizer.fit(texts).vectors_
    with pytest.warns(UserWarning, match="The teacher read"):
        second = vectorizer.fit(texts[::-1]).vectors_
    np.testing.assert_array_equal(first, second)


def test_directions_are_those_of_the_documents(vectorizer, bert_folder, texts):
    vectorizer.fit(texts)
    values = np.linalg.svd(embeddings(bert_folder, list(texts)), compute_uv=False)
    shares = values**2 / (values**2).sum()
    np.testing.assert_allclose(vectorizer.explained_variance_ratio_, shares[:16], rtol=1e-3)
    vectorizer.set_params(n_components=0.9).fit(texts)
    assert vectorizer.n_components_ == np.searchsorted(np.cumsum(shares), 0.9) + 1
    assert vectorizer.transform(texts[:1]).shape[1] == vectorizer.n_components_ + 4


class TestBigrams:
    @pytest.fixture
    def fitted(self, vectorizer, texts) -> StaticEmbeddingVectorizer:
        return vectorizer.set_params(ngram_range=(1, 2), max_bigrams=300).fit(texts)

    def test_rows(self, fitted):
        n_tokens = len(fitted.table_.vocabulary)
        assert fitted.vectors_.shape == (n_tokens + 300, 20)
        assert list(fitted.vocabulary_.values()) == list(range(n_tokens + 300))
        assert any(" " in name for name in fitted.vocabulary_)

    @pytest.mark.parametrize("quantize", [None, "float16", "int8"])
    def test_features_are_the_sum_of_rows(self, quantize, vectorizer, texts):
        vectorizer.set_params(ngram_range=(1, 2), quantize=quantize)
        table = vectorizer.fit(texts).table_
        assert len(table.bigrams)
        documents = [*texts, *awkward_texts()]
        np.testing.assert_array_equal(
            table.transform(documents)[0], reference_features(table, documents)
        )

    @pytest.mark.parametrize("ngram_range", [(2, 2), (1, 3), (1,), (1, 1, 1), [1, 2], "12"])
    def test_other_ranges(self, ngram_range, vectorizer):
        with pytest.raises(ValueError, match=r"'ngram_range' .* must be a tuple among .* Got"):
            vectorizer.set_params(ngram_range=ngram_range).fit(["a"])

    def test_vocabulary_bigrams_have_lsa_components_only(self, vectorizer, texts):
        vectorizer.set_params(distill_on="vocabulary", ngram_range=(1, 2), max_bigrams=300)
        vectors = vectorizer.fit(texts).vectors_
        n_tokens = len(vectorizer.table_.vocabulary)
        assert vectors.shape == (n_tokens + 300, 20)
        assert not vectors[n_tokens:, :16].any()
        assert vectors[n_tokens:, 16:].any(axis=1).all()
        plain = clone(vectorizer).set_params(ngram_range=(1, 1)).fit(texts).vectors_
        np.testing.assert_array_equal(vectors[:n_tokens, :16], plain[:, :16])

    def test_with_the_vocabulary_auto_gives_lsa_components(self, vectorizer, texts):
        vectorizer.set_params(distill_on="vocabulary", ngram_range=(1, 2))
        vectorizer.set_params(lsa_components="auto")
        assert vectorizer.fit_transform(texts).shape[1] == 16 + 128
        assert vectorizer.fit_transform(texts[:5]).shape[1] == 16 + 5

    def test_no_vocabulary_bigrams_without_lsa_components(self, vectorizer, texts):
        vectorizer.set_params(distill_on="vocabulary", lsa_components=0)
        plain = clone(vectorizer).fit(texts)
        both = vectorizer.set_params(ngram_range=(1, 2)).fit(texts)
        assert both.table_.bigrams is None
        np.testing.assert_array_equal(both.vectors_, plain.vectors_)


class TestLexicalComponents:
    def test_auto(self, vectorizer, texts):
        vectorizer.set_params(lsa_components="auto")
        assert vectorizer.fit_transform(texts).shape[1] == 16 + 128
        assert vectorizer.fit_transform(texts[:20]).shape[1] == 16 + 20
        vectorizer.set_params(distill_on="vocabulary")
        assert vectorizer.fit_transform(texts).shape[1] == 16 + 128
        names = vectorizer.get_feature_names_out()
        assert names[[0, 15, 16, 143]].tolist() == [
            f"staticembeddingvectorizer_{name}"
            for name in ("semantic0", "semantic15", "lsa0", "lsa127")
        ]

    def test_static_model_has_no_lsa_components_by_default(self, fitted, texts):
        static = StaticEmbeddingVectorizer(fitted.table_)
        assert static.fit_transform(texts).shape[1] == 8
        assert static.set_params(lsa_components=5).fit_transform(texts).shape[1] == 13
        assert static.get_feature_names_out()[-1] == "staticembeddingvectorizer_lsa4"

    def test_with_the_vocabulary_alone(self, vectorizer, texts):
        vectorizer.set_params(distill_on="vocabulary")
        both = vectorizer.fit(texts).vectors_
        plain = vectorizer.set_params(lsa_components=0).fit(texts).vectors_
        np.testing.assert_array_equal(both[:, :16], plain)
        assert both[:, 16:].any()

    def test_more_lsa_components_than_documents(self, vectorizer, texts):
        vectorizer.set_params(lsa_components=40)
        with pytest.warns(UserWarning, match=r"lsa_components=40 is reduced to 30, the number of"):
            features = vectorizer.fit_transform(texts[:30])
        assert features.shape[1] == 16 + 30
        assert len(vectorizer.get_feature_names_out()) == 16 + 30

    def test_a_halving_search_that_starts_with_few_documents(self, vectorizer, texts):
        documents = sorted(set(texts))
        search = HalvingGridSearchCV(
            make_pipeline(vectorizer.set_params(lsa_components=40), LogisticRegression()),
            {"logisticregression__C": [1, 10]},
            min_resources=40,
            cv=2,
            random_state=0,
        )
        with pytest.warns(UserWarning, match=r"lsa_components=40 is reduced to \d+, the number"):
            search.fit(documents, ["list" in document for document in documents])
        assert search.best_estimator_[0].transform(documents[:1]).shape == (1, 16 + 40)


class TestMinDf:
    @pytest.mark.parametrize(
        "settings",
        [
            {"distill_on": "vocabulary", "lsa_components": 0},
            {"distill_on": "vocabulary"},
            {},
            {"ngram_range": (1, 2)},
            {"ngram_range": (1, 2), "quantize": "int8"},
            {"ngram_range": (1, 2), "distill_on": "vocabulary"},
        ],
        ids=str,
    )
    def test_tokens_and_bigrams_that_are_kept(self, settings, vectorizer, texts):
        whole = clone(vectorizer).set_params(**settings).fit(texts).table_
        small = vectorizer.set_params(**settings, min_df=4).fit(texts).table_
        tokens, _ = frequencies(whole, texts)
        names = [name for name in whole.vocabulary.row_of_token if tokens[name] >= 4]
        assert 0 < len(names) < len(whole.vocabulary)
        assert list(small.vocabulary.row_of_token) == names
        pairs = set(small.row_of_name) - set(names)
        # Bigrams are those of the kept tokens, as in transform.
        _, bigrams = frequencies(small, texts)
        frequent = {pair for pair in bigrams if bigrams[pair] >= 4}
        assert bool(pairs) == ("ngram_range" in settings)
        # With "corpus", they are chosen from the part of each document that the teacher reads.
        assert pairs <= frequent
        assert pairs in (set(), frequent) or vectorizer.distill_on == "corpus"
        assert np.isfinite(small.transform(texts)[0]).all()

    @pytest.mark.parametrize("min_df", [1, 4, 0.02])
    @pytest.mark.parametrize("sif_coefficient", [1e-4, None])
    def test_vectors_are_principal_components_of_the_kept_tokens(
        self, min_df, sif_coefficient, vectorizer, bert_folder, texts
    ):
        vectorizer.set_params(
            distill_on="vocabulary",
            lsa_components=0,
            n_components=8,
            sif_coefficient=sif_coefficient,
        )
        fitted = vectorizer.set_params(min_df=min_df).fit(texts)
        ids = fitted.table_.vocabulary.token_ids
        teacher = tiny_teacher(bert_folder)
        tokens = teacher.vocabulary.rows(ids)
        assert 50 < len(tokens) < len(teacher.vocabulary)
        kept = teacher.token_outputs(tokens)
        kept = kept - kept.mean(axis=0)
        _, values, axes = np.linalg.svd(kept, full_matrices=False)
        expected = kept @ axes[:8].T
        if sif_coefficient is not None:
            p = 1 / (tokens + 2)  # by the rank in the teacher's vocabulary, not in the table
            p /= (1 / np.arange(2, len(teacher.vocabulary) + 2)).sum()
            expected *= (sif_coefficient / (sif_coefficient + p))[:, None]
        signs = np.sign((expected * fitted.vectors_).sum(axis=0))
        np.testing.assert_allclose(fitted.vectors_, expected * signs, rtol=1e-3, atol=1e-4)
        shares = values**2 / (values**2).sum()
        np.testing.assert_allclose(fitted.explained_variance_ratio_, shares[:8], rtol=1e-3)

    def test_only_tokens_that_the_documents_contain_matter(self, vectorizer, texts):
        """They are the same whatever else is in the vocabulary, except for the weights."""
        vectorizer.set_params(sif_coefficient=None, ngram_range=(1, 2), min_df=1, max_length=20)
        fitted = vectorizer.fit(texts)
        rows, offsets = fitted.table_.vocabulary.tokens(texts).in_vocabulary(20)
        assert set(rows) == set(range(len(fitted.table_.vocabulary)))
        assert (np.diff(offsets) <= 20).all()
        features = fitted.transform(texts)
        np.testing.assert_array_equal(fitted.set_params(min_df=1e-9).fit_transform(texts), features)

    def test_a_document_without_a_kept_token(self, vectorizer):
        documents = ["list of names", "list of values", "list of names", "key"]
        vectorizer.set_params(n_components=4, lsa_components="auto", min_df=2)
        with pytest.warns(UserWarning, match="no in-vocabulary token: 1 of 4"):
            features = vectorizer.fit_transform(documents)
        assert features.shape == (4, 4 + 3)
        assert features.any(axis=1).tolist() == [True, True, True, False]
        with pytest.warns(UserWarning, match="lsa_components=4 is reduced to 3, the number"):
            vectorizer.set_params(lsa_components=4).fit(documents)

    @pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
    def test_fewer_tokens_than_components(self, distill_on, vectorizer):
        vectorizer.set_params(distill_on=distill_on, min_df=1, lsa_components=0)
        for documents in (["names"], ["list", "names"], ["a list of names", "a list"]):
            features = vectorizer.fit_transform(documents)
            assert features.shape == (len(documents), 16)
            assert np.isfinite(features).all()
            assert features.any(axis=1).all()
        if distill_on == "vocabulary":
            assert features[:, :3].any(axis=0).all()
            assert not features[:, 3:].any()
            assert not vectorizer.explained_variance_ratio_[3:].any()
        with pytest.raises(ValueError, match="n_components=33 must be at most 32, the teacher's"):
            vectorizer.set_params(n_components=33).fit(documents)

    def test_bigrams_of_kept_tokens_alone_are_kept(self, with_bigrams):
        whole = with_bigrams.table_
        tokens = np.arange(0, len(whole.vocabulary), 2)
        vectors = static_vectors(whole, tokens)
        pairs = whole.bigrams.pairs
        kept = (pairs % 2 == 0).all(axis=1)
        assert 0 < np.count_nonzero(kept) < len(kept)
        np.testing.assert_array_equal(vectors.bigrams.pairs, pairs[kept] // 2)
        expected = [*tokens, *(len(whole.vocabulary) + np.flatnonzero(kept))]
        np.testing.assert_array_equal(vectors.vectors, whole.vectors()[expected])

    def test_a_static_model_keeps_its_vectors(self, with_bigrams, texts):
        whole = with_bigrams.table_
        static = StaticEmbeddingVectorizer(whole, min_df=6, lsa_components=0).fit(texts)
        names = list(static.vocabulary_)
        assert any(" " in name for name in names)
        rows = [whole.row_of_name[name] for name in names]
        assert 0 < len(rows) < len(whole.stored)
        np.testing.assert_array_equal(static.vectors_, whole.vectors()[rows])
        tokens, bigrams = frequencies(static.table_, texts)
        kept = [bigrams[name] if " " in name else tokens[name] for name in names]
        assert min(kept) >= 6

    def test_zero_keeps_all(self, vectorizer, texts):
        vectorizer.set_params(min_df=0, distill_on="vocabulary").fit(texts)
        assert len(vectorizer.vectors_) == len(vectorizer.table_.vocabulary)

    def test_a_float_is_a_share_of_all_documents(self, vectorizer):
        vectorizer.set_params(n_components=4, lsa_components=0)
        documents = ["list names", "list value", "list", "\u2603"]
        for min_df, names in (
            (1, {"list", "names", "value"}),
            (0.25, {"list", "names", "value"}),
            (2, {"list"}),
            (0.26, {"list"}),
            (0.75, {"list"}),
            (np.int64(3), {"list"}),
        ):
            assert vectorizer.set_params(min_df=min_df).fit(documents).vocabulary_.keys() == names
        with pytest.raises(ValueError, match=r"pruning by min_df=1\.0 no tokens remain"):
            vectorizer.set_params(min_df=1.0).fit(documents)
        assert vectorizer.fit(documents[:3]).vocabulary_.keys() == {"list"}

    def test_min_df_that_leaves_no_token(self, vectorizer, texts):
        with pytest.raises(
            ValueError, match="pruning by min_df=1000 no tokens remain; lower min_df"
        ):
            vectorizer.set_params(min_df=1000).fit(texts)


class TestBudget:
    def test_the_warning_counts(self, vectorizer, texts):
        vectorizer.set_params(max_teacher_tokens=2000, memory=None)
        said = (
            r"The teacher read \d\d of \d+ distinct documents, .*=2000; "
            r"the others would take about \d+ s"
        )
        with pytest.warns(UserWarning, match=said) as caught:
            vectorizer.fit(texts)
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="The teacher read") as caught:
            vectorizer.fit_transform(texts)
        assert caught[0].filename == __file__

    @pytest.fixture
    def long_folder(self, tmp_path):
        """A teacher that reads more tokens than a passage has."""
        folder = save_sentence_transformer("bert", tmp_path, max_position_embeddings=256)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 256})
        return folder

    def test_long_documents_are_read_in_passages(self, long_folder, texts):
        long = [" ".join(texts[i : i + 20]) for i in range(len(texts) - 20)]
        vectorizer = StaticEmbeddingVectorizer(
            long_folder, n_components=8, distill_on="corpus", max_teacher_tokens=3000, memory=None
        )
        said = (
            r"The teacher read passages of \d+ of \d+ distinct documents, \d+% of their tokens, "
            r"limited by max_teacher_tokens=3000; the others would take about \d+ s"
        )
        with pytest.warns(UserWarning, match=said):
            vectors = vectorizer.fit(long).vectors_
        assert np.isfinite(vectors).all()

    @pytest.mark.parametrize("n_more", [0, 1, 30])
    def test_it_is_said_whenever_something_is_not_read(self, n_more, long_folder):
        """Also when each document has a passage, and the first passage is a beginning."""
        long = " ".join(["the value of a list is set"] * 40)
        documents = [f"{long} {i}" for i in range(n_more)] + [long, "the value"]
        teacher = tiny_teacher(long_folder)
        vectorizer = StaticEmbeddingVectorizer(long_folder, distill_on="corpus", n_components=4)
        corpus = corpus_of(documents, teacher.tokenizer)
        total = len(teacher.document_inputs(corpus, None)[0].ids)
        vectorizer.set_params(max_teacher_tokens=total).fit(documents)
        with pytest.warns(UserWarning, match="The teacher read"):
            vectorizer.set_params(max_teacher_tokens=total - 1).fit(documents)

    def test_duplicates_cost_nothing(self, vectorizer, texts):
        vectorizer.set_params(max_teacher_tokens=20_000).fit([*texts, *["the value is set"] * 9000])

    def test_documents_that_differ_in_case_only_count_as_one_given_twice(self, vectorizer, texts):
        """For a teacher that ignores case."""
        some = [text.lower() for text in texts[:100]]
        same, twice = (
            vectorizer.fit([*some, *more]).vectors_
            for more in (map(str.upper, some[:40]), some[:40])
        )
        np.testing.assert_allclose(same, twice, atol=1e-5)

    def test_unsigned_integers(self, vectorizer, texts):
        with pytest.warns(UserWarning, match="The teacher read"):
            vectorizer.set_params(max_teacher_tokens=np.uint64(2000)).fit(texts)

    def test_none_has_no_limit(self, vectorizer, texts):
        vectorizer.set_params(max_teacher_tokens=None).fit(texts)

    def test_sampling_goes_by_the_seed(self, vectorizer, texts):
        vectorizer.set_params(max_teacher_tokens=2000)
        with pytest.warns(UserWarning, match="The teacher read"):
            first, again, other = (
                vectorizer.set_params(random_state=seed).fit(texts).vectors_
                for seed in (0, np.int64(0), 1)
            )
        np.testing.assert_array_equal(first, again)
        assert not np.allclose(first, other)

    def test_fewer_documents_than_components_within_the_budget(self, vectorizer, texts):
        vectorizer.set_params(max_teacher_tokens=100)
        with pytest.warns(UserWarning, match=r"The teacher read \d of"):
            assert vectorizer.fit_transform(texts).shape[1] == 20


class TestTheCheckOfTheEngine:
    """For a tokenizer that replaces a word, which the engine is told nothing of."""

    documents = ("a list of names", "return the value")

    @pytest.fixture
    def table(self) -> StaticTable:
        tokenizer = change("roberta", normalizer=Replace(" the ", " "))
        vocabulary = usable(tokenizer)
        vectors = np.random.default_rng(0).standard_normal((len(vocabulary), 4))
        wrong = FastTokenizer(
            vocabulary, engine(usable(FAMILIES["roberta"].tokenizer())).composition
        )
        return StaticTable.from_vectors(wrong, vectors.astype(np.float32), None)

    def test_the_engine_is_used_as_long_as_it_agrees(self, table):
        assert checked(table.tokenizer, [self.documents[0]]) is table.tokenizer
        tokenizer = checked(table.tokenizer, list(self.documents))
        tokens = tokenize(list(self.documents), tokenizer)
        assert tokenizer.composition is None
        rows, _ = table.vocabulary.tokens(list(self.documents))
        np.testing.assert_array_equal(tokens.rows, rows)

    def test_fit_falls_back_to_the_original_tokenizer(self, table):
        documents = list(self.documents)
        assert not np.array_equal(
            table.transform(documents)[0], reference_features(table, documents)
        )
        fitted = StaticEmbeddingVectorizer(table).fit(documents)
        assert fitted.table_.tokenizer.composition is None
        expected = reference_features(table, documents)
        np.testing.assert_array_equal(fitted.transform(documents), expected)

    def test_verbose_says_the_share_of_documents(self, table, capsys):
        StaticEmbeddingVectorizer(table, verbose=1).fit(list(self.documents))
        assert "the model's tokenizer for 100.0% of the documents" in capsys.readouterr().out
        StaticEmbeddingVectorizer(table, verbose=1).fit(["a list of names"])
        assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 2)])
def test_every_combination_fits(distill_on, ngram_range, bert_folder):
    documents = ["a list of names", "the list of names", "names", "return the value", "a value"]
    grid = {
        "lsa_components": [0, 3, "auto"],
        "min_df": [0, 2, 0.4],
        "quantize": [None, "float16", "int8"],
        "n_components": [32, 0.9, None],
    }
    vectorizer = StaticEmbeddingVectorizer(
        bert_folder, distill_on=distill_on, ngram_range=ngram_range
    )
    for settings in ParameterGrid(grid):
        features = vectorizer.set_params(**settings).fit_transform(documents)
        assert features.shape == (5, len(vectorizer.get_feature_names_out()))
        assert np.isfinite(features).all()
        assert features.any(axis=1).all()
        if isinstance(settings["n_components"], int):
            assert vectorizer.n_components_ == settings["n_components"]


class TestDegenerateInput:
    @pytest.fixture(autouse=True)
    def any_number_of_texts(self, vectorizer):
        vectorizer.set_params(n_components=None, lsa_components="auto", ngram_range=(1, 2))

    @pytest.mark.parametrize(
        "documents",
        [
            ["a single text"],
            ["the same"] * 40,
            ["a list", "", "\u2603", "of names"],
            ["list", "names", "value"],
            ["a"],
            ["list " * 500, "of names " * 300],
        ],
        ids=["one", "equal", "unknown", "words", "one word", "long"],
    )
    def test_degenerate_documents(self, documents, vectorizer):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* no in-vocabulary token")
            features = vectorizer.fit_transform(documents)
        assert np.isfinite(features).all()
        assert features.shape[1] == vectorizer.n_components_ + min(
            128, sum(map(bool, features[:, 0]))
        )

    def test_no_text_with_an_in_vocabulary_token(self, vectorizer):
        with pytest.raises(ValueError, match="X has no document with an in-vocabulary token"):
            vectorizer.fit(["", "\u2603"])
        with pytest.raises(NotFittedError):
            vectorizer.transform(["a"])

    def test_no_in_vocabulary_token_as_far_as_the_teacher_reads(self, vectorizer):
        with pytest.raises(
            ValueError,
            match=r"No document in X has an in-vocabulary token in the part .*, 62 tokens",
        ):
            vectorizer.fit(["\u2603 " * 100 + "list"])

    @pytest.mark.parametrize("alpha", [1e-300, 1e-30, 1e30, 1e300])
    def test_any_alpha(self, alpha, vectorizer, texts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            vectorizer.set_params(alpha=alpha, ngram_range=(1, 1))
            assert np.isfinite(vectorizer.fit_transform(texts)).all()

    @pytest.mark.parametrize("n_documents", [1, 3, 10])
    def test_fewer_documents_than_components(self, n_documents, vectorizer, texts):
        vectorizer.set_params(n_components=16, lsa_components=0).fit(texts[:n_documents])
        assert vectorizer.n_components_ == 16
        assert vectorizer.explained_variance_ratio_[:n_documents].sum() == pytest.approx(1)
        # Outside the span of the documents, tokens differ as the teacher's outputs do.
        assert np.linalg.matrix_rank(vectorizer.vectors_) == 16
        features = vectorizer.transform(texts)
        assert features.shape == (len(texts), 16)
        assert np.isfinite(features).all()

    def test_more_components_than_the_teacher_has(self, vectorizer, texts):
        with pytest.raises(ValueError, match="n_components=33 must be at most 32, the teacher's"):
            vectorizer.set_params(n_components=33).fit(texts)

    @pytest.mark.slow
    def test_many_short_documents(self, vectorizer):
        documents = [
            f"{a} {b}" for a in ["list", "names", "value", "set", "key"] for b in range(4000)
        ]
        features = vectorizer.set_params(n_components=8).fit_transform(documents)
        assert features.shape == (20_000, 136)
