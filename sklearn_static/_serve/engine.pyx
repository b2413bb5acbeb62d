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
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.utility cimport move
from libcpp.vector cimport vector

import numpy as np

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "text.hpp" namespace "sklearn_static" nogil:
    struct Text:
        const uint8_t* data
        size_t size

    cdef cppclass View[Value]:
        const Value* data
        size_t size

    cdef cppclass CharacterTable[Value]:
        View[uint16_t] index
        View[Value] pages

cdef extern from "buffer.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Buffer:
        const uint8_t* data()
        Text text()
        void reset(size_t capacity) except +
        void append(const uint8_t* p, size_t n) except +

cdef extern from "trie.hpp" namespace "sklearn_static" nogil:
    struct TrieNode:
        double score

    cdef cppclass Trie:
        View[TrieNode] nodes
        View[int32_t] values

    cdef cppclass TrieBuilder:
        vector[TrieNode] nodes
        vector[int32_t] values
        void build(vector[Text] keys, const double* scores, const int32_t* values) except +

cdef extern from "words.hpp" namespace "sklearn_static" nogil:
    struct WordSlot:
        int32_t value

    cdef cppclass Words:
        View[WordSlot] slots
        View[uint8_t] bytes
        const int32_t* find(Text text)

    cdef cppclass WordsBuilder:
        vector[WordSlot] slots
        vector[uint8_t] bytes
        void reserve(size_t n) except +
        void add(Text text, int32_t value) except +

cdef extern from "pattern.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Pattern:
        CharacterTable[uint8_t] classes
        View[uint16_t] next
        View[uint8_t] can_begin
        View[uint8_t] skips
        size_t n_classes

cdef extern from "normalizer.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Pass:
        pass

    cdef cppclass MapPass(Pass):
        CharacterTable[uint32_t] entries
        View[uint8_t] bytes
        void finish()

    cdef cppclass FusedPass(Pass):
        unique_ptr[MapPass] fast
        vector[unique_ptr[Pass]] slow

    cdef cppclass CanonicalPass(Pass):
        CharacterTable[uint32_t] entries
        CharacterTable[uint8_t] combining_classes
        View[uint32_t] decompositions
        View[uint64_t] pairs
        View[uint32_t] composed
        cbool composes

    cdef cppclass CharsmapPass(Pass):
        CharacterTable[uint32_t] entries
        View[uint8_t] bytes
        View[uint32_t] units
        View[uint8_t] strings

    cdef cppclass ReplacePass(Pass):
        Pattern pattern
        View[uint8_t] content

    cdef cppclass StripPass(Pass):
        CharacterTable[uint8_t] is_white
        cbool left
        cbool right

    cdef cppclass PrependPass(Pass):
        View[uint8_t] content

cdef extern from "added.hpp" namespace "sklearn_static" nogil:
    cdef cppclass AddedTokens:
        Trie trie
        View[int32_t] ids
        View[int32_t] flags
        View[uint64_t] begins
        CharacterTable[uint8_t] classes
        cbool is_single
        uint8_t first

cdef extern from "splitter.hpp" namespace "sklearn_static" nogil:
    cdef enum Behavior "sklearn_static::Behavior":
        pass

    cdef enum StepKind "sklearn_static::SplitStep::Kind":
        pass

    cdef enum Prepend "sklearn_static::SplitStep::Prepend":
        pass

    cdef cppclass SplitStep:
        StepKind kind
        Pattern pattern
        Behavior behavior
        cbool inverts
        CharacterTable[uint8_t] kinds
        View[uint8_t] mark
        Prepend prepend
        cbool splits

    cdef cppclass Splitter:
        vector[SplitStep] steps

cdef extern from "models.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Scratch:
        pass

    cdef cppclass Model:
        Words words
        void read(Text piece, Scratch& scratch, vector[int32_t]& ids) except +

    cdef cppclass WordLevel(Model):
        int32_t unknown_id

