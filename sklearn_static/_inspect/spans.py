"""The positions of tokens in a document."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


@dataclass(frozen=True)
class Segment:
    """A run of a document's characters and the contribution of its tokens.

    Attributes
    ----------
    text : str
        The characters.
    contribution : float or None
        The sum of its tokens' contributions; None if it has no tokens.
    """

    text: str
    contribution: float | None


def find_tokens(tokenizer: Tokenizer, document: str) -> tuple[list[int], NDArray[np.int64]]:
    """Tokenize a document and find the characters of each token.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.
    document : str
        The document.

    Returns
    -------
    ids : list of int
        The id of each token.
    spans : ndarray of int64, shape (n_tokens, 2)
        Token i is ``document[spans[i, 0]:spans[i, 1]]``. Spaces around a token, which byte-level
        BPE and SentencePiece include in it, are excluded unless it has no other characters.
    """
    encoding = tokenizer.encode(document, add_special_tokens=False)
    spans = []
    for start, stop in encoding.offsets:
        text = document[start:stop]
        if text and not text.isspace():
            start += len(text) - len(text.lstrip())
            stop -= len(text) - len(text.rstrip())
        spans.append((start, stop))
    return encoding.ids, np.array(spans, dtype=np.int64).reshape(-1, 2)


def without(document: str, start: int, stop: int) -> str:
    """Remove characters from a document, and one of the two spaces around them.

    Parameters
    ----------
    document : str
        The document.
    start, stop : int
        The characters to remove.

    Returns
    -------
    shorter : str
        The remaining document.
    """
    before, after = document[:start], document[stop:]
    if before[-1:].isspace() and (not after or after[0].isspace()):
        return before[:-1] + after
    return after[1:] if not before and after[:1].isspace() else before + after


def segments(
    document: str, spans: NDArray[np.int64], contributions: NDArray[np.float64]
) -> list[Segment]:
    """Divide a document into runs of characters that share tokens.

    Parameters
    ----------
    document : str
        The document.
    spans : ndarray of int64, shape (n_tokens, 2)
        Spans as returned by `find_tokens`.
    contributions : ndarray of float64, shape (n_tokens,)
        The contribution of each token.

    Returns
    -------
    segments : list of Segment
        The segments, which together form the document. Tokens that share characters share a
        segment, and a token without characters belongs to the previous segment or, at the
        beginning, to the next one.
    """
    runs: list[tuple[int, int, float]] = []
    carried = 0.0
    order = np.argsort(spans[:, 0], kind="stable")
    for (start, stop), value in zip(
        spans[order].tolist(), contributions[order].tolist(), strict=True
    ):
        if runs and (start < runs[-1][1] or start == stop):
            first, last, total = runs[-1]
            runs[-1] = (first, max(last, stop), total + value)
        elif start == stop:
            carried += value
        else:
            runs.append((start, stop, carried + value))
            carried = 0.0
    found = []
    end = 0
    for start, stop, value in runs:
        if end < start:
            found.append(Segment(document[end:start], None))
        found.append(Segment(document[start:stop], value))
        end = stop
    return found if end == len(document) else [*found, Segment(document[end:], None)]
