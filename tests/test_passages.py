"""Which parts of long documents the teacher reads."""

from dataclasses import replace

import numpy as np
import pytest
from teachers import FAMILIES, corpus_of, engine, usable

from sklearn_static._distill.corpus import most_frequent_bigrams
from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.passages import MAX_PASSAGE, Passages, beginnings, spread
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
from sklearn_static._serve.tokens import Tokens
from sklearn_static._serve.vocabulary import Vocabulary

LENGTHS = np.array([1, 95, 96, 97, 500, 30])


@pytest.mark.parametrize(("limit", "longest"), [(None, 96), (256, 96), (20, 20), (0, 1)])
def test_passages_divide_each_document(limit, longest):
    order = np.arange(len(LENGTHS)) * 7
    passages = Passages.concatenated(list(spread(LENGTHS, order, limit)))
    sizes = passages.stops - passages.starts
    assert 0 < sizes.min() <= sizes.max() <= longest
    for i, length in enumerate(LENGTHS):
        mine = np.flatnonzero(passages.documents == i)
        starts = np.sort(passages.starts[mine])
        stops = np.sort(passages.stops[mine])
        assert starts[0] == 0
        assert stops[-1] == length
        np.testing.assert_array_equal(starts[1:], stops[:-1])
        assert np.ptp(sizes[mine]) <= 1, "they are of about the same length"


def test_each_document_comes_before_a_second_passage_of_any():
    rounds = [passages.documents.tolist() for passages in spread(LENGTHS, np.zeros(6, int), None)]
    assert rounds == [[0, 1, 2, 3, 4, 5], [3, 4], [4], [4], [4], [4]]


def test_the_order_says_which_passage_is_the_first():
    starts = [
        [int(passages.starts[0]) for passages in spread(np.array([400]), np.array([order]), None)]
        for order in (0, 1, 7)
    ]
    assert starts == [[0, 80, 160, 240, 320], [80, 160, 240, 320, 0], [160, 240, 320, 0, 80]]