cdef extern from "wordpiece.hpp" namespace "sklearn_static" nogil:
    cdef cppclass WordPiece(Model):
        Trie initial
        Trie continuing
        int32_t unknown_id
        size_t max_characters

cdef extern from "unigram.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Unigram(Model):
        Trie trie
        View[int32_t] id_of_byte
        int32_t unknown_id
        double unknown_score

cdef extern from "bpe.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Merges:
        View[uint64_t] slots
        View[int32_t] merged
        View[int32_t] small
        View[uint64_t] filter
        @staticmethod
        uint64_t key_of(int32_t first, int32_t second)
        @staticmethod
        uint64_t hash_of(uint64_t key)
        @staticmethod
        size_t slot_of(uint64_t hash, size_t n_slots)
        @staticmethod
        size_t bit_of(uint64_t hash, size_t n)

    cdef cppclass Bpe(Model):
        Merges merges
        CharacterTable[int32_t] symbols[4]
        View[int32_t] id_of_byte[4]
        cbool has_places
        cbool is_byte_level
        int32_t unknown_id
        cbool fuses_unknown
        CharacterTable[int32_t] ranks
        View[int32_t] boundary_ranks
        View[uint64_t] joined
        cbool cuts
        cbool cuts_at_unknown
        cbool has_words_in_parts


cdef extern from "composition.hpp" namespace "sklearn_static" nogil:
    cdef cppclass Reader:
        Scratch scratch
        Reader(size_t n_entries, size_t n_steps) except +
        void shrink()

    cdef cppclass CppComposition "sklearn_static::Composition":
        CppComposition() except +
        AddedTokens added
        AddedTokens added_normalized
        vector[unique_ptr[Pass]] passes
        Splitter splitter
        unique_ptr[Model] model
        cbool read(Text document, size_t max_length, Reader& reader, vector[int32_t]& rows) except +

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

    void pool[Value](
        const Table[Value]& table, const Selection& selection, cbool unit_length, float* out
    )

cdef extern from "huge_pages.hpp" namespace "sklearn_static" nogil:
    void ask_for_huge_pages(const void* memory, size_t size)
    void collapse_pages(const void* memory, size_t size)


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


