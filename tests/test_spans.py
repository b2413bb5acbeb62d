import numpy as np
import pytest
from teachers import FAMILIES

from sklearn_static._inspect.spans import Segment, find_tokens, segments, without


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "qwen"])
def test_spaces_around_a_token_are_left_out(family):
    tokenizer = FAMILIES[family].tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    document = "list   , the\n\nvalue"
    ids, spans = find_tokens(tokenizer, document)
    found = [document[start:stop] for start, stop in spans]
    assert ids == tokenizer.encode(document, add_special_tokens=False).ids
    assert len(found) == len(ids)
    # Nothing is lost but spaces, and a token of spaces alone keeps them.
    assert "".join(token for token in found if token.strip()) == "list,thevalue"
    assert all(token == token.strip() or token.isspace() for token in found)
    assert "the" in found
    assert (family == "bert") != any(token.isspace() for token in found)


def test_spans_of_a_document_without_tokens_are_empty():
    _, spans = find_tokens(FAMILIES["bert"].tokenizer(), " ")
    assert spans.shape[1] == 2
    assert spans.dtype == np.int64


@pytest.mark.parametrize(
    ("document", "left"),
    [
        ("the [cat] sat", "the sat"),
        ("[cat] sat", "sat"),
        ("the [cat]", "the"),
        ("the [cat].", "the ."),
        ("([cat] sat)", "( sat)"),
        ("the\n[cat]\nsat", "the\nsat"),
        ("un[believ]able", "unable"),
        ("[cat]", ""),
        ("a  [cat]  b", "a   b"),
    ],
)
def test_one_of_two_spaces_goes_with_a_token(document, left):
    start, stop = document.index("["), document.index("]") - 1
    assert without(document.replace("[", "").replace("]", ""), start, stop) == left


def test_segments_are_the_document():
    document = "The cat, 日!"
    spans = np.array([[0, 3], [4, 7], [9, 10], [9, 10], [10, 10], [10, 11]])
    found = segments(document, spans, np.array([1.0, -2, 4, 8, 16, 32]))
    assert found == [
        Segment("The", 1),
        Segment(" ", None),
        Segment("cat", -2),
        Segment(", ", None),
        Segment("日", 28),  # the bytes of one character, and a token without characters
        Segment("!", 32),
    ]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], [Segment("ab c", None)]),
        ([[0, 0], [0, 2]], [Segment("ab", 3), Segment(" c", None)]),
        ([[0, 2], [1, 3]], [Segment("ab ", 3), Segment("c", None)]),
        ([[3, 4], [0, 2]], [Segment("ab", 2), Segment(" ", None), Segment("c", 1)]),
    ],
    ids=["no tokens", "no characters", "overlap", "order"],
)
def test_segments_of_unusual_spans(spans, expected):
    found = segments("ab c", np.array(spans).reshape(-1, 2), np.arange(len(spans)) + 1.0)
    assert found == expected


def test_an_empty_document_has_no_segments():
    assert segments("", np.empty((0, 2), dtype=np.int64), np.empty(0)) == []
