"""The inputs of the teacher."""

from dataclasses import replace

import pytest
from teachers import FAMILIES, awkward_texts, corpus_of, engine, usable
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.teacher_files import TeacherFiles, read_teacher_files
from sklearn_static._formats.hub import Source
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def opened(bert_folder) -> TeacherFiles:
    return read_teacher_files(Source(str(bert_folder), None, False, True), "auto")


@pytest.mark.parametrize(
    ("family", "before", "after"),
    [
        ("bert", [4], [5]),
        ("distilbert", [4], [5]),
        ("mpnet", [4], [5]),
        ("roberta", [0], [2]),
        ("xlm-roberta", [0], [2]),
        ("modernbert", [2], [3]),
        ("qwen", [], [0]),
    ],
)
def test_tokens_are_wrapped_in_the_template(family, before, after, opened):
    vocabulary = usable(FAMILIES[family].tokenizer())
    expected = [[*before, i, *after] for i in vocabulary.token_ids.tolist()]
    assert Inputs(opened, vocabulary).of_vocabulary().tolist() == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("longest", [None, 16, 3])
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_documents_are_what_the_tokenizer_gives(family, longest, prompt, opened, texts):
    """With its own truncation and template, for documents with unknown tokens, too."""
    documents = [*texts[:40], *awkward_texts()]
    tokenizer = FAMILIES[family].tokenizer()
    vocabulary = usable(tokenizer)
    corpus = corpus_of(documents, engine(vocabulary))
    folder = replace(opened, max_seq_length=longest, prompt=prompt)
    inputs, numbers, _ = Inputs(folder, vocabulary).of_documents(corpus, None)
    tokenizer = vocabulary.tokenizer  # reading tokenizer.json again could round a score
    if longest is not None:
        tokenizer.enable_truncation(longest)
    expected = [
        encoding.ids for encoding in tokenizer.encode_batch([prompt + d for d in documents])
    ]
    assert [inputs[i].ravel().tolist() for i in numbers] == expected
    assert len({ids.tobytes() for ids in inputs}) == len(inputs)


class Counting(Vocabulary):
    """A vocabulary that records which documents its tokenizer reads."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.read: list[str] = []

    def encode(self, documents: list[str]) -> tuple:
        self.read += documents
        return super().encode(documents)


def test_documents_are_not_tokenized_again(opened):
    words = usable(opened.tokenizer)
    vocabulary = Counting(words.original, words.token_ids)
    documents = ["the value", "\u2603 the value", "of a list"]
    corpus = corpus_of(documents, engine(vocabulary))
    vocabulary.read.clear()
    inputs, _, _ = Inputs(opened, vocabulary).of_documents(corpus, None)
    assert len(inputs) == 3
    # Rows do not contain the ids of tokens without a row.
    assert vocabulary.read == ["\u2603 the value"]


def test_a_budget_counts_duplicates_once(opened):
    vocabulary = usable(opened.tokenizer)
    corpus = corpus_of(["the", "the", "of", "a"], FastTokenizer(vocabulary, None))
    inputs = Inputs(opened, vocabulary)
    for max_tokens, n_read in ((1, 2), (3, 2), (5, 2), (6, 3), (9, 4), (None, 4)):
        read, numbers, _ = inputs.of_documents(corpus, max_tokens)
        assert numbers.tolist() == [0, 0, 1, 2][:n_read]
        assert len(read) == max(numbers) + 1


def test_tokenizer_without_a_usable_token():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    with pytest.raises(ValueError, match="no token that can occur"):
        usable(tokenizer)


def test_a_template_that_cannot_be_found(opened):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "|": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="|", special_tokens=[("|", 2)])
    with pytest.raises(ValueError, match=r"becomes \[\] without them and \[2\] with them"):
        Inputs(opened, usable(tokenizer)).of_vocabulary()
