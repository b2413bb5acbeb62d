"""Regular expressions as automata, against the library that they are written for."""

import numpy as np
import pytest
from teachers import corpus, engine, usable
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from sklearn_static._serve.patterns import UnsupportedError, compile_pattern

SUPPORTED = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+(?!\S)|\s+",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "a|ab|abc",  # the first alternative, not the longest one
    "abc|ab|a",
    r"(?:ab)+|b(?=a)",
    r"(a|b){2,3}c?",
    r"x{2}|x{4,}",
    r"\.\.\.|[.!?]",
    r"a(?!b)|ab(?!c)",
    r"[a-z&&[^aeiou]]+",
]
TEXTS = [
    *corpus(),
    *(
        "abcabc",
        "aababb abab",
        "xxxxxx x xx xxx",
        "a",
        "",
        "It'S we'LL I'\u017f don't",
        "12345 1 22",
    ),
    *(
        "  \n \n  a",
        "\r\n\r\n x",
        " \t ",
        "ÀÉ Ünïcödé\u0301",
        "日本語かな カナ123",
        "...!?..",
        "a\u00a0b",
    ),
]


@pytest.mark.parametrize("behavior", ["isolated", "removed", "merged_with_next", "contiguous"])
@pytest.mark.parametrize("pattern", SUPPORTED)
def test_pieces_are_those_of_the_library(pattern, behavior):
    split = pre_tokenizers.Split(Regex(pattern), behavior)
    pieces = sorted({"other", *(p for text in TEXTS for p, _ in split.pre_tokenize_str(text))})
    tokenizer = Tokenizer(
        models.WordLevel({"[UNK]": 0} | {p: i for i, p in enumerate(pieces, 1)}, "[UNK]")
    )
    tokenizer.pre_tokenizer = split
    vocabulary = usable(tokenizer)
    rows, offsets = engine(vocabulary).tokenize(TEXTS).to_arrays()
    expected, expected_offsets = vocabulary.tokens(TEXTS)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(offsets, expected_offsets)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<=a)b",  # looks behind
        r"a(?!bc)",  # looks further ahead than one character
        r"(a)\1",
        r"^a",
        r"a+?",
        r"a++",
        r"\bword\b",
        r"(?i:ss)",  # matches a single character, too
        r"(?i:s(?:s))",
        r"(?i:\u00df)",  # matches two characters
        r"a*",  # matches nothing
        r"(?:a?)+",
        "(ab",
        "[ab",
        "a{2,1}",
        "(?#a)b",
    ],
)
def test_unsupported_patterns(pattern):
    with pytest.raises(UnsupportedError):
        compile_pattern(pattern)
