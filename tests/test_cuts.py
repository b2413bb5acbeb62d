"""Which rule a tokenizer has, from its components."""

from collections.abc import Callable

import pytest
from teachers import FAMILIES, RULES, change, with_token
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from sklearn_static._serve.cuts import added_token_keys, cut_pairs, cut_rule, map_character


@pytest.mark.parametrize("family", FAMILIES)
def test_rule_of_each_family(family):
    assert cut_rule(FAMILIES[family].tokenizer()) == RULES[family]


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: change("bert", normalizer=normalizers.NFC()),
        lambda: change("bert", pre_tokenizer=pre_tokenizers.Whitespace()),
        lambda: change("bert", model=models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")),
    ],
)
def test_words(tokenizer: Callable):
    assert cut_rule(tokenizer()) == "words"


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: change("roberta", pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda: change("roberta", normalizer=normalizers.Replace(",", "x")),
    ],
)
def test_spaces(tokenizer: Callable):
    assert cut_rule(tokenizer()) == "spaces"


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: with_token(AddedToken("two words"), "roberta"),
        lambda: with_token(AddedToken("word", single_word=True), "roberta"),
        lambda: with_token(AddedToken("word", rstrip=True), "roberta"),
        lambda: with_token(AddedToken("word ", normalized=False), "roberta"),
        lambda: with_token(AddedToken(" word"), "qwen"),
        lambda: with_token(AddedToken("a\u00b4b", normalized=True), "xlm-roberta"),
        lambda: change("roberta", pre_tokenizer=pre_tokenizers.Split(" and ", "isolated")),
        lambda: change("xlm-roberta", pre_tokenizer=pre_tokenizers.Metaspace(split=False)),
        lambda: change("xlm-roberta", normalizer=normalizers.Strip()),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a b", "ab")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a", "")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("a", " ")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace(" {2,}", " ")),
        lambda: change("xlm-roberta", normalizer=normalizers.Replace("  ", "")),
        lambda: change("roberta", normalizer=normalizers.BertNormalizer(lowercase=False)),
        lambda: change("roberta", normalizer=normalizers.StripAccents()),
        lambda: change("bert", normalizer=normalizers.Prepend("x")),
        lambda: with_token(AddedToken("\u0301"), "bert"),  # it is normalized to nothing
    ],
)
def test_no_rule(tokenizer: Callable):
    assert cut_rule(tokenizer()) is None


@pytest.mark.parametrize(
    ("character", "mapped"),
    [
        ("A", "a"),
        ("é", "e"),
        (",", " , "),
        ("\u037e", " ; "),  # the Greek question mark
        ("字", " 字 "),
        ("\t", " "),
        ("\x00", ""),
        ("\u0301", ""),
        ("가", "\u1100\u1161"),
        ("\u302e", None),  # a mark that is kept, and put into order
        ("\U0001d165", None),
    ],
)
def test_characters(character, mapped):
    assert map_character(FAMILIES["bert"].tokenizer(), character) == mapped


def test_characters_in_their_case():
    tokenizer = change("bert", normalizer=normalizers.BertNormalizer(lowercase=False))
    assert map_character(tokenizer, "É") == "É"
    assert map_character(change("bert", normalizer=None), "É") == "É"


def test_keys_of_added_tokens():
    tokenizer = with_token(AddedToken("Two Words"), "bert")
    assert {"[sep]", "twowords"} <= set(added_token_keys(tokenizer))


@pytest.mark.parametrize(
    ("family", "cut", "kept"),
    [
        (
            "roberta",
            ["d,", "d1", "1d", "1,", ",1", '"d', "d'", ",\n"],
            ["'d", "dd", ",,", "s>", "<S", "\nd"],
        ),
        ("qwen", ["d,", "d1", "1d", "1,", ",1", "d'"], ["'d", '"d', "t|", ",\n"]),
        ("xlm-roberta", [], ["d,", "d1"]),
    ],
)
def test_pairs(family, cut, kept):
    pairs = set(map("".join, cut_pairs(FAMILIES[family].tokenizer(), RULES[family])))
    assert pairs >= set(cut)
    assert not pairs & set(kept)
