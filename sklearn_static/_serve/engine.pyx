# cython: language_level=3, boundscheck=False, wraparound=False
# distutils: language = c++
"""Compiled code from documents to rows of tokens to features.

The C++ headers in this folder report what they cannot tokenize, and the original tokenizer does it
here. The GIL is held for this and for writing the results to the shared tables, so that no other
lock is needed and the tables are consistent after a fork; it is released while documents are read
and rows are summed.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.operator cimport dereference
from cpython.bytes cimport PyBytes_AsString, PyBytes_Size
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

import numpy as np

from sklearn_static._serve.cuts import added_token_keys, cut_pairs, map_character
from sklearn_static._serve.subwords import PlainBpe, PlainUnigram, plain_subwords

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "key.hpp" namespace "sklearn_static" nogil:
    struct Text:
        const uint8_t* data
        size_t size

cdef extern from "wordpiece.hpp" namespace "sklearn_static" nogil:
    cdef enum Reading "sklearn_static::Reading":
        DONE "sklearn_static::Reading::kDone"
        UNRESOLVED "sklearn_static::Reading::kUnresolved"
        WHOLE_DOCUMENT "sklearn_static::Reading::kWholeDocument"

    cdef enum Kind "sklearn_static::Characters::Kind":
        MAPPED "sklearn_static::Characters::kMapped"
        CONTEXTUAL "sklearn_static::Characters::kContextual"

    cdef cppclass Characters:
        void set(uint32_t character, Kind kind, string mapped) except +

    cdef cppclass TokenTable "sklearn_static::Tokens":
        void reserve(size_t n) except +
        void add(string token, int32_t row) except +

    cdef cppclass WordPiece:
        WordPiece() except +
        Characters characters
        TokenTable initial
        TokenTable continuing
        int32_t unknown_row
        size_t max_characters
        void add_added_token(string content) except +
        void finish()
        Reading read(
            Text text, size_t max_length, vector[int32_t]& rows, vector[uint32_t]& unknown
        ) except +

cdef extern from "subwords.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Subwords:
        pass

    cdef cppclass Bpe(Subwords):
        Bpe() except +
        cbool has_digits
        cbool ignores_merges
        TokenTable whole
        void set_byte(uint8_t byte, int32_t id)
        void reserve(size_t n_merges) except +
        void add_merge(int32_t first, int32_t second, int32_t id) except +
        void set_rows(vector[int32_t] row_of_id) except +

    cdef cppclass Unigram(Subwords):
        Unigram() except +
        TokenTable tokens
        cbool* is_excluded
        void add(string token, double score, int32_t row) except +

cdef extern from "pieces.hpp" namespace "sklearn_static" nogil:
    cdef cppclass PieceBatch:
        vector[Text] missing
        void set_rows(size_t i, const int32_t* rows, int32_t n_rows) except +

    cdef cppclass Pieces:
        Pieces() except +
        cbool drops_spaces
        unique_ptr[Subwords] subwords
        void begin(PieceBatch& batch)
        void end(PieceBatch& batch) except +
        size_t n_entries()
        Reading read(
            Text text, size_t max_length, PieceBatch& batch, vector[int32_t]& rows
        ) except +
        void cut(uint8_t first, uint8_t second)

cdef extern from "pairs.hpp" namespace "sklearn_static" nogil:
    cdef cppclass PairTable:
        void reserve(size_t n_pairs) except +
        void add(int32_t first, int32_t second, int32_t value)

cdef extern from "pool.hpp" namespace "sklearn_static" nogil:
    struct Span:
        size_t start
        size_t stop


    cdef cppclass Selection:
        Selection(
            const vector[int32_t]& tokens,
            const vector[Span]& spans,
            const PairTable& bigrams,
            size_t max_length,
        ) except +
        vector[size_t] n_known_tokens

    cdef cppclass Table[Value]:
        const Value* values
        const float* scales
        size_t n_columns

    void ask_for_huge_pages(const void* memory, size_t size)
    void pool[Value](
        const Table[Value]& table, const Selection& selection, cbool unit_length, float* out
    )


cdef size_t _NO_LIMIT = <size_t> -1


cdef class _Buffer:
    """The memory of an array, which is held as long as this object exists."""

    cdef Py_buffer view
    cdef bint is_held

    def __cinit__(self, array, cbool is_written=False):
        flags = PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if is_written else 0)
        PyObject_GetBuffer(array, &self.view, flags)
        self.is_held = True

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.view)


cdef class TokenRows:
    """The token rows of a batch of documents, -1 for tokens without a row."""

    cdef vector[int32_t] rows
    cdef vector[Span] spans

    def to_arrays(self):
        """Return the concatenated rows of all documents and where each document begins."""
        cdef size_t n_documents = self.spans.size(), n_rows = 0, size, i
        offsets = np.zeros(n_documents + 1, dtype=np.int64)
        cdef _Buffer offsets_buffer = _Buffer(offsets, True)
        cdef int64_t* ends = <int64_t*> offsets_buffer.view.buf
        for i in range(n_documents):
            n_rows += self.spans[i].stop - self.spans[i].start
            ends[i + 1] = n_rows
        rows = np.empty(n_rows, dtype=np.int32)
        cdef _Buffer rows_buffer = _Buffer(rows, True)
        cdef int32_t* target = <int32_t*> rows_buffer.view.buf
        for i in range(n_documents):
            size = self.spans[i].stop - self.spans[i].start
            if size:
                memcpy(target, self.rows.data() + self.spans[i].start, size * sizeof(int32_t))
            target += size
        return rows, offsets


cdef class FastTokenizer:
    """Map documents to the rows of their tokens, with the same result as the original tokenizer.

    Parameters
    ----------
    vocabulary : Vocabulary
        The original tokenizer, and the row of each of its tokens.
    rule : str or None
        The result of `cut_rule` for it. With None, the original tokenizer reads whole documents.
    """

    cdef readonly object vocabulary
    cdef readonly object rule
    cdef WordPiece* words
    cdef Pieces* pieces

    def __cinit__(self, vocabulary, rule):
        self.vocabulary = vocabulary
        self.rule = rule
        if rule == "characters":
            self.words = new WordPiece()
            self._fill_words()
        elif rule is not None:
            self.pieces = new Pieces()
            self.pieces.drops_spaces = rule == "words"
            for first, second in cut_pairs(vocabulary.tokenizer, rule):
                self.pieces.cut(ord(first), ord(second))
            self._fill_subwords(plain_subwords(vocabulary.tokenizer, rule))

    def __dealloc__(self):
        del self.words
        del self.pieces

    @property
    def n_pieces(self):
        """Number of cached pieces of text."""
        return 0 if self.pieces is NULL else self.pieces.n_entries()

    def tokenize(self, list documents not None, max_length=None):
        """Find the rows of each document's tokens.

        Parameters
        ----------
        documents : list of str
            The documents; the list must not change during the call.
        max_length : int or None, default=None
            Number of tokens that are needed of each document; None needs all. More may be
            returned.

        Returns
        -------
        tokens : TokenRows
            The rows, for `Pooler.pool`.

        Raises
        ------
        UnicodeEncodeError
            If a document has a lone surrogate.
        """
        cdef TokenRows result = TokenRows.__new__(TokenRows)
        cdef size_t n_documents = len(documents), limit = _limit(max_length), i
        cdef vector[size_t] whole
        cdef vector[Text] texts
        encoded = _encode_documents(documents, texts)  # keeps the memory of texts alive
        result.spans.resize(n_documents)
        if self.words is NULL and self.pieces is NULL:
            for i in range(n_documents):
                whole.push_back(i)
        else:
            self._read(texts, limit, result, whole)
        if whole.size():
            self._read_whole(documents, whole, result)
        return result

    cdef _read(
        self, const vector[Text]& texts, size_t limit, TokenRows result, vector[size_t]& whole
    ):
        cdef vector[size_t] pending, unresolved
        cdef vector[uint32_t] unknown
        cdef PieceBatch batch
        cdef Reading reading
        cdef size_t start, i, k
        for i in range(texts.size()):
            pending.push_back(i)
        if self.pieces is not NULL:
            self.pieces.begin(batch)
        while pending.size():
            with nogil:
                for k in range(pending.size()):
                    i = pending[k]
                    start = result.rows.size()
                    if self.words is not NULL:
                        reading = self.words.read(texts[i], limit, result.rows, unknown)
                    else:
                        reading = self.pieces.read(texts[i], limit, batch, result.rows)
                    if reading == DONE:
                        result.spans[i] = Span(start, result.rows.size())
                        continue
                    result.rows.resize(start)
                    if reading == UNRESOLVED:
                        unresolved.push_back(i)
                    else:
                        whole.push_back(i)
            if unknown.size():
                self._learn_characters(unknown)
            if batch.missing.size():
                self._learn_pieces(batch)
            pending.swap(unresolved)
            unresolved.clear()
        if self.pieces is not NULL:
            self.pieces.end(batch)

    cdef _read_whole(self, list documents, vector[size_t]& whole, TokenRows result):
        cdef size_t n_before = result.rows.size(), k
        rows, offsets = self.vocabulary.tokens([documents[i] for i in whole])
        cdef _Buffer rows_buffer = _Buffer(rows), offsets_buffer = _Buffer(offsets)
        cdef int32_t* first = <int32_t*> rows_buffer.view.buf
        cdef int64_t* ends = <int64_t*> offsets_buffer.view.buf
        result.rows.insert(result.rows.end(), first, first + ends[whole.size()])
        for k in range(whole.size()):
            result.spans[whole[k]] = Span(n_before + ends[k], n_before + ends[k + 1])

    cdef _fill_words(self):
        model = self.vocabulary.tokenizer.model
        prefix = model.continuing_subword_prefix
        tokens = self.vocabulary.tokenizer.get_vocab(with_added_tokens=False)
        ids = np.fromiter(tokens.values(), dtype=np.int32, count=len(tokens))
        row_of_token = dict(zip(tokens, self.vocabulary.rows(ids).tolist(), strict=True))
        self.words.unknown_row = row_of_token.get(model.unk_token, -1)
        self.words.max_characters = model.max_input_chars_per_word
        self.words.initial.reserve(len(tokens))
        self.words.continuing.reserve(sum(1 for token in tokens if token.startswith(prefix)))
        for token, row in row_of_token.items():
            if token:
                self.words.initial.add(token.encode(), row)
            if len(token) > len(prefix) and token.startswith(prefix):
                self.words.continuing.add(token[len(prefix):].encode(), row)
        for key in added_token_keys(self.vocabulary.tokenizer):
            self.words.add_added_token(key.encode())
        cdef vector[uint32_t] ascii_characters
        for character in range(128):
            ascii_characters.push_back(character)
        self._learn_characters(ascii_characters)
        self.words.finish()

    cdef _fill_subwords(self, subwords):
        cdef Bpe* bpe
        cdef Unigram* unigram
        if isinstance(subwords, PlainBpe):
            bpe = new Bpe()
            self.pieces.subwords.reset(bpe)
            bpe.has_digits = subwords.has_digits
            bpe.ignores_merges = subwords.ignores_merges
            for byte, token_id in subwords.id_of_byte.items():
                bpe.set_byte(byte, token_id)
            bpe.reserve(len(subwords.merges))
            for first, second, token_id in subwords.merges:
                bpe.add_merge(first, second, token_id)
            bpe.set_rows(self.vocabulary.rows(np.arange(subwords.n_ids, dtype=np.int32)))
            bpe.whole.reserve(len(subwords.id_of_piece))
            ids = np.fromiter(subwords.id_of_piece.values(), np.int32, len(subwords.id_of_piece))
            for piece, row in zip(subwords.id_of_piece, self.vocabulary.rows(ids).tolist()):
                bpe.whole.add(piece, row)
        elif isinstance(subwords, PlainUnigram):
            unigram = new Unigram()
            self.pieces.subwords.reset(unigram)
            for character in subwords.excluded:
                unigram.is_excluded[ord(character)] = True
            unigram.tokens.reserve(len(subwords.scores))
            rows = self.vocabulary.rows(np.arange(len(subwords.scores), dtype=np.int32))
            for (token, score), row in zip(subwords.scores, rows.tolist()):
                if token:
                    unigram.add(token.encode(), score, row)

    cdef _learn_characters(self, vector[uint32_t]& characters):
        for character in set(characters):
            mapped = map_character(self.vocabulary.tokenizer, chr(character))
            kind = CONTEXTUAL if mapped is None else MAPPED
            self.words.characters.set(character, kind, (mapped or "").encode())
        characters.clear()

    cdef _learn_pieces(self, PieceBatch& batch):
        cdef size_t i
        rows, offsets = self.vocabulary.tokens(
            [text.data[: text.size].decode() for text in batch.missing]
        )
        cdef _Buffer rows_buffer = _Buffer(rows), offsets_buffer = _Buffer(offsets)
        cdef int32_t* first = <int32_t*> rows_buffer.view.buf
        cdef int64_t* ends = <int64_t*> offsets_buffer.view.buf
        for i in range(batch.missing.size()):
            batch.set_rows(i, first + ends[i], ends[i + 1] - ends[i])
        batch.missing.clear()


cdef object _is_ascii = str.isascii


cdef list _encode_documents(list documents, vector[Text]& texts):
    """Point texts to the UTF-8 of each document; return what must outlive them."""
    cdef Py_ssize_t size
    cdef const char* data
    encoded = []
    texts.reserve(len(documents))
    for document in documents:
        if _is_ascii(document):
            data = PyUnicode_AsUTF8AndSize(document, &size)
        else:
            # PyUnicode_AsUTF8AndSize would cache a copy in the caller's string.
            copy = document.encode()
            encoded.append(copy)
            data = PyBytes_AsString(copy)
            size = PyBytes_Size(copy)
        texts.push_back(Text(<const uint8_t*> data, size))
    return encoded


cdef size_t _limit(max_length) except? 0:
    return _NO_LIMIT if max_length is None or max_length > 2**62 else max_length


cdef class Pooler:
    """Pool rows of tokens into features.

    Parameters
    ----------
    stored : ndarray of float32, float16 or int8, shape (n_rows, n_components)
        The vectors, in C order.
    scales : ndarray of float32, shape (n_rows,), or None
        The factor of each int8 row; None for floats.
    pairs : ndarray of int32, shape (n_bigrams, 2), or None
        The rows of the two tokens of each bigram.
    n_tokens : int
        The number of rows for tokens; bigram i has the row ``n_tokens + i``.
    """

    cdef _Buffer stored, scales
    cdef size_t n_columns
    cdef size_t value_size
    cdef PairTable bigrams

    def __cinit__(self, stored, scales, pairs, int32_t n_tokens):
        self.stored = _Buffer(stored)
        self.scales = None if scales is None else _Buffer(scales)
        self.n_columns = stored.shape[1]
        self.value_size = stored.itemsize
        ask_for_huge_pages(self.stored.view.buf, self.stored.view.len)
        if pairs is not None:
            self.bigrams.reserve(len(pairs))
            for row, (first, second) in enumerate(pairs.tolist(), n_tokens):
                self.bigrams.add(first, second, row)

    def pool(self, TokenRows tokens not None, out, *, max_length=None, cbool unit_length=True):
        """Sum the vectors of each document's tokens and bigrams.

        Parameters
        ----------
        tokens : TokenRows
            The rows of the documents' tokens.
        out : ndarray of float32, shape (n_documents, n_components)
            The array that receives the features.
        max_length : int or None, default=None
            Number of tokens to which each document is truncated; None does not truncate.
        unit_length : bool, default=True
            Whether to scale the sum to unit length instead of dividing it by the number of tokens
            with a row.

        Returns
        -------
        n_empty : int
            Number of documents without a token that has a row.
        """
        cdef size_t limit = _limit(max_length), n_empty = 0, n
        cdef _Buffer out_buffer = _Buffer(out, True)
        cdef float* target = <float*> out_buffer.view.buf
        if <size_t> out_buffer.view.len != tokens.spans.size() * self.n_columns * sizeof(float):
            raise ValueError("out must have one row for each document.")
        cdef const void* values = self.stored.view.buf
        cdef const float* scales = NULL
        if self.scales is not None:
            scales = <const float*> self.scales.view.buf
        cdef Selection* selection
        cdef Table[float] floats
        cdef Table[uint16_t] halves
        cdef Table[int8_t] bytes_
        floats.n_columns = halves.n_columns = bytes_.n_columns = self.n_columns
        with nogil:
            selection = new Selection(tokens.rows, tokens.spans, self.bigrams, limit)
            try:
                if self.value_size == 4:
                    floats.values = <const float*> values
                    pool(floats, dereference(selection), unit_length, target)
                elif self.value_size == 2:
                    halves.values = <const uint16_t*> values
                    pool(halves, dereference(selection), unit_length, target)
                else:
                    bytes_.values = <const int8_t*> values
                    bytes_.scales = scales
                    pool(bytes_, dereference(selection), unit_length, target)
                for n in selection.n_known_tokens:
                    n_empty += n == 0
            finally:
                del selection
        return n_empty
