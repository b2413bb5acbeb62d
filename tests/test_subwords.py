"""BPE and Unigram inside the engine: when they are supported, and their splits."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from teachers import FAMILIES, RULES, change, corpus, with_token
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from sklearn_static._distill.inputs import usable_tokens
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.cuts import cut_rule
from sklearn_static._serve.subwords import PlainBpe, PlainUnigram, plain_subwords


def described(tokenizer: Tokenizer) -> PlainBpe | PlainUnigram | None:
    return plain_subwords(tokenizer, cut_rule(tokenizer))


def rebuilt(family: str, **changes: object) -> Tokenizer:
    """Change settings of the model that have no setter."""
    state = json.loads(FAMILIES[family].tokenizer().to_str())
    state["model"] |= changes
    return Tokenizer.from_str(json.dumps(state))


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    tokenizer = FAMILIES[family].tokenizer()
    kinds = {"BPE": PlainBpe, "Unigram": PlainUnigram, "WordPiece": type(None)}
    kind = json.loads(tokenizer.to_str())["model"]["type"]
    assert isinstance(plain_subwords(tokenizer, RULES[family]), kinds[kind])


NESTED = normalizers.Sequence([normalizers.Sequence([normalizers.Replace("``", '"')])])


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: rebuilt("roberta", dropout=0.1),
        lambda: change("roberta", normalizer=normalizers.Lowercase()),
        lambda: with_token(AddedToken("covid"), "roberta"),
        lambda: change("roberta", model=models.Unigram([("a", -1.0)])),
        lambda: change(
            "xlm-roberta", pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="never")
        ),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("``", '"')),
        lambda: change("xlm-roberta", normalizer=NESTED),
    ],
)
def test_what_is_left_to_the_tokenizer(tokenizer: Callable):
    assert cut_rule(tokenizer()) is not None
    assert described(tokenizer()) is None


def assert_exact(tokenizer: Tokenizer, documents: list[str]) -> None:
    words = usable_tokens(tokenizer)
    fast = FastTokenizer(words, cut_rule(tokenizer))
    for got, expected in zip(
        fast.tokenize(documents).to_arrays(), words.tokens(documents), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: FAMILIES["roberta"].tokenizer(),
        lambda: FAMILIES["qwen"].tokenizer(),
        lambda: rebuilt("qwen", ignore_merges=True),
        lambda: FAMILIES["xlm-roberta"].tokenizer(),
        lambda: change(
            "xlm-roberta",
            pre_tokenizer=pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
            ),
        ),
    ],
)
def test_random_words(tokenizer: Callable):
    """Words of all lengths and character classes, which cover each merge and each tie."""
    rng = np.random.default_rng(0)
    alphabets = [
        "aeinrst",
        "abcdefghijklmnopqrstuvwxyzABC",
        "0123456789",
        ".,-'\"()<|>_",
        "ab1.'é ",
    ]
    documents = []
    for alphabet in alphabets:
        letters = np.array(list(alphabet))
        documents += [
            " ".join("".join(rng.choice(letters, rng.integers(1, 90))) for _ in range(5))
            for _ in range(400)
        ]
    vocabulary = [token.strip("▁Ġ") for token in tokenizer().get_vocab()]
    documents += ["".join(rng.choice(vocabulary, 3)) for _ in range(2000)]
    assert_exact(tokenizer(), [*documents, *corpus()])
