"""The original tokenizer as compressed text, which is parsed only when something needs it."""

import gc
import json
import zlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


class Original:
    """The original tokenizer, which neither truncates nor pads.

    Parsing the text of a large vocabulary takes seconds and a gigabyte, but most models never need
    it: the compiled engine has tables of its own.

    Parameters
    ----------
    text : str or ndarray of uint8
        The content of tokenizer.json, or this content compressed by zlib.
    """

    def __init__(self, text: str | NDArray[np.uint8]) -> None:
        if isinstance(text, str):
            self.text = text
        else:
            self.compressed = text

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> "Original":
        """Share a tokenizer that is parsed already.

        Parameters
        ----------
        tokenizer : tokenizers.Tokenizer
            The tokenizer, which must not be modified later. If it truncates or pads, it is copied,
            which takes seconds for a large one.

        Returns
        -------
        original : Original
            The tokenizer.
        """
        if tokenizer.truncation is not None or tokenizer.padding is not None:
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        original = cls(tokenizer.to_str())
        original.tokenizer = tokenizer
        return original

    @cached_property
    def text(self) -> str:
        """The content of tokenizer.json."""
        return zlib.decompress(self.compressed.tobytes()).decode()

    @cached_property
    def compressed(self) -> NDArray[np.uint8]:
        """The text as it is saved, at the fastest level, which removes four fifths of it."""
        return np.frombuffer(zlib.compress(self.text.encode(), 1), dtype=np.uint8)

    @cached_property
    def state(self) -> dict[str, Any]:
        """The text parsed as JSON, until it is released; it must not be modified."""
        # A tokenizer that was parsed elsewhere has written its numbers without loss.
        is_parsed = "tokenizer" in self.__dict__
        parse_float = float if is_parsed or '"Unigram"' not in self.text else _parse_float
        # Collections of garbage, of which there is none, would take a third of the time.
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            state: dict[str, Any] = json.loads(self.text, parse_float=parse_float)
        finally:
            if is_collecting:
                gc.enable()
        return state

    def release(self) -> None:
        """Forget the parsed text, whose objects take twenty times the memory of the tables."""
        self.__dict__.pop("state", None)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself. It is never modified, so threads may share it."""
        tokenizer = Tokenizer.from_str(self.text)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


# The powers of ten that a double holds exactly.
_POWERS = [float(10**i) for i in range(23)]


def _parse_float(text: str) -> float:
    """Parse a number as the library of the original tokenizer does (serde_json, in Rust).

    It rounds the digits and then their product with a power of ten, which may differ from the
    nearest number in the last bit; that decides between splits of equal scores.
    """
    whole, _, fraction = text.partition(".")
    if len(text) <= 20 and fraction.isdecimal():  # at most 18 digits, as nearly all scores
        return int(whole + fraction) / _POWERS[len(fraction)]
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    shift = int(exponent or 0) - len(fraction)
    if len(whole + fraction) > 19 or abs(shift) > 300:
        return float(text)
    digits, power = float(int(whole + fraction)), float(f"1e{abs(shift)}")
    value = digits * power if shift >= 0 else digits / power
    return -value if text.startswith("-") else value


def token_ids(state: dict[str, Any]) -> dict[str, int]:
    """Map all tokens to their ids, including added ones.

    Parameters
    ----------
    state : dict
        The content of tokenizer.json.

    Returns
    -------
    ids : dict of str to int
        The ids.
    """
    vocabulary = state["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram
        vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
    ids = dict(vocabulary)
    ids.update((token["content"], token["id"]) for token in state.get("added_tokens") or ())
    return ids


def unknown_id(state: dict[str, Any]) -> int | None:
    """Find the id of a tokenizer's unknown token.

    Parameters
    ----------
    state : dict
        The content of tokenizer.json.

    Returns
    -------
    token_id : int or None
        None if the tokenizer has no unknown token.
    """
    # Models store their unknown token as a string, Unigram as an id.
    unknown = state["model"].get("unk_token")
    if unknown is not None:
        return token_ids(state).get(unknown)
    token_id = state["model"].get("unk_id")
    return token_id if isinstance(token_id, int) else None