cdef class _Assembly:
    """Builds the engine of a composition from its arrays, which the engine reads where they are."""

    cdef list buffers

    def __cinit__(self, list buffers):
        self.buffers = buffers

    cdef fill(self, CppComposition* engine, composition):
        cdef unique_ptr[Pass] owned
        self.added(engine.added, composition["added"])
        self.added(engine.added_normalized, composition["added_normalized"])
        for part in composition["normalizer"]:
            owned.reset(self.normalizer_pass(part))
            engine.passes.push_back(move(owned))
        for part in composition["splitter"]:
            engine.splitter.steps.push_back(self.step(part))
        engine.model.reset(self.model(composition["model"]))

    cdef const void* looked_up(self, array, size_t* size) except? NULL:
        """Read an array of uint64 that is looked up at random places."""
        cdef const void* data = self.array(array, np.uint64, size)
        if array.flags.writeable:  # which a mapped file is not
            collapse_pages(data, size[0] * sizeof(uint64_t))
        return data

    cdef const void* array(self, array, dtype, size_t* size) except? NULL:
        if array.dtype != dtype or array.ndim != 1:
            raise ValueError(f"an array must be {dtype} with one dimension, got {array.dtype}.")
        cdef _Buffer buffer = _Buffer(array)
        self.buffers.append(buffer)
        size[0] = array.shape[0]
        return buffer.view.buf

    cdef View[uint8_t] bytes(self, array) except *:
        cdef View[uint8_t] view
        view.data = <const uint8_t*> self.array(array, np.uint8, &view.size)
        return view

    cdef View[int32_t] int32(self, array) except *:
        cdef View[int32_t] view
        view.data = <const int32_t*> self.array(array, np.int32, &view.size)
        return view

    cdef View[uint64_t] uint64(self, array) except *:
        cdef View[uint64_t] view
        view.data = <const uint64_t*> self.array(array, np.uint64, &view.size)
        return view

    cdef View[uint32_t] uint32(self, array) except *:
        cdef View[uint32_t] view
        view.data = <const uint32_t*> self.array(array, np.uint32, &view.size)
        return view

    cdef View[uint16_t] uint16(self, array) except *:
        cdef View[uint16_t] view
        view.data = <const uint16_t*> self.array(array, np.uint16, &view.size)
        return view

    cdef CharacterTable[uint8_t] characters8(self, table) except *:
        cdef CharacterTable[uint8_t] view
        view.index = self.uint16(table["index"])
        view.pages = self.bytes(table["pages"])
        return view

    cdef CharacterTable[uint32_t] characters32(self, table) except *:
        cdef CharacterTable[uint32_t] view
        view.index = self.uint16(table["index"])
        view.pages = self.uint32(table["pages"])
        return view

    cdef CharacterTable[int32_t] symbols(self, table) except *:
        cdef CharacterTable[int32_t] view
        view.index = self.uint16(table["index"])
        view.pages = self.int32(table["pages"])
        return view

    cdef Trie trie(self, table) except *:
        cdef Trie trie
        trie.nodes.data = <const TrieNode*> self.looked_up(table["nodes"], &trie.nodes.size)
        trie.nodes.size = trie.nodes.size * sizeof(uint64_t) // sizeof(TrieNode)
        trie.values = self.int32(table["values"])
        return trie

    cdef Words words(self, table) except *:
        cdef Words words
        words.slots.data = <const WordSlot*> self.looked_up(table["slots"], &words.slots.size)
        words.slots.size = words.slots.size * sizeof(uint64_t) // sizeof(WordSlot)
        words.bytes = self.bytes(table["bytes"])
        return words

    cdef Pattern pattern(self, part) except *:
        cdef Pattern pattern
        pattern.classes = self.characters8(part["classes"])
        pattern.next = self.uint16(part["next"])
        pattern.can_begin = self.bytes(part["can_begin"])
        pattern.skips = self.bytes(part["skips"])
        pattern.n_classes = part["n_classes"]
        return pattern

    cdef added(self, AddedTokens& added, part):
        if part is None:
            return
        added.trie = self.trie(part["trie"])
        added.ids = self.int32(part["ids"])
        added.flags = self.int32(part["flags"])
        added.begins = self.uint64(part["begins"])
        added.classes = self.characters8(part["classes"])
        added.is_single = part["first"] is not None
        added.first = part["first"] or 0

    cdef MapPass* map_pass(self, part) except NULL:
        cdef MapPass* result = new MapPass()
        result.entries = self.characters32(part["entries"])
        result.bytes = self.bytes(part["bytes"])
        result.finish()
        return result

    cdef Pass* normalizer_pass(self, part) except NULL:
        cdef FusedPass* fused
        cdef CanonicalPass* canonical
        cdef CharsmapPass* charsmap
        cdef ReplacePass* replaced
        cdef StripPass* strip
        cdef PrependPass* prepend
        cdef unique_ptr[Pass] owned
        kind = part["kind"]
        if kind == "map":
            return self.map_pass(part)
        if kind == "fused":
            fused = new FusedPass()
            fused.fast.reset(self.map_pass(part["fast"]))
            for slow in part["slow"]:
                owned.reset(self.normalizer_pass(slow))
                fused.slow.push_back(move(owned))
            return fused
        if kind == "canonical":
            canonical = new CanonicalPass()
            canonical.entries = self.characters32(part["entries"])
            canonical.combining_classes = self.characters8(part["combining_classes"])
            canonical.decompositions = self.uint32(part["decompositions"])
            canonical.pairs = self.uint64(part["pairs"])
            canonical.composed = self.uint32(part["composed"])
            canonical.composes = part["composes"]
            return canonical
        if kind == "charsmap":
            charsmap = new CharsmapPass()
            charsmap.entries = self.characters32(part["entries"])
            charsmap.bytes = self.bytes(part["bytes"])
            charsmap.units = self.uint32(part["units"])
            charsmap.strings = self.bytes(part["strings"])
            return charsmap
        if kind == "replace":
            replaced = new ReplacePass()
            replaced.pattern = self.pattern(part["pattern"])
            replaced.content = self.bytes(part["content"])
            return replaced
        if kind == "strip":
            strip = new StripPass()
            strip.is_white = self.characters8(part["is_white"])
            strip.left = part["left"]
            strip.right = part["right"]
            return strip
        prepend = new PrependPass()
        prepend.content = self.bytes(part["content"])
        return prepend

    cdef SplitStep step(self, part) except *:
        cdef SplitStep step
        step.kind = <StepKind> <int> ("pattern", "words", "metaspace", "prefix space").index(part["kind"])
        if part["kind"] == "pattern":
            step.pattern = self.pattern(part["pattern"])
            step.behavior = <Behavior> <int> _BEHAVIORS.index(part["behavior"])
            step.inverts = part["inverts"]
        elif part["kind"] == "words":
            step.kinds = self.characters8(part["kinds"])
        elif part["kind"] == "metaspace":
            step.mark = self.bytes(part["mark"])
            step.prepend = <Prepend> <int> ("never", "first", "always").index(part["prepend"])
            step.splits = part["splits"]
        return step

    cdef Model* model(self, part) except NULL:
        cdef WordLevel* word_level
        cdef WordPiece* wordpiece
        cdef Unigram* unigram
        cdef Bpe* bpe
        cdef size_t i
        if part["kind"] == "WordLevel":
            word_level = new WordLevel()
            word_level.words = self.words(part["words"])
            word_level.unknown_id = part["unknown_id"]
            return word_level
        if part["kind"] == "WordPiece":
            wordpiece = new WordPiece()
            wordpiece.words = self.words(part["words"])
            wordpiece.initial = self.trie(part["initial"])
            wordpiece.continuing = self.trie(part["continuing"])
            wordpiece.unknown_id = part["unknown_id"]
            wordpiece.max_characters = part["max_characters"]
            return wordpiece
        if part["kind"] == "Unigram":
            unigram = new Unigram()
            unigram.words = self.words(part["words"])
            unigram.trie = self.trie(part["trie"])
            unigram.id_of_byte = self.int32(part["id_of_byte"])
            unigram.unknown_id = part["unknown_id"]
            unigram.unknown_score = part["unknown_score"]
            return unigram
        bpe = new Bpe()
        bpe.words = self.words(part["words"])
        bpe.merges.slots.data = <const uint64_t*> self.looked_up(
            part["merges"]["slots"], &bpe.merges.slots.size
        )
        bpe.merges.merged = self.int32(part["merges"]["merged"])
        bpe.merges.small = self.int32(part["merges"]["small"])
        bpe.merges.filter = self.uint64(part["merges"]["filter"])
        bpe.has_places = len(part["places"]) > 1
        for i, place in enumerate(part["places"]):
            bpe.symbols[i] = self.symbols(place["symbols"])
            bpe.id_of_byte[i] = self.int32(place["id_of_byte"])
        bpe.is_byte_level = part["byte_level"]
        bpe.cuts_at_unknown = part["cuts_at_unknown"]
        bpe.has_words_in_parts = part["has_words_in_parts"]
        if part["ranks"] is not None:
            bpe.ranks = self.symbols(part["ranks"])
            bpe.boundary_ranks = self.int32(part["boundary_ranks"])
        bpe.unknown_id = -1 if part["unknown_id"] is None else part["unknown_id"]
        bpe.fuses_unknown = part["fuses_unknown"]
        bpe.joined = self.uint64(part["joined"])
        bpe.cuts = part["cuts"]
        return bpe


