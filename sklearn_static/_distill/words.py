"""A table from word vectors."""

from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from sklearn_static._distill.components import pca, sif_weights, zipf_probabilities
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._formats.word_vectors import WordVectors, read_words
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import composition_of
from sklearn_static._serve.original import Original
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

_UNKNOWN = "[UNK]"
# Maximum number of dropped words that a warning names.
_SHOWN_WORDS = 3


def words_table(
    words: WordVectors,
    vectors: Any,
    *,
    lowercase: bool,
    tokenizer: Tokenizer | None,
    n_components: float | None,
    sif_coefficient: float | None,
    quantize: Quantize,
) -> StaticTable:
    """Create a table from word vectors.

    Parameters
    ----------
    words : sequence of str, mapping, object like gensim's KeyedVectors, str or os.PathLike
        As in `StaticEmbeddingVectorizer.from_vectors`.
    vectors : array-like of shape (n_words, dimension) or None
        The vectors of a sequence of words.
    lowercase : bool
        Whether to convert documents and words to lowercase; ignored with a `tokenizer`.
    tokenizer : tokenizers.Tokenizer or None
        Splits documents into tokens; None splits them into runs of letters and digits and runs of
        other characters.
    n_components : int, float or None
        Number of principal components to keep; None keeps the vectors unchanged.
    sif_coefficient : float or None
        The coefficient of the weights; None gives all words the weight 1.
    quantize : {"float16", "int8"} or None
        How the table is stored.

    Returns
    -------
    table : StaticTable
        One row per word that can be a token.

    Raises
    ------
    ValueError
        If words and vectors are inconsistent, a file has another format, or no word can be a
        token.
    TypeError
        If `tokenizer` is not a tokenizers.Tokenizer.

    Warns
    -----
    UserWarning
        If some words are duplicates, or can never be a token.
    """
    if not isinstance(tokenizer, Tokenizer | None):
        raise TypeError(
            "tokenizer must be a tokenizers.Tokenizer or None, got "
            f"{type(tokenizer).__qualname__}; for a fast tokenizer of transformers, pass its "
            "backend_tokenizer."
        )
    names, array = read_words(words, vectors)
    # Lowercase as the tokenizer does, which differs slightly from str.lower.
    is_lowered = lowercase and tokenizer is None
    same_case = Lowercase().normalize_str if is_lowered else str
    row_of: dict[str, int] = {}
    for row, word in enumerate(names):
        row_of.setdefault(same_case(word), row)
    if len(row_of) < len(names):
        warn(
            f"Duplicate words{' after lowercasing' if is_lowered else ''}: "
            f"{len(names) - len(row_of)} of {len(names)}; the first of each is used."
        )
        array = array[list(row_of.values())]
    if n_components is not None:
        limit = min(array.shape)
        if not 0 < n_components <= limit or (n_components > 1 and n_components % 1):
            raise ValueError(
                f"n_components={n_components} must be a float in (0, 1) or an int from 1 to "
                f"{limit}, the smaller of the numbers of words and dimensions."
            )
        array, _ = pca(array, n_components)
    if sif_coefficient is not None:
        if not sif_coefficient > 0:
            raise ValueError(f"sif_coefficient={sif_coefficient} must be above 0.")
        array = array * sif_weights(zipf_probabilities(len(array)), sif_coefficient)[:, None]
    if tokenizer is None:
        original = Original.from_tokenizer(_tokenizer(list(row_of), lowercase))
    else:
        original = Original(tokenizer.to_str())
    possible = usable_tokens(original)
    kept = _can_be_tokens(list(row_of), possible)
    rows = [possible.row_of_token[word] for word in compress(row_of, kept)]
    vocabulary = Vocabulary(possible.original, possible.token_ids[rows])
    fast = FastTokenizer(vocabulary, composition_of(vocabulary.original))
    return StaticTable.from_vectors(fast, array[kept].astype(np.float32), quantize)


def _can_be_tokens(words: list[str], possible: Vocabulary) -> NDArray[np.bool_]:
    """Find the words that can be tokens of a document, and warn about the others."""
    known = possible.row_of_token
    kept = np.array([word in known for word in words])
    if isinstance(possible.tokenizer.model, WordLevel):
        # A whole word must be a token by itself; some subwords only occur after others.
        ids, offsets = possible.encode(words)
        rows = possible.rows(ids)
        alone = zip(words, offsets[:-1], np.diff(offsets), strict=True)
        kept &= [n == 1 and rows[start] == known.get(word) for word, start, n in alone]
    if not kept.any():
        raise ValueError(
            "None of the words is a token of the tokenizer; pass the tokenizer that they belong to."
        )
    if not kept.all():
        left_out = list(compress(words, ~kept))
        warn(
            f"Words that can never be tokens: {len(left_out)} of {len(words)}, such as "
            f"{', '.join(map(repr, left_out[:_SHOWN_WORDS]))}. They are dropped; pass a tokenizer "
            "that produces them."
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
