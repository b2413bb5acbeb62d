"""Words and their vectors, from memory and from files."""

import gzip

import numpy as np
import pytest

from sklearn_static._formats.word_vectors import read_words


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