cdef class FastTokenizer:
    """Map documents to the rows of their tokens, with the same result as the original tokenizer.

    Parameters
    ----------
    vocabulary : Vocabulary
        The original tokenizer, and the row of each of its tokens.
    composition : dict or None
        The result of `compose` for it. With None, the original tokenizer reads all documents.

    Attributes
    ----------
    n_original : int
        Number of documents that the original tokenizer has read so far.
    """

    cdef readonly object vocabulary
    cdef readonly object composition
    cdef readonly size_t n_original
    cdef CppComposition* engine
    cdef vector[Reader*] readers  # those that no call uses at the moment
    cdef list buffers  # the arrays that the engine reads
    cdef object row_of_id

    def __cinit__(self, vocabulary, composition):
        self.vocabulary = vocabulary
        self.composition = composition
        self.row_of_id = vocabulary.row_of_id
        self.buffers = []
        if composition is not None:
            self.engine = new CppComposition()
            _Assembly(self.buffers).fill(self.engine, composition)

    def __dealloc__(self):
        for reader in self.readers:
            del reader
        del self.engine

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
        if self.engine is NULL:
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
        cdef _Buffer buffer = _Buffer(self.row_of_id)
        cdef const int32_t* row_of_id = <const int32_t*> buffer.view.buf
        cdef size_t last = buffer.view.len // sizeof(int32_t) - 1, start, i
        cdef Reader* reader
        cdef int32_t* ids
        # With the GIL held, so that a call has a reader of its own, also after a fork.
        if self.readers.size():
            reader = self.readers.back()
            self.readers.pop_back()
        else:
            reader = new Reader(_N_PIECES, self.engine.splitter.steps.size())
        try:
            with nogil:
                for i in range(texts.size()):
                    start = result.rows.size()
                    if self.engine.read(texts[i], limit, dereference(reader), result.rows):
                        result.spans[i] = Span(start, result.rows.size())
                    else:
                        whole.push_back(i)
                ids = result.rows.data()
                for i in range(result.rows.size()):
                    ids[i] = row_of_id[min(<size_t> ids[i], last)]
                reader.shrink()
        finally:
            if self.readers.size() < _N_READERS:
                self.readers.push_back(reader)
            else:
                del reader

    cdef _read_whole(self, list documents, vector[size_t]& whole, TokenRows result):
        cdef size_t n_before = result.rows.size(), k
        self.n_original += whole.size()
        rows, offsets = self.vocabulary.tokens([documents[i] for i in whole])
        cdef _Buffer rows_buffer = _Buffer(rows), offsets_buffer = _Buffer(offsets)
        cdef int32_t* first = <int32_t*> rows_buffer.view.buf
        cdef int64_t* ends = <int64_t*> offsets_buffer.view.buf
        result.rows.insert(result.rows.end(), first, first + ends[whole.size()])
        for k in range(whole.size()):
            result.spans[whole[k]] = Span(n_before + ends[k], n_before + ends[k + 1])


