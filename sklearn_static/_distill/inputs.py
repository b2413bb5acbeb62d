"""The teacher's inputs: single tokens and documents, between the tokenizer's special tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._distill.corpus import Corpus
from sklearn_static._distill.teacher_files import TeacherFiles
from sklearn_static._serve.documents import batches
from sklearn_static._serve.vocabulary import Vocabulary


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
    ) -> tuple[Joined, NDArray[np.int64]]:
        """Put documents after the prompt and between the special tokens.

        Parameters
        ----------
        corpus : Corpus
            The documents and their tokens.
        max_tokens : int or None
            The maximum number of tokens that the teacher reads; None sets no limit.

        Returns
        -------
        inputs : Joined
            The different inputs of the first documents, which are as many as `max_tokens` allows,
            at least one. Long documents are truncated to the teacher's maximum length.
        numbers : ndarray of int64, shape (n_documents_read,)
            The number of each of these documents' input.

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
        prefix, suffix = (np.array(ids, dtype=np.int32).tobytes() for ids in self._template)
        joined, ends = bytearray(), [0]
        number_of: dict[bytes, int] = {}
        numbers: list[int] = []
        n_left = float("inf") if max_tokens is None else int(max_tokens)
        documents = (self._ids(corpus, batch) for batch in batches(corpus.documents))
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
        # The end of a prompt, such as its space, may be part of the document's first token.
        ids, offsets = self._vocabulary.encode(["a", self._files.prompt + "a"])
        n_of_prompt = len(ids) - 2 * int(offsets[1])
        return max(self._max_between - n_of_prompt, 0)

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
