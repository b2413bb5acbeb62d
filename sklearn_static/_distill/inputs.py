"""The teacher's inputs: single tokens and documents, between the tokenizer's special tokens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from sklearn_static._distill.corpus import Corpus
from sklearn_static._distill.passages import MAX_PASSAGE, Passages, beginnings, spread
from sklearn_static._distill.teacher_files import TeacherFiles
from sklearn_static._serve.documents import batches
from sklearn_static._serve.vocabulary import Vocabulary

_PASSAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class Joined:
    """Inputs of different lengths, one after the other, as arrays of their own take more memory.

    Attributes
    ----------
    ids : ndarray of int32, shape (n_ids,)
        The token ids of all inputs.
    offsets : ndarray of int64, shape (n_inputs + 1,)
        Input i has ``ids[offsets[i]:offsets[i + 1]]``.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, inputs: Iterable[NDArray[np.integer[Any]]]) -> "Joined":
        """Join inputs."""
        some = [np.zeros(0, dtype=np.int32), *(ids.ravel() for ids in inputs)]
        return cls(np.concatenate(some, dtype=np.int32), np.cumsum([ids.size for ids in some]))

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> NDArray[np.int32]:
        """Return an input as an array of shape (1, length)."""
        return self.ids[None, self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        """Iterate over the inputs."""
        return map(self.__getitem__, range(len(self)))


class Inputs:
    """Token ids for the teacher.

    Parameters
    ----------
    files : TeacherFiles
        The teacher's files.
    vocabulary : Vocabulary
        The tokens of its tokenizer.
    """

    def __init__(self, files: TeacherFiles, vocabulary: Vocabulary) -> None:
        self._files = files
        self._vocabulary = vocabulary

    def of_vocabulary(self) -> NDArray[np.int64]:
        """Put each token into the tokenizer's template for a single document.

        Returns
        -------
        input_ids : ndarray of int64, shape (n_tokens, length)
            The token ids; for BERT those of ``[CLS] token [SEP]``.

        Raises
        ------
        ValueError
            If the template cannot be determined.
        """
        prefix, suffix = self._template
        token_ids = self._vocabulary.token_ids
        input_ids = np.empty((len(token_ids), len(prefix) + 1 + len(suffix)), dtype=np.int64)
        input_ids[:, : len(prefix)] = prefix
        input_ids[:, len(prefix)] = token_ids
        input_ids[:, len(prefix) + 1 :] = suffix
        return input_ids

    def of_documents(
        self, corpus: Corpus, max_tokens: int | None
    ) -> tuple[Joined, NDArray[np.int64], Passages]:
        """Put documents after the prompt and between the special tokens.

        If the limit does not suffice for all documents, the teacher reads short passages of them:
        the sum of many tokens says little about each of them.

        Parameters
        ----------
        corpus : Corpus
            The documents and their tokens.
        max_tokens : int or None
            The maximum number of tokens that the teacher reads; None sets no limit.

        Returns
        -------
        inputs : Joined
            The different inputs, as many as `max_tokens` allows, at least one. Whole documents are
            truncated to the teacher's maximum length.
        numbers : ndarray of int64, shape (n_passages,)
            The number of each passage's input.
        passages : Passages
            The tokens of documents that are read, up to the maximum length of `transform`.

        Raises
        ------
        ValueError
            If the teacher excludes its prompt from the pooling, or truncates long documents at
            their beginning.
        """
        if self._files.prompt and not self._files.pools_prompt:
            raise ValueError(
                f"The teacher reads the prompt {self._files.prompt!r} before every document and "
                "excludes it from the pooling, which distill_on='corpus' does not support; set "
                "prompt='' to leave it out, or use distill_on='vocabulary' or another teacher."
            )
        if self._files.truncates_left:
            raise ValueError(
                "The teacher truncates long documents at their beginning "
                "(truncation_side='left'), which distill_on='corpus' does not support; use "
                "distill_on='vocabulary' or another teacher."
            )
        limit = self.max_document_tokens
        documents = (self._ids(corpus, batch) for batch in batches(corpus.documents))
        inputs, numbers = self._joined(documents, max_tokens)
        whole = beginnings(corpus.tokens.lengths, limit)
        if len(numbers) == len(corpus.documents) or whole.stops.max() <= MAX_PASSAGE:
            whole = beginnings(corpus.lengths, limit)
            return inputs, numbers, whole.between(0, len(numbers))
        rounds: list[Passages] = []
        inputs, numbers = self._joined(self._spread(corpus, limit, rounds), max_tokens)
        return inputs, numbers, Passages.concatenated(rounds).between(0, len(numbers))

    def _spread(
        self, corpus: Corpus, limit: int | None, rounds: list[Passages]
    ) -> Iterator[Sequence[NDArray[np.int32]]]:
        """Yield the ids of short passages in batches, and add the passages to `rounds`."""
        others: dict[int, NDArray[np.int32]] = {}
        for passages in spread(corpus.lengths, corpus.content_hashes(), limit):
            rounds.append(passages)
            yield from self._parts(corpus, passages, others)

    def _joined(
        self, documents: Iterable[Sequence[NDArray[np.int32]]], max_tokens: int | None
    ) -> tuple[Joined, NDArray[np.int64]]:
        """Join as many different inputs as `max_tokens` allows, given batches of their ids."""
        prefix, suffix = (np.array(ids, dtype=np.int32).tobytes() for ids in self._template)
        joined, ends = bytearray(), [0]
        number_of: dict[bytes, int] = {}
        numbers: list[int] = []
        n_left = float("inf") if max_tokens is None else int(max_tokens)
        for ids in chain.from_iterable(documents):
            content = prefix + ids.tobytes() + suffix
            if content not in number_of:
                n_left -= len(content) // ids.itemsize
                if n_left < 0 and numbers:
                    break
                number_of[content] = len(number_of)
                joined += content
                ends.append(len(joined) // ids.itemsize)
            numbers.append(number_of[content])
        inputs = Joined(np.frombuffer(joined, dtype=np.int32), np.array(ends, dtype=np.int64))
        return inputs, np.array(numbers, dtype=np.int64)

    def _parts(
        self, corpus: Corpus, passages: Passages, others: dict[int, NDArray[np.int32]]
    ) -> Iterator[Sequence[NDArray[np.int32]]]:
        """Yield the ids of the prompt and each passage, in batches.

        The id of a token without a row is not kept: where a passage has one, the ids of its
        document are found by the original tokenizer, once, and added to `others`.
        """
        for batch in gen_batches(len(passages.documents), _PASSAGES_AT_ONCE):
            some = passages.between(batch.start, batch.stop)
            tokens = some.of(corpus.tokens)
            parts = np.split(self._vocabulary.token_ids[tokens.rows], tokens.offsets[1:-1])
            unknown = [i for i in range(len(parts)) if (tokens.of(i) < 0).any()]
            new = [i for i in some.documents[unknown].tolist() if i not in others]
            texts = [corpus.documents[i] for i in new]
            for part in batches(texts):
                ids, offsets = self._vocabulary.encode(texts[part])
                others |= zip(new[part], np.split(ids, offsets[1:-1]), strict=True)
            for i in unknown:
                parts[i] = others[int(some.documents[i])][some.starts[i] : some.stops[i]]
            yield [np.concatenate([self._prompt_ids, part]) for part in parts]

    def _ids(self, corpus: Corpus, batch: slice) -> list[NDArray[np.int32]]:
        """Return the ids of the prompt and each document, truncated as the teacher does."""
        n_read, prompt = self._max_between, self._files.prompt
        tokens = corpus.tokens.between(batch.start, batch.stop)
        starts, ends = tokens.offsets[:-1], tokens.offsets[1:]
        if n_read is not None:
            ends = np.minimum(ends, starts + n_read)
        ids = self._vocabulary.token_ids[tokens.rows]
        ids_of = [ids[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        # The id of a token without a row is not kept, and a prompt may merge with what follows.
        n_unknown = np.concatenate([[0], np.cumsum(tokens.rows < 0)])
        others = np.flatnonzero(n_unknown[ends] > n_unknown[starts]).tolist()
        if prompt:
            others = list(range(len(ids_of)))
        texts = [prompt + corpus.documents[batch.start + i] for i in others]
        ids, offsets = self._vocabulary.encode(texts)
        for i, start, stop in zip(others, offsets[:-1], offsets[1:], strict=True):
            ids_of[i] = ids[start:stop][:n_read]
        return ids_of

    @property
    def max_document_tokens(self) -> int | None:
        """Number of a document's own tokens that the teacher reads; None means all."""
        if self._max_between is None:
            return None
        return max(self._max_between - len(self._prompt_ids), 0)

    @cached_property
    def _prompt_ids(self) -> NDArray[np.int32]:
        """The ids of the prompt that are not part of the document's first token."""
        if not self._files.prompt:
            return np.zeros(0, dtype=np.int32)
        # The end of a prompt, such as its space, may be part of the document's first token.
        ids, offsets = self._vocabulary.encode(["a", self._files.prompt + "a"])
        return ids[offsets[1] : len(ids) - offsets[1]]

    @cached_property
    def _max_between(self) -> int | None:
        """Maximum number of tokens between the special tokens; None means no limit."""
        max_seq_length = self._files.max_seq_length
        prefix, suffix = self._template
        if max_seq_length is None:
            return None
        return max(max_seq_length - len(prefix) - len(suffix), 0)

    @cached_property
    def _template(self) -> tuple[list[int], list[int]]:
        """Find the ids that the tokenizer puts around a document: for BERT, [CLS] and [SEP]."""
        tokenizer = self._vocabulary.tokenizer
        tokens = map(tokenizer.id_to_token, map(int, self._vocabulary.token_ids))
        for probe in chain("a", tokens):
            bare = tokenizer.encode(probe, add_special_tokens=False).ids
            if bare:
                break
        full = tokenizer.encode(probe).ids
        for start in range(len(full) - len(bare) + 1):
            stop = start + len(bare)
            if bare and full[start:stop] == bare:
                return full[:start], full[stop:]
        raise ValueError(
            "The teacher's tokenizer must add special tokens only before and after a document, but "
            f"{probe!r} becomes {bare} without them and {full} with them; use another teacher."
        )
