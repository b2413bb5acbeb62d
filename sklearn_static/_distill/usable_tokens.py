"""The tokens of a tokenizer that get a vector."""

import re

import numpy as np

from sklearn_static._serve.original import Original, token_ids, unknown_id
from sklearn_static._serve.vocabulary import Vocabulary

# Slots that the tokenizer's authors left free; the teacher was never trained on them.
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>")


def usable_tokens(original: Original) -> Vocabulary:
    """Select the tokens that can occur in a document, in the tokenizer's order.

    Special tokens, the unknown token and unused slots are excluded.

    Parameters
    ----------
    original : Original
        The tokenizer.

    Returns
    -------
    vocabulary : Vocabulary
        The selected tokens, by ascending id, with a tokenizer that neither truncates nor pads.

    Raises
    ------
    ValueError
        If no token remains.
    """
    state = original.state
    id_of = token_ids(state)
    left_out = {token["id"] for token in state["added_tokens"] if token["special"]}
    left_out |= {unknown_id(state)} - {None}
    # The first condition alone is many times as fast.
    left_out |= {id_of[token] for token in id_of if "unused" in token and _UNUSED.fullmatch(token)}
    ids = np.fromiter(id_of.values(), dtype=np.int32, count=len(id_of))
    kept = np.setdiff1d(ids, np.fromiter(left_out, dtype=np.int32))
    if not len(kept):
        raise ValueError("The tokenizer has no token that can occur in a document.")
    return Vocabulary(original, kept)