def test_the_tokens_of_passages():
    tokens = Tokens(np.arange(10, dtype=np.int32), np.array([0, 4, 4, 10]))
    passages = Passages(np.array([2, 0, 1, 2]), np.array([3, 0, 0, 0]), np.array([6, 2, 0, 3]))
    found = passages.of(tokens)
    assert [found.of(i).tolist() for i in range(4)] == [[7, 8, 9], [0, 1], [], [4, 5, 6]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_inputs_are_parts_of_the_documents(family, prompt, bert_folder, texts):
    """With the ids of tokens without a row, and what `transform` pools of the same part."""
    vocabulary = usable(FAMILIES[family].tokenizer())
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto")
    inputs = Inputs(replace(files, prompt=prompt, max_seq_length=None), vocabulary)
    documents = [" \u2603 ".join(texts[i : i + 30]) for i in range(0, 120, 30)] + ["a value"]
    corpus = corpus_of(documents, engine(vocabulary))
    read, numbers, passages = inputs.of_documents(corpus, 600)
    assert set(passages.documents.tolist()) == set(range(5))
    assert 600 - MAX_PASSAGE - 10 < len(read.ids) <= 600
    encode = vocabulary.tokenizer.encode
    for number, *passage in zip(numbers, *passages, strict=True):
        i, start, stop = passage
        own = encode(corpus.documents[i], add_special_tokens=False).ids[start:stop]
        ids = read[number].ravel().tolist()
        with_prompt = encode(prompt + "a").ids
        n_before = len(with_prompt) - len(encode("a").ids) + len(encode("").ids) // 2
        assert ids[n_before : n_before + len(own)] == own
        assert ids[:n_before] == with_prompt[:n_before]
    known = corpus.known_in(passages)
    rows = passages.of(corpus.tokens)
    for i in range(known.n_documents):
        of_part = rows.of(i)
        np.testing.assert_array_equal(known.of(i), of_part[of_part >= 0])


def test_a_document_has_the_same_passages_in_all_sets(texts, bert_folder):
    """So that the teacher reads the same in all folds of a search."""
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto")
    inputs = Inputs(replace(files, max_seq_length=None), vocabulary)
    documents = [" ".join(texts[i : i + 40]) for i in range(40)]
    found = []
    for some in (documents, documents[::-3]):
        corpus = corpus_of(some, engine(vocabulary))
        _, _, passages = inputs.of_documents(corpus, 5000)
        firsts = reversed(list(zip(*passages, strict=True)))
        found.append({corpus.documents[i]: (start, stop) for i, start, stop in firsts})
    both = found[0].keys() & found[1].keys()
    assert len(both) > 3
    assert len({found[0][document] for document in both}) > 1
    assert all(found[0][document] == found[1][document] for document in both)


def test_whole_documents_are_a_view(texts, bert_folder):
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    corpus = corpus_of(list(texts), engine(vocabulary))
    whole = beginnings(corpus.lengths[:5], None)
    assert np.may_share_memory(corpus.known_in(whole).rows, corpus.known.rows)
    cut = beginnings(corpus.lengths[:5], 3)
    assert corpus.known_in(cut).lengths.max() <= 3


@pytest.mark.parametrize("max_length", [40, 150])
def test_passages_end_where_transform_stops_reading(max_length, texts, bert_folder):
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    documents = [" ".join(texts[i : i + 50]) for i in range(10)]
    corpus = replace(corpus_of(documents, engine(vocabulary)), max_length=max_length)
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto")
    inputs = Inputs(replace(files, max_seq_length=None), vocabulary)
    _, _, passages = inputs.of_documents(corpus, 900)
    assert set(passages.documents.tolist()) == set(range(10))
    assert passages.stops.max() == max_length


def test_a_document_of_many_passages_is_tokenized_by_the_original_once(texts, bert_folder):
    """Where it has tokens without a row, whose ids are not kept."""
    read: list[str] = []

    class Counting(Vocabulary):
        def encode(self, documents: list[str]) -> tuple:
            read.extend(documents)
            return super().encode(documents)

    words = usable(FAMILIES["bert"].tokenizer())
    vocabulary = Counting(words.original, words.token_ids)
    long = [" \u2603 ".join(texts), " \u2603 ".join(texts[::-1])]
    corpus = corpus_of(long, engine(vocabulary))
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto")
    inputs = Inputs(replace(files, max_seq_length=None), vocabulary)
    read.clear()
    _, _, passages = inputs.of_documents(corpus, int(corpus.lengths[0]) - 10)
    assert len(passages.documents) > 20
    assert len(read) == 4, "once as a whole, once for all passages"


def test_tokens_without_a_vector_are_left_out(texts):
    vocabulary = usable(FAMILIES["bert"].tokenizer())
    corpus = corpus_of(list(texts), engine(vocabulary))
    kept = np.arange(0, len(vocabulary), 2)
    tokens = corpus.tokens.renumbered(kept)
    corpus = replace(corpus, kept=kept, known=tokens.in_vocabulary(None))
    passages = Passages(np.array([3, 5]), np.array([2, 0]), np.array([9, 4]))
    known = corpus.known_in(passages)
    for i, (document, start, stop) in enumerate(zip(*passages, strict=True)):
        rows = tokens.of(document)[start:stop]
        np.testing.assert_array_equal(known.of(i), rows[rows >= 0])


def test_a_bigram_of_two_passages_of_one_document_is_in_one_document():
    tokens = Tokens(np.array([0, 1, 0, 1, 0, 1], dtype=np.int32), np.array([0, 2, 4, 6]))
    once = np.ones(3, dtype=np.int64)
    same, other = np.array([0, 0, 0]), np.array([0, 0, 1])
    assert not len(most_frequent_bigrams(tokens, once, 2, None, same).pairs)
    assert most_frequent_bigrams(tokens, once, 2, None, other).pairs.tolist() == [[0, 1]]
