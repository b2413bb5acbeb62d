"""From word vectors to the rows of a table."""

from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from sklearn_static._distill.components import pca, sif_weights, zipf_probabilities
from sklearn_static._distill.inputs import usable_tokens
from sklearn_static._formats.word_vectors import WordVectors, read_words
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.cuts import cut_rule
from sklearn_static._serve.table import Quantize, StaticTable
from sklearn_static._serve.vocabulary import Vocabulary
from sklearn_static._warnings import warn

_UNKNOWN = "[UNK]"
# Of the words that are left out, in a message.
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
    """Make a table of word vectors.

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
        The coefficient of the weights; None gives all words the weight 1.
    quantize : {"float16", "int8"} or None
        How the table is stored.

    Returns
    -------
    table : StaticTable
        One row for each word that can be a token.

    Raises
    ------
    ValueError
        If words and vectors do not fit together, a file is not of the format, or no word can be
        a token.
    TypeError
        If `tokenizer` is of another class.

    Warns
    -----
    UserWarning
        If words are duplicates, or can never be a token.
    """
    if not isinstance(tokenizer, Tokenizer | None):
        raise TypeError(
            "tokenizer must be a tokenizers.Tokenizer or None, got "
            f"{type(tokenizer).__qualname__}; of a fast tokenizer of transformers pass its "
            "backend_tokenizer."
        )
    names, array = read_words(words, vectors)
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
    possible = usable_tokens(tokenizer or _tokenizer(list(row_of), lowercase))
    kept = _can_be_tokens(list(row_of), possible)
    rows = [possible.row_of_token[word] for word in compress(row_of, kept)]
    vocabulary = Vocabulary(possible.tokenizer, possible.token_ids[rows])
    fast = FastTokenizer(vocabulary, cut_rule(vocabulary.tokenizer))
    return StaticTable.from_vectors(fast, array[kept].astype(np.float32), quantize)


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
