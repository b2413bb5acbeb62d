"""Word vectors such as those of GloVe and word2vec."""

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_GZIP = b"\x1f\x8b"


class KeyedVectors(Protocol):
    """The attributes of gensim's KeyedVectors that are read."""

    index_to_key: Sequence[str]
    vectors: Any


WordVectors = Sequence[str] | Mapping[str, Any] | KeyedVectors | str | os.PathLike[str]


def read_words(words: Any, vectors: Any) -> tuple[list[str], NDArray[np.floating[Any]]]:
    """Read words and their vectors.

    Parameters
    ----------
    words : sequence of str, mapping, object like gensim's KeyedVectors, str or os.PathLike
        As in `StaticEmbeddingVectorizer.from_vectors`.
    vectors : array-like of shape (n_words, dimension) or None
        The vectors of a sequence of words.

    Returns
    -------
    words : list of str of length n_words
        The words, none of them empty.
    vectors : ndarray of float, shape (n_words, dimension)
        The vectors, all finite.

    Raises
    ------
    ValueError
        If words and vectors are inconsistent, or a file has another format.
    """
    names, array = _words_and_vectors(words, vectors)
    if not names:
        raise ValueError("words must have at least one word, got none.")
    for i, word in enumerate(names):
        if not isinstance(word, str) or not word:
            raise ValueError(
                f"words must be strings that are not empty, got {word!r} at position {i}; remove "
                "it and its vector."
            )
    if array.ndim != 2 or len(array) != len(names) or not array.shape[1]:
        raise ValueError(
            f"vectors must have one row for each of the {len(names)} words, got shape "
            f"{array.shape}."
        )
    if not np.isfinite(array).all():
        word = names[int(np.argmin(np.isfinite(array).all(axis=1)))]
        raise ValueError(
            f"vectors must be finite, but that of {word!r} is not; remove the word or replace it."
        )
    return names, array


def _words_and_vectors(words: Any, vectors: Any) -> tuple[list[str], NDArray[np.floating[Any]]]:
    if vectors is not None:
        if isinstance(words, str | os.PathLike):
            raise ValueError("words must be a sequence if vectors are given, got a file.")
        if isinstance(words, set | frozenset) or isinstance(vectors, set | frozenset):
            raise TypeError(
                "words and vectors must have an order, got a set: its order changes from process "
                "to process; pass lists."
            )
        return list(words), np.asarray(vectors, dtype=np.float32)
    if isinstance(words, str | os.PathLike):
        return _read(Path(words))
    if isinstance(words, Mapping):
        rows = [np.asarray(vector, dtype=np.float32) for vector in words.values()]
        for word, row in zip(words, rows, strict=True):
            if row.shape != rows[0].shape:
                raise ValueError(
                    "The vectors of words must have the same length, but that of "
                    f"{next(iter(words))!r} has shape {rows[0].shape} and that of {word!r} "
                    f"{row.shape}."
                )
        return list(words), np.array(rows)
    if hasattr(words, "index_to_key") and hasattr(words, "vectors"):
        return list(words.index_to_key), np.asarray(words.vectors, dtype=np.float32)
    raise ValueError(
        "words must be a mapping from words to vectors, an object like gensim's KeyedVectors or a "
        f"file if vectors is None, got {type(words).__qualname__}."
    )


def _read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read a file with a word and its numbers in each line."""
    with open(path, "rb") as start:
        is_packed = start.read(2) == _GZIP
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    n_words = dimension = None
    number = 0
    with (gzip.open if is_packed else open)(path, "rt", encoding="utf-8-sig", newline="\n") as file:
        try:
            for number, line in enumerate(file, 1):
                fields = line.rstrip().replace("\t", " ").split(" ")
                if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                    n_words, dimension = map(int, fields)  # word2vec's first line
                elif fields != [""]:
                    dimension = dimension or len(fields) - 1
                    word, row = _read_line(fields, dimension)
                    words.append(word)
                    rows.append(row)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not text after line {number} ({error}); gensim reads word2vec's "
                "binary format."
            ) from error
        except EOFError as error:
            raise ValueError(
                f"{path} ends after line {number}: the gzip file is truncated."
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if n_words not in (None, len(words)):
        raise ValueError(f"{path} has {len(words)} words, but its first line announces {n_words}.")
    return words, np.array(rows)


def _read_line(fields: list[str], dimension: int) -> tuple[str, NDArray[np.float32]]:
    n_parts = len(fields) - dimension  # some words of GloVe contain spaces
    word = " ".join(fields[: max(n_parts, 0)])
    if not word or not dimension or (n_parts > 1 and all(map(_is_number, fields[1:]))):
        raise ValueError(
            f"expected a word and {dimension or 'its'} numbers, separated by spaces, got "
            f"{len(fields)} in all."
        )
    return word, np.array(fields[n_parts:], dtype=np.float32)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
