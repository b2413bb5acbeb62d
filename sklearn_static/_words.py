"""Word vectors: those of GloVe, word2vec and their kind."""

import gzip
import os
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from sklearn_static._distill import pca, sif_weights, zipf_probabilities
from sklearn_static._vocabulary import Vocabulary
from sklearn_static._warnings import warn

_UNKNOWN = "[UNK]"
# Of the words that are left out, in a message.
_SHOWN_WORDS = 3
_GZIP = b"\x1f\x8b"


class KeyedVectors(Protocol):
    """What gensim's KeyedVectors are like."""

    index_to_key: Sequence[str]
    vectors: Any


WordVectors = Sequence[str] | Mapping[str, Any] | KeyedVectors | str | os.PathLike[str]


def read_words(
    words: WordVectors,
    vectors: Any,
    lowercase: bool,
    tokenizer: Tokenizer | None,
    n_components: float | None,
    sif_coefficient: float | None,
) -> tuple[Vocabulary, NDArray[np.float32]]:
    """Make a vocabulary of words, and give their vectors.

    Parameters
    ----------
    words : sequence of str, mapping, object like gensim's KeyedVectors, str or os.PathLike
        As in `StaticEmbeddingVectorizer.from_vectors`.
    vectors : array-like of shape (n_words, dimension) or None
        The vectors of a sequence of words.
    lowercase : bool
        Whether documents and words are converted to lower case; not used with a `tokenizer`.
    tokenizer : tokenizers.Tokenizer or None
        What splits documents into tokens; None stands for runs of letters and digits and runs of
        other characters.
    n_components : int, float or None
        How many principal components to keep; None keeps the vectors as they are.
    sif_coefficient : float or None
        The coefficient of the weights; None weighs all alike.

    Returns
    -------
    vocabulary : Vocabulary
        The words that can be a token.
    vectors : ndarray of float32, shape (n_tokens, n_components)
        One row for each of them.

    Raises
    ------
    ValueError
        If words and vectors do not fit together, a file is not of the format, or no word can be
        a token.
    TypeError
        If `tokenizer` is of another class.
    """
    if not isinstance(tokenizer, Tokenizer | None):
        raise TypeError(
            "tokenizer must be a tokenizers.Tokenizer or None, got "
            f"{type(tokenizer).__qualname__}; of a fast tokenizer of transformers pass its "
            "backend_tokenizer."
        )
    names, array = _words_and_vectors(words, vectors)
    if not names or not all(isinstance(word, str) and word for word in names):
        raise ValueError("words must be texts, at least one, and none of them empty.")
    if array.ndim != 2 or len(array) != len(names) or not array.shape[1]:
        raise ValueError(
            f"vectors must have one row for each of the {len(names)} words, got the shape "
            f"{array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError("vectors must be finite.")
    # As the tokenizer does it, which is not quite str.lower.
    is_lowered = lowercase and tokenizer is None
    same_case = Lowercase().normalize_str if is_lowered else str
    row_of: dict[str, int] = {}
    for row, word in enumerate(names):
        row_of.setdefault(same_case(word), row)
    if len(row_of) < len(names):
        warn(
            f"{len(names) - len(row_of)} of {len(names)} words are duplicates"
            f"{' in lower case' if is_lowered else ''}; the first of each is used."
        )
        array = array[list(row_of.values())]
    if n_components is not None:
        limit = min(array.shape)
        if not 0 < n_components <= limit or (n_components > 1 and n_components % 1):
            raise ValueError(
                f"n_components={n_components} must be a share below 1 or a whole number up to "
                f"{limit}, the smaller of the numbers of words and of dimensions."
            )
        array, _ = pca(array, n_components)
    if sif_coefficient is not None:
        if not sif_coefficient > 0:
            raise ValueError(f"sif_coefficient={sif_coefficient} must be above 0.")
        array = array * sif_weights(zipf_probabilities(len(array)), sif_coefficient)[:, None]
    possible = Vocabulary.from_tokenizer(tokenizer or _tokenizer(list(row_of), lowercase))
    kept = _can_be_tokens(list(row_of), possible)
    rows = [possible.row_of_token[word] for word in compress(row_of, kept)]
    vocabulary = Vocabulary(possible.tokenizer, possible.token_ids[rows])
    return vocabulary, array[kept].astype(np.float32)


def _can_be_tokens(words: list[str], possible: Vocabulary) -> NDArray[np.bool_]:
    """Tell which words a document can have as tokens, and warn of the others."""
    known = possible.row_of_token
    kept = np.array([word in known for word in words])
    if isinstance(possible.tokenizer.model, WordLevel):
        # A whole word is a token or it never is one; of subwords some need others before them.
        ids, offsets = possible.encode(words)
        rows = possible.rows(ids)
        alone = zip(words, offsets[:-1], np.diff(offsets), strict=True)
        kept &= [n == 1 and rows[start] == known.get(word) for word, start, n in alone]
    if not kept.any():
        raise ValueError("words has no token of the tokenizer: they do not belong together.")
    if not kept.all():
        left_out = list(compress(words, ~kept))
        warn(
            f"{len(left_out)} of {len(words)} words can never be a token and are left out, such as "
            f"{', '.join(map(repr, left_out[:_SHOWN_WORDS]))}; pass a tokenizer that gives them."
        )
    return kept


def _tokenizer(words: list[str], lowercase: bool) -> Tokenizer:
    ids = {word: i for i, word in enumerate(words)}
    unknown = _UNKNOWN
    while unknown in ids:
        unknown = f"[{unknown}]"
    ids[unknown] = len(ids)
    tokenizer = Tokenizer(WordLevel(ids, unk_token=unknown))
    tokenizer.pre_tokenizer = Whitespace()
    if lowercase:
        tokenizer.normalizer = Lowercase()
    return tokenizer


def _words_and_vectors(words: Any, vectors: Any) -> tuple[list[str], NDArray[np.floating[Any]]]:
    if vectors is not None:
        if isinstance(words, str | os.PathLike):
            raise ValueError("words must be a sequence where vectors are given, got a file.")
        return list(words), np.asarray(vectors, dtype=np.float32)
    if isinstance(words, str | os.PathLike):
        return _read(Path(words))
    if isinstance(words, Mapping):
        rows = [np.asarray(vector, dtype=np.float32) for vector in words.values()]
        if len({row.shape for row in rows}) > 1:
            raise ValueError("The vectors of words must have one length.")
        return list(words), np.array(rows)
    if hasattr(words, "index_to_key") and hasattr(words, "vectors"):
        return list(words.index_to_key), np.asarray(words.vectors, dtype=np.float32)
    raise ValueError(
        "words must be a mapping from words to vectors, an object like gensim's KeyedVectors or a "
        f"file where vectors is None, got {type(words).__qualname__}."
    )


def _read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read lines of a word and its numbers."""
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
                f"{path} is not text behind line {number} ({error}); gensim reads word2vec's "
                "binary format."
            ) from error
        except EOFError as error:
            raise ValueError(f"{path} ends behind line {number}, in the midst of gzip.") from error
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if n_words not in (None, len(words)):
        raise ValueError(f"{path} has {len(words)} words, but its first line says {n_words}.")
    return words, np.array(rows)


def _read_line(fields: list[str], dimension: int) -> tuple[str, NDArray[np.float32]]:
    n_parts = len(fields) - dimension  # GloVe has words with spaces in them
    word = " ".join(fields[: max(n_parts, 0)])
    if not word or not dimension or (n_parts > 1 and all(map(_is_number, fields[1:]))):
        raise ValueError(f"expected a word and {dimension} numbers, got {len(fields)} fields.")
    return word, np.array(fields[n_parts:], dtype=np.float32)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
