"""Words and their vectors, from memory and from files."""

import gzip

import numpy as np
import pytest

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._formats.word_vectors import read_words
from sklearn_static._serve import portable as portable_engine


@pytest.mark.parametrize(
    ("words", "vectors", "message"),
    [
        (["a"], np.ones((5, 4)), r"one row for each of the 1 words, got shape \(5, 4\)"),
        ([], np.zeros((0, 4)), "at least one word"),
        (["a", ""], np.ones((2, 4)), "not empty, got '' at position 1"),
        (["a"], [[np.nan]], "vectors must be finite, but that of 'a' is not"),
        ({"a": [1, 2], "b": [1]}, None, "must have the same length"),
        (3, None, "words must be a mapping .*, got int"),
    ],
)
def test_invalid_words_and_vectors(words, vectors, message):
    with pytest.raises(ValueError, match=message):
        read_words(words, vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat 1 2\ndog 1\n", "line 2: expected a word and 2 numbers, .*, got 2 in all"),
        ("cat 1 2\ndog 1 x\n", "line 2: could not convert string to float: 'x'"),
        ("cat\n", "line 1: expected a word and its numbers, .*, got 1 in all"),
        ("2 2\ncat 1 2\n", "has 1 words, but its first line announces 2"),
        ("1 2\ncat 1 2 3 4\n", "line 2: expected a word and 2 numbers, .*, got 5 in all"),
        ("cat 1\ndog 1 2 3\n", "line 2: expected a word and 1 numbers, .*, got 4 in all"),
        (" 1 2\n", "line 1: expected a word and 2 numbers"),
    ],
)
def test_a_line_of_another_format(content, message, tmp_path):
    (tmp_path / "vectors.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_words(tmp_path / "vectors.txt", None)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", gzip.compress(b"cat 1 2\n" * 99)[:-9]],
    ids=["bytes", "a truncated gzip file"],
)
def test_binary_file(content, tmp_path):
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path / 'vectors'} (is not text|ends) after line"):
        read_words(tmp_path / "vectors", None)


def test_marks_tabs_and_blank_lines(tmp_path):
    (tmp_path / "vectors").write_text("\ufeff2 2\ncat\t1\t2\ndog 3 4\n\n", encoding="utf-8")
    words, vectors = read_words(tmp_path / "vectors", None)
    assert words == ["cat", "dog"]
    np.testing.assert_array_equal(vectors, [[1, 2], [3, 4]])


class TestExtremeValues:
    """No table with a value that is not finite, and no feature."""

    @pytest.mark.parametrize("quantize", [None, "float16", "int8"])
    @pytest.mark.parametrize("norm", ["l2", None])
    @pytest.mark.parametrize("value", [1e-40, 1e-31, 1.1e15, 3e38])
    def test_vectors_out_of_range_are_refused(self, value, norm, quantize):
        with pytest.raises(ValueError, match=r"largest magnitude of the token vectors is .* betw"):
            StaticEmbeddingVectorizer.from_vectors(
                {"cat": [value, 0], "dog": [value, -value]}, quantize=quantize, norm=norm
            )

    @pytest.mark.parametrize("sif_coefficient", [5e-42, 1e-38])
    def test_tiny_weights_are_refused(self, sif_coefficient):
        with pytest.raises(ValueError, match="increase sif_coefficient if it is tiny"):
            StaticEmbeddingVectorizer.from_vectors(
                {"cat": [1, 0], "dog": [0, 1]}, sif_coefficient=sif_coefficient
            )

    def test_vectors_that_float16_cannot_hold_are_refused(self):
        with pytest.raises(ValueError, match=r"float16' holds values from 6e-05, .* only 1e-05"):
            StaticEmbeddingVectorizer.from_vectors({"cat": [1e-5, 0]}, quantize="float16")

    @pytest.mark.filterwarnings("ignore:The compiled extension")
    @pytest.mark.parametrize("portable", [False, True])
    @pytest.mark.parametrize("quantize", [None, "int8"])
    @pytest.mark.parametrize("value", [1e-30, 1e-20, 1e15])
    def test_values_in_range(self, value, quantize, portable, monkeypatch):
        if portable:
            for name in ("_serve.table.Pooler", "_distill.words.FastTokenizer"):
                part = getattr(portable_engine, name.rpartition(".")[2])
                monkeypatch.setattr(f"sklearn_static.{name}", part)
        vectors = {"cat": [value, 0], "dog": [value, -value], "rare": [value * 1e-9, 0]}
        vectorizer = StaticEmbeddingVectorizer.from_vectors(vectors, quantize=quantize)
        features = vectorizer.transform(["dog", "cat " * 10_000, "rare"])
        is_lost = quantize and value < 1e-21
        expected = [[0.5**0.5, -(0.5**0.5)], [1, 0], [0 if is_lost else 1, 0]]
        np.testing.assert_allclose(features, expected, rtol=1e-3)
        sums = vectorizer.set_params(norm=None).transform(["dog", "cat " * 10_000])
        np.testing.assert_allclose(sums, np.array([[1, -1], [1, 0]]) * value, rtol=1e-2)
