import gzip
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from teachers import wordpiece
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from sklearn_static import StaticEmbeddingVectorizer

WORDS = ["the", "cat", "dog", "york", "!"]
VECTORS = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


class KeyedVectors:
    index_to_key = WORDS
    vectors = VECTORS


def write(path: Path, header: str = "", packed: bool = False) -> Path:
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, VECTORS, strict=True)]
    content = (header + "\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


from_vectors = StaticEmbeddingVectorizer.from_vectors


@pytest.mark.parametrize(
    "given",
    [
        lambda path: (WORDS, VECTORS),
        lambda path: (WORDS, VECTORS.tolist()),
        lambda path: (dict(zip(WORDS, VECTORS, strict=True)),),
        lambda path: (KeyedVectors(),),
        lambda path: (write(path),),
        lambda path: (str(write(path, header="5 4\n")),),
        lambda path: (write(path, packed=True),),
    ],
    ids=["arrays", "lists", "dict", "gensim", "glove", "word2vec", "gzip"],
)
def test_sources(given, tmp_path):
    vectorizer = from_vectors(*given(tmp_path / "vectors"), norm=None)
    features = vectorizer.transform(["The CAT!", "a cat, a dog", "dog dog"])
    expected = [VECTORS[[0, 1, 4]].mean(0), VECTORS[[1, 2]].mean(0), VECTORS[2]]
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert list(vectorizer.vocabulary_) == WORDS


@pytest.mark.parametrize("words", [{*WORDS}, frozenset(WORDS), dict.fromkeys(WORDS).keys()])
def test_words_without_an_order_are_refused(words):
    """The order of a set, and so the vector of each word, changes with the hash seed."""
    if isinstance(words, set | frozenset):
        with pytest.raises(TypeError, match="words and vectors must have an order, got a set"):
            StaticEmbeddingVectorizer.from_vectors(words, VECTORS)
    else:
        StaticEmbeddingVectorizer.from_vectors(words, VECTORS)


def test_case_counts_if_asked_for():
    vectorizer = from_vectors(["Cat", "cat"], VECTORS[:2], lowercase=False, norm=None)
    np.testing.assert_array_equal(vectorizer.transform(["Cat", "cat"]), VECTORS[:2])


def test_first_of_duplicate_words_is_kept():
    with pytest.warns(UserWarning, match="Duplicate words after lowercasing: 1 of 2; the first"):
        vectorizer = from_vectors(["Cat", "cat"], VECTORS[:2], norm=None)
    np.testing.assert_array_equal(vectorizer.transform(["CAT"]), VECTORS[:1])


def test_words_that_can_never_be_a_token(tmp_path):
    """They are told at load; the others, and what is made of all, stay as they are."""
    words = [*WORDS, "don't", "new york", "u.s.", "e-mail"]
    vectors = np.random.default_rng(0).standard_normal((9, 4))
    message = (
        r"Words that can never be tokens: 4 of 9, such as \"don't\", 'new york', .* are dropped"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        vectorizer = from_vectors(words, vectors, sif_coefficient=0.1)
    assert [w.filename for w in caught] == [__file__]
    assert list(vectorizer.vocabulary_) == WORDS
    with pytest.warns(UserWarning, match="are dropped"):
        plain = from_vectors(words, vectors)
    weights = np.linalg.norm(vectorizer.vectors_, axis=1) / np.linalg.norm(plain.vectors_, axis=1)
    ranks = 1 / np.arange(2, 11)
    np.testing.assert_allclose(weights, (0.1 / (0.1 + ranks / ranks.sum()))[:5], rtol=1e-5)


def test_no_word_can_be_a_token():
    with pytest.raises(ValueError, match="None of the words is a token of the tokenizer"):
        from_vectors(["new york"], VECTORS[:1])


class TestTokenizer:
    def test_words_between_spaces(self):
        words = ["don't", "new-york", "[UNK]", "new york"]
        tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        tokenizer.enable_truncation(1)
        with pytest.warns(
            UserWarning,
            match=r"tokens: 2 of 4, such as '\[UNK\]', 'new york'\. They are dropped; pass",
        ):
            vectorizer = from_vectors(words, VECTORS[:4], tokenizer=tokenizer, norm=None)
        assert list(vectorizer.vocabulary_) == ["don't", "new-york"]
        features = vectorizer.transform(["I don't new-york", "don't"])
        np.testing.assert_allclose(features, [VECTORS[:2].mean(axis=0), VECTORS[0]], rtol=1e-6)
        assert tokenizer.truncation is not None, "the user's own is left alone"

    def test_subwords(self):
        """As those of BPEmb: some are tokens only after others."""
        tokenizer = wordpiece()
        tokenizer.no_padding()
        tokens = [t for t in tokenizer.get_vocab() if t.islower() and t[0] != "["]
        vectors = np.random.default_rng(0).standard_normal((len(tokens), 4))
        vectorizer = from_vectors(tokens, vectors, tokenizer=tokenizer, norm=None)
        assert list(vectorizer.vocabulary_) == tokens
        assert any(token.startswith("##") for token in tokens)
        tokens_read = tokenizer.encode("returning", add_special_tokens=False).tokens
        assert len(tokens_read) > 1
        expected = vectors[[tokens.index(token) for token in tokens_read]].mean(axis=0)
        np.testing.assert_allclose(vectorizer.transform(["returning"]), [expected], rtol=1e-5)

    def test_invalid_tokenizer(self):
        with pytest.raises(
            TypeError, match=r"tokenizer must be a tokenizers\.Tokenizer .* got str"
        ):
            from_vectors(WORDS, VECTORS, tokenizer="bert-base-uncased")


def test_pca_and_weights():
    vectorizer = from_vectors(WORDS, VECTORS, n_components=2, sif_coefficient=0.1)
    ranks = 1 / np.arange(2, 7)
    weights = 0.1 / (0.1 + ranks / ranks.sum())
    expected = PCA(2).fit_transform(VECTORS) * weights[:, None]
    np.testing.assert_allclose(np.abs(vectorizer.vectors_), np.abs(expected), atol=1e-5)


def test_clone_and_fit_keep_the_table_and_copy_nothing():
    vectorizer = from_vectors(WORDS, VECTORS)
    again = clone(vectorizer).fit(["a cat"])
    assert np.shares_memory(again.vectors_, vectorizer.vectors_)
    assert len(repr(vectorizer)) < 200


def test_save_and_load(tmp_path):
    vectorizer = from_vectors(WORDS, VECTORS, quantize="int8")
    vectorizer.save_pretrained(tmp_path)
    texts = ["The cat!", "new york dog"]
    loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded.transform(texts), vectorizer.transform(texts), atol=1e-6)


def test_a_word_with_a_space_in_a_file(tmp_path):
    (tmp_path / "vectors").write_text("cat 3 4\nnew york 1 2\n1 5 6\n")
    with pytest.warns(
        UserWarning, match=r"can never be tokens: 1 of 3, such as 'new york'\. They are dropped"
    ):
        vectorizer = from_vectors(tmp_path / "vectors", norm=None)
    np.testing.assert_array_equal(vectorizer.transform(["cat 1"]), [[4, 5]])


def test_tokenizer_lowercases_the_words():
    vectorizer = from_vectors(["\u039f\u0394\u039f\u03a3"], [[1.0, 2.0]], norm=None)
    np.testing.assert_array_equal(vectorizer.transform(["\u039f\u0394\u039f\u03a3"]), [[1, 2]])


@pytest.mark.parametrize(
    "settings",
    [{"n_components": 0}, {"n_components": 9}, {"n_components": 1.5}, {"sif_coefficient": 0}],
    ids=str,
)
def test_settings_out_of_range(settings):
    name, value = next(iter(settings.items()))
    with pytest.raises(ValueError, match=f"{name}={value} must be"):
        from_vectors(WORDS, VECTORS, **settings)


def test_parameters_of_the_class_are_checked():
    with pytest.raises(ValueError, match=r"The 'quantize' parameter .* Got 'int4' instead"):
        from_vectors(WORDS, VECTORS, quantize="int4")


def test_min_df_is_accepted_by_fit_only(tmp_path):
    with pytest.raises(ValueError, match="min_df=1 needs documents: load without it, then set it"):
        from_vectors(WORDS, VECTORS, min_df=1)
    vectorizer = from_vectors(WORDS, VECTORS).set_params(min_df=1).fit(["a cat"])
    assert list(vectorizer.vocabulary_) == ["cat"]


def test_the_table_is_saved_once(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((2000, 50)).astype(np.float32)
    words = [f"w{i}" for i in range(2000)]
    for quantize, n_bytes in ((None, 4), ("int8", 1)):
        sizes = []
        for n_columns in (10, 50):
            path = tmp_path / "model.joblib"
            joblib.dump(from_vectors(words, vectors[:, :n_columns], quantize=quantize), path)
            sizes.append(path.stat().st_size)
        # The rest, such as the tokenizer, does not depend on the number of columns.
        assert sizes[1] - sizes[0] == pytest.approx(2000 * 40 * n_bytes, rel=0.01)