# The pieces that a reader remembers: 4 MB of 64 bytes each, which stay in the processor's caches.
cdef size_t _N_PIECES = 1 << 16
# Readers that are kept for later calls: as many as threads that usually call at the same time.
cdef size_t _N_READERS = 16


_BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


cdef object _copied(const void* data, size_t n_bytes, dtype):
    array = np.empty(n_bytes // np.dtype(dtype).itemsize, dtype=dtype)
    cdef _Buffer buffer = _Buffer(array, True)
    if n_bytes:
        memcpy(buffer.view.buf, data, n_bytes)
    return array


cdef object _texts(strings, vector[Text]& texts):
    """Point texts to strings of bytes; return what must outlive them."""
    joined = b"".join(strings) + bytes(32)  # the engine reads beyond the end of a string
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AsString(joined)
    texts.reserve(len(strings))
    for string in strings:
        texts.push_back(Text(data, len(string)))
        data += len(string)
    return joined


def build_trie(strings, scores, values):
    """Build the arrays of a trie.

    Parameters
    ----------
    strings : list of bytes
        The strings.
    scores : ndarray of float64, shape (n_strings,), or None
        The score of each string; not NaN.
    values : ndarray of int32, shape (n_strings,)
        The value of each string; the last one counts if there are several.

    Returns
    -------
    trie : dict of str to ndarray
        The arrays.
    """
    cdef vector[Text] texts
    held = _texts(strings, texts)
    cdef TrieBuilder builder
    cdef _Buffer value_buffer = _Buffer(values), score_buffer
    cdef const double* score_data = NULL
    if scores is not None:
        score_buffer = _Buffer(scores)
        score_data = <const double*> score_buffer.view.buf
    builder.build(texts, score_data, <const int32_t*> value_buffer.view.buf)
    return {
        "nodes": _copied(builder.nodes.data(), builder.nodes.size() * sizeof(TrieNode), np.uint64),
        "values": _copied(builder.values.data(), builder.values.size() * sizeof(int32_t), np.int32),
    }


def build_words(strings, values):
    """Build the arrays of a hash table from strings to numbers.

    Parameters
    ----------
    strings : list of bytes
        The strings.
    values : ndarray of int32, shape (n_strings,)
        The value of each string; the first one counts if there are several.

    Returns
    -------
    words : dict of str to ndarray
        The arrays.
    """
    cdef vector[Text] texts
    held = _texts(strings, texts)
    cdef WordsBuilder builder
    cdef _Buffer buffer = _Buffer(values)
    cdef const int32_t* data = <const int32_t*> buffer.view.buf
    cdef size_t i
    builder.reserve(texts.size())
    for i in range(texts.size()):
        builder.add(texts[i], data[i])
    return {
        "slots": _copied(builder.slots.data(), builder.slots.size() * sizeof(WordSlot), np.uint64),
        "bytes": _copied(builder.bytes.data(), builder.bytes.size(), np.uint8),
    }


def merge_ids(words, list merges, size_t n_prefix):
    """Look up the ids of the tokens of merges.

    Parameters
    ----------
    words : dict of str to ndarray
        The result of `build_words` for all tokens.
    merges : list of (str, str)
        The two tokens of each merge.
    n_prefix : int
        Number of bytes at the beginning of the second token that the merged token lacks.

    Returns
    -------
    merges : ndarray of int32, shape (n_merges, 3)
        The ids of both tokens and of the token into which they merge.

    Raises
    ------
    ValueError
        If there is no such token.
    """
    buffers = []
    cdef Words tokens = (<_Assembly> _Assembly(buffers)).words(words)
    cdef size_t i, n = len(merges)
    result = np.empty((n, 3), dtype=np.int32)
    cdef _Buffer buffer = _Buffer(result, True)
    cdef int32_t* ids = <int32_t*> buffer.view.buf
    cdef const uint8_t* first
    cdef const uint8_t* second
    cdef Py_ssize_t n_first, n_second
    cdef Buffer pair, merged  # after which bytes may be read
    cdef const int32_t* found[3]
    for i in range(n):
        one, other = merges[i]
        first = <const uint8_t*> PyUnicode_AsUTF8AndSize(one, &n_first)
        second = <const uint8_t*> PyUnicode_AsUTF8AndSize(other, &n_second)
        if not n_first or n_second <= <Py_ssize_t> n_prefix:
            raise ValueError(f"The merge of {one!r} and {other!r} has an empty token.")
        pair.reset(n_first + n_second)
        pair.append(first, n_first)
        pair.append(second, n_second)
        merged.reset(n_first + n_second)
        merged.append(first, n_first)
        merged.append(second + n_prefix, n_second - n_prefix)
        found[0] = tokens.find(Text(pair.data(), n_first))
        found[1] = tokens.find(Text(pair.data() + n_first, n_second))
        found[2] = tokens.find(merged.text())
        if not found[0] or not found[1] or not found[2]:
            raise ValueError(f"The merge of {one!r} and {other!r} has an unknown token.")
        ids[3 * i], ids[3 * i + 1], ids[3 * i + 2] = found[0][0], found[1][0], found[2][0]
    return result


def build_merges(merges):
    """Build the hash table of merges.

    Parameters
    ----------
    merges : ndarray of int32, shape (n_merges, 3)
        Two ids and the id of the token into which they merge, by descending priority. Of equal
        pairs, the last one counts.

    Returns
    -------
    merges : dict of str to ndarray
        The arrays.

    Raises
    ------
    ValueError
        If there are too many merges, or if an id is too large.
    """
    cdef size_t n = len(merges), n_slots = 2 * n + 2, i, rank
    if n >= 1 << 20 or (n and merges.max() >= 1 << 22):
        raise ValueError("There are too many merges, or an id is too large.")
    slots = np.full(n_slots, np.iinfo(np.uint64).max, dtype=np.uint64)
    cdef _Buffer buffer = _Buffer(slots, True), given = _Buffer(merges)
    cdef uint64_t* data = <uint64_t*> buffer.view.buf
    cdef size_t n_words = 16, bit
    while 64 * n_words < 8 * n:
        n_words *= 2
    filter_words = np.zeros(n_words, dtype=np.uint64)
    cdef _Buffer filter_buffer = _Buffer(filter_words, True)
    cdef uint64_t* words = <uint64_t*> filter_buffer.view.buf
    cdef uint64_t free = <uint64_t> -1, key, hash
    cdef int32_t* merge
    for rank in range(n):
        merge = <int32_t*> given.view.buf + 3 * rank
        key = Merges.key_of(merge[0], merge[1])
        hash = Merges.hash_of(key)
        bit = Merges.bit_of(hash, n_words)
        words[bit >> 6] |= <uint64_t> 1 << (bit & 63)
        i = Merges.slot_of(hash, n_slots)
        while data[i] != free and data[i] >> 20 != key:
            i = 0 if i + 1 == n_slots else i + 1
        data[i] = key << 20 | rank
    is_small = (merges[:, 0] < 256) & (merges[:, 1] < 256)
    small = np.full(1 << 16, np.iinfo(np.int32).max, dtype=np.int32)
    small[merges[is_small, 0] << 8 | merges[is_small, 1]] = np.flatnonzero(is_small)
    return {"slots": slots, "merged": np.ascontiguousarray(merges[:, 2]), "small": small, "filter": filter_words}


def single_tokens(model, strings, ids):
    """Find the strings that a model leaves whole.

    Parameters
    ----------
    model : dict
        A model without `words`.
    strings : list of bytes
        Strings of the vocabulary.
    ids : ndarray of int32, shape (n_strings,)
        Their ids.

    Returns
    -------
    is_single : ndarray of bool, shape (n_strings,)
        Whether the model turns the string into its id.
    """
    cdef vector[Text] texts
    held = _texts(strings, texts)
    buffers = []
    cdef unique_ptr[Model] built
    built.reset((<_Assembly> _Assembly(buffers)).model(model))
    cdef Reader* reader = new Reader(2, 0)
    is_single = np.zeros(len(strings), dtype=np.uint8)
    cdef _Buffer buffer = _Buffer(is_single, True), id_buffer = _Buffer(ids)
    cdef uint8_t* result = <uint8_t*> buffer.view.buf
    cdef const int32_t* expected = <const int32_t*> id_buffer.view.buf
    cdef vector[int32_t] found
    cdef size_t i
    try:
        with nogil:
            for i in range(texts.size()):
                found.clear()
                if texts[i].size:
                    dereference(built).read(texts[i], reader.scratch, found)
                result[i] = found.size() == 1 and found[0] == expected[i]
    finally:
        del reader
    return is_single.view(bool)


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
