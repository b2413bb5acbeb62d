"""The fast path from texts to rows: every distinct piece of text is tokenized once.

Where a tokenizer never looks across white space, the tokens of a text are those of its pieces in
order. Pieces repeat (Zipf's law), so nearly all of the tokenizer's work is found in an index.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from threading import Lock
from typing import Any, Literal
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sklearn_static._vocabulary import Vocabulary, known_rows

# The index stops to grow at either; it then takes some 60 MB.
MAX_PIECES = 250_000
MAX_PIECE_BYTES = 4_000_000
# A longer piece is hardly a word, and hardly comes again.
MAX_BYTES_OF_PIECE = 256

Rule = Literal["words", "spaces"]

# 0xFE and 0xFF are never part of UTF-8: a piece that stands between two documents, and a mark.
_BETWEEN = b"\xfe"
_CUT = b"\xff"
# bytes.split takes these two for white space as well; the tokenizers do not.
_NO_SEPARATORS = (b"\x0b", b"\x0c")
_WHITE_SPACE = re.compile(rb"[ \t\n\r]+")
# A space between two plain characters: printable ASCII, or letters and ideographs of blocks
# without combining marks and without characters that stand for a space with a mark (U+00C0 to
# U+02BF, U+03C0 to U+047F, U+4000 to U+9FFF, U+B000 to U+CFFF), by the first of their bytes.
_PLAIN_SPACE = re.compile(
    rb" (?=[!-~\xc3-\xca\xcf-\xd1\xe4-\xe9\xeb\xec])"
    rb"(?:(?<=[!-~] )|(?<=[\xc3-\xca\xcf-\xd1]. )|(?<=[\xe4-\xe9\xeb\xec].. ))",
    re.DOTALL,
)


def piece_rule(tokenizer: Tokenizer) -> Rule | None:
    """Tell from a tokenizer's components how a text may be cut into pieces.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.

    Returns
    -------
    rule : {"words", "spaces"} or None
        "words" cuts at every space, tab, newline and carriage return, and drops them; it holds
        for BERT's kind. "spaces" cuts before a space that stands between two plain characters,
        and keeps it; it holds for byte-level BPE and for SentencePiece's word-start marks. None
        if it is not known that the tokenizer never looks across such a cut.
    """
    state = json.loads(tokenizer.to_str())
    normalizers = _flat(state["normalizer"], "normalizers")
    pre_tokenizers = _flat(state["pre_tokenizer"], "pretokenizers")
    added = state["added_tokens"]
    # An added token is found before anything else is done, whatever stands around it.
    if any(token["single_word"] or _has_space(token, tokenizer) for token in added):
        return None
    if all(n["type"] in _BY_CHARACTER for n in normalizers) and _splits_words(pre_tokenizers):
        return "words"
    if (
        all(_keeps_plain_spaces(n) for n in normalizers)
        and _splits_before_spaces(pre_tokenizers)
        and not any(token["rstrip"] for token in added)
    ):
        return "spaces"
    return None


# Normalizers that never look from one side of a white space to the other.
_BY_CHARACTER = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}
# What Qwen and Llama 3 cut by; no match goes from another character to a space.
_SPLIT_PATTERNS = {
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for number in (r"\p{N}", r"\p{N}{1,3}")
}


def _has_space(token: dict[str, Any], tokenizer: Tokenizer) -> bool:
    content: str = token["content"]
    if content.split() != [content]:
        return True
    if not token["normalized"] or tokenizer.normalizer is None:
        return False
    return len(tokenizer.normalizer.normalize_str(content).split()) != 1


def _flat(component: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if component is None:
        return []
    if component["type"] == "Sequence":
        return [part for inner in component[key] for part in _flat(inner, key)]
    return [component]


def _splits_words(pre_tokenizers: list[dict[str, Any]]) -> bool:
    kinds = [p["type"] for p in pre_tokenizers]
    if kinds == ["WhitespaceSplit", "Metaspace"]:
        return bool(pre_tokenizers[1]["prepend_scheme"] == "always")
    return kinds in (["BertPreTokenizer"], ["WhitespaceSplit"], ["Whitespace"])


def _splits_before_spaces(pre_tokenizers: list[dict[str, Any]]) -> bool:
    kinds = [p["type"] for p in pre_tokenizers]
    last = pre_tokenizers[-1] if pre_tokenizers else {}
    if kinds == ["ByteLevel"]:
        return bool(last["use_regex"])
    if kinds == ["Split", "ByteLevel"]:
        return (
            pre_tokenizers[0]["pattern"].get("Regex") in _SPLIT_PATTERNS
            and pre_tokenizers[0]["behavior"] == "Isolated"
            and not pre_tokenizers[0]["invert"]
        )
    return kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) and bool(last["split"])


def _keeps_plain_spaces(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Replace":
        pattern, content = normalizer["pattern"], normalizer["content"]
        if pattern in ({"Regex": " {2,}"}, {"String": "  "}):
            return content in (" ", "\u2581")
        # One thing for another, neither of them a space or nothing.
        old = pattern.get("String", "")
        return bool(old.split() == [old] and content.split() == [content])
    if normalizer["type"] == "Strip":
        return not normalizer["strip_left"]
    # Not those that add spaces or take characters away.
    return normalizer["type"] in {"Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled"}


class PieceIndex:
    """Rows of pieces, filled as pieces are met.

    Threads may share it: a piece is entered under a lock, after its rows; nothing that was
    entered ever changes.

    Parameters
    ----------
    vocabulary : Vocabulary
        Tokenizes the pieces that are not in the index.
    rule : {"words", "spaces"}
        How to cut, as `piece_rule` tells.
    """

    def __init__(self, vocabulary: Vocabulary, rule: Rule) -> None:
        self.vocabulary = vocabulary
        self.rule = rule
        self._marker = _marker(vocabulary.tokenizer) if rule == "words" else None
        self.lock = Lock()
        _indexes.add(self)
        self._n_bytes = 0
        # How many calls to leave to the tokenizer; threads may miscount, which does not matter.
        self._pause = self._pause_left = 0
        # From a piece to its number, in the order of the numbers. Piece i has the rows
        # rows[starts[i]:starts[i + 1]], -1 for a token without one.
        self.number_of: dict[bytes, int] = {_BETWEEN: 0}
        self.starts = np.zeros(1024, dtype=np.int64)
        self.rows = np.zeros(1024, dtype=np.int32)

    def agrees(self, documents: Sequence[str]) -> bool:
        """Tell whether pieces give the same rows as whole texts; fills the index.

        Parameters
        ----------
        documents : sequence of str
            The texts to try.

        Returns
        -------
        agrees : bool
            True if all rows are the same.
        """
        rows, offsets = self.row_ids(documents)
        whole_rows, whole_offsets = self.vocabulary.row_ids(documents)
        return np.array_equal(offsets, whole_offsets) and np.array_equal(rows, whole_rows)

    def row_ids(
        self, documents: Sequence[str], max_length: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Look the rows up; the same as `Vocabulary.row_ids`.

        Parameters
        ----------
        documents : sequence of str of length n_documents
            The texts.
        max_length : int or None, default=None
            How many tokens of a text to read, those without a row included; None reads all.

        Returns
        -------
        rows : ndarray of int32, shape (n_rows,)
            The rows of all documents' tokens, one document after the other.
        offsets : ndarray of int64, shape (n_documents + 1,)
            Document i has ``rows[offsets[i]:offsets[i + 1]]``.
        """
        pieces = _split(documents, self.rule)
        numbers = np.fromiter(
            map(self.number_of.get, pieces, repeat(-1)), np.int32, count=len(pieces)
        )
        missing = np.flatnonzero(numbers < 0)
        resolved = self.resolve([pieces[i] for i in missing], len(pieces))
        if resolved is None:
            return self.vocabulary.row_ids(documents, max_length)
        numbers[missing], starts, rows = resolved
        first = starts[numbers]
        lengths = starts[numbers + 1] - first
        ends = np.cumsum(lengths)
        # Where one document ends and the next begins stands a piece without a token.
        offsets = np.zeros(len(documents) + 1, dtype=np.int64)
        offsets[1:-1] = ends[numbers == 0]
        if len(ends):
            offsets[-1] = ends[-1]
        positions = np.arange(offsets[-1]) + np.repeat(first - ends + lengths, lengths)
        return known_rows(rows[positions], offsets, max_length)

    def pauses(self) -> bool:
        """Tell whether the next texts had better be left to the tokenizer.

        Returns
        -------
        pauses : bool
            True some times after `resolve` gave up.
        """
        if self._pause_left <= 0:
            return False
        self._pause_left -= 1
        return True

    def resolve(
        self, missing: list[bytes], n_pieces: int
    ) -> tuple[list[int], NDArray[np.int64], NDArray[np.int32]] | None:
        """Tokenize pieces that were not found, and remember them while there is room.

        Gives None where whole texts are cheaper, since many of the pieces are new.

        Parameters
        ----------
        missing : list of bytes
            The pieces; one may come several times.
        n_pieces : int
            Of how many in all.

        Returns
        -------
        numbers : list of int
            The number of each piece.
        starts : ndarray of int64, shape (n_numbers + 1,) or more
            As the attribute, for these numbers too.
        rows : ndarray of int32
            As the attribute, for these numbers too.
        """
        if not missing:
            return [], self.starts, self.rows
        # Other threads, or a copy of the index that it has outgrown, may have missed less.
        distinct = [piece for piece in dict.fromkeys(missing) if piece not in self.number_of]
        full = len(self.number_of) >= MAX_PIECES or self._n_bytes >= 0.99 * MAX_PIECE_BYTES
        familiar = len(self.number_of) > _FAMILIAR and n_pieces > _FAMILIAR / 10
        new = len(distinct) / n_pieces
        if (full and new > _NEW_TO_FULL) or (familiar and new > _NEW_TO_FAMILIAR):
            # Twice as long each time, so that a stream without end of such texts costs nothing.
            self._pause = min(2 * self._pause + 1, _LONGEST_PAUSE)
            self._pause_left = self._pause
            return None
        self._pause = 0
        if not distinct:
            return [self.number_of[piece] for piece in missing], self.starts, self.rows
        rows, offsets = self._tokenize([piece.decode() for piece in distinct])
        lengths = np.diff(offsets)
        with self.lock:
            if not full:
                self._enter(distinct, rows, lengths)
            starts, all_rows, n = self.starts, self.rows, len(self.number_of)
            forgotten = [i for i, piece in enumerate(distinct) if piece not in self.number_of]
        if not forgotten:
            return [self.number_of[piece] for piece in missing], starts, all_rows
        # Numbers for this call alone, behind those of the index.
        used = starts[n]
        starts = np.concatenate([starts[: n + 1], used + np.cumsum(lengths[forgotten])])
        own_rows = [rows[offsets[i] : offsets[i + 1]] for i in forgotten]
        all_rows = np.concatenate([all_rows[:used], *own_rows])
        own = {distinct[i]: n + k for k, i in enumerate(forgotten)}
        numbers = [own[p] if p in own else self.number_of[p] for p in missing]
        return numbers, starts, all_rows

    def _tokenize(self, pieces: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokenize pieces, many as one text with a special token between two of them.

        One by one, the tokenizer spends most of its time on things that it does once per text.
        """
        if self._marker is not None and len(pieces) > 1:
            content, marker_id = self._marker
            between = f" {content} "
            # The last text ends with a marker too, so that each piece is followed by one.
            texts = [
                between.join(pieces[i : i + _PIECES_PER_TEXT]) + between
                for i in range(0, len(pieces), _PIECES_PER_TEXT)
            ]
            ids, _ = self.vocabulary.encode(texts)
            markers = np.flatnonzero(ids == marker_id)
            if len(markers) == len(pieces):  # else a piece looks like a marker itself
                offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
                offsets[1:] = markers - np.arange(len(markers))
                return self.vocabulary.rows(np.delete(ids, markers)), offsets
        return self.vocabulary.tokens(pieces)

    def _enter(
        self, pieces: list[bytes], rows: NDArray[np.int32], lengths: NDArray[np.int64]
    ) -> None:
        room = MAX_PIECES - len(self.number_of)
        new = [
            i
            for i, piece in enumerate(pieces)
            if len(piece) <= MAX_BYTES_OF_PIECE and piece not in self.number_of
        ][:room]
        n_bytes = self._n_bytes + np.cumsum([len(pieces[i]) for i in new])
        new = new[: int(np.searchsorted(n_bytes, MAX_PIECE_BYTES))]
        kept = np.zeros(len(pieces), dtype=bool)
        kept[new] = True
        own_rows = rows[np.repeat(kept, lengths)]
        n = len(self.number_of)
        used = self.starts[n]
        ends = used + np.cumsum(lengths[kept])
        # Other threads go on with the shorter arrays, which stay as they are.
        self.starts = _with_room(self.starts, n + len(new) + 1)
        self.rows = _with_room(self.rows, used + len(own_rows))
        self.starts[n + 1 : n + len(new) + 1] = ends
        self.rows[used : used + len(own_rows)] = own_rows
        self._n_bytes += sum(len(pieces[i]) for i in new)
        # Last, so that whoever finds a number finds its rows.
        self.number_of.update(zip((pieces[i] for i in new), range(n, n + len(new)), strict=True))


def _with_room(array: NDArray[Any], length: int) -> NDArray[Any]:
    if length <= len(array):
        return array
    longer = np.zeros(max(length, 2 * len(array)), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


_indexes: WeakSet[PieceIndex] = WeakSet()


def _unlock() -> None:
    """In a forked child: the thread that held a lock was left behind."""
    for index in _indexes:
        index.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _marker(tokenizer: Tokenizer) -> tuple[str, int] | None:
    """Find a special token that can stand between two words, and its id."""
    for token_id, token in tokenizer.get_added_tokens_decoder().items():
        if token.special and not (token.lstrip or token.rstrip or token.single_word):
            return token.content, token_id
    return None


_PIECES_PER_TEXT = 64
# A text of which more than this share is new is left to the tokenizer: by an index that cannot
# learn from it, and by one that has seen enough language to tell that this is none.
_NEW_TO_FULL = 0.25
_NEW_TO_FAMILIAR = 0.5
_FAMILIAR = 10_000  # pieces
_LONGEST_PAUSE = 31  # batches


def _split(documents: Iterable[str], rule: Rule) -> list[bytes]:
    """Cut all documents into pieces, `_BETWEEN` between two documents."""
    texts = [document.encode() for document in documents]
    if rule == "spaces":
        joined = (_CUT + _BETWEEN + _CUT).join(texts)
        return _PLAIN_SPACE.sub(_CUT + b" ", joined).split(_CUT)
    joined = (b" " + _BETWEEN + b" ").join(texts)
    if any(byte in joined for byte in _NO_SEPARATORS):
        return [piece for piece in _WHITE_SPACE.split(joined) if piece]
    return joined.split()
