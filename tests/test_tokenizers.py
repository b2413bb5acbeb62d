"""The engine splits documents as the tokenizers of published models do.

The tokenizers are those that ``benchmarks/fetch_tokenizers.py`` collects, in the folder
SKLEARN_STATIC_TOKENIZERS or in the user's cache; tests of those that are not there are skipped.
With SKLEARN_STATIC_FULL=1 the tests read all documents instead of a sample.
"""

import gzip
import json
import random
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pytest
from conftest import FULL, TOKENIZERS
from corpora import DATA
from teachers import usable
from tokenizers import Tokenizer

from sklearn_static import _serve
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import compose
from sklearn_static._serve.vocabulary import Vocabulary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _serve.IS_COMPILED,
        reason="needs the compiled engine, as the portable one asks the original",
    ),
]

NAMES = [
    *("bert-uncased", "bert-cased", "bert-multilingual-cased", "bert-chinese"),
    *("xlm-r", "bge-m3", "xlnet", "t5", "albert", "camembert", "deberta-v3"),
    *("gpt2", "roberta", "clip", "modernbert", "qwen3", "qwen3_5", "llama2", "llama3", "llama3_1"),
    *("gemini", "gemma3", "gpt35turbo", "gpt4o", "gptoss", "deepseek_v3", "claude"),
    *("mistral", "mistral_v3", "tekken"),
]
# Number of characters of each set that are read without SKLEARN_STATIC_FULL.
SAMPLE = 12_000
LONG_SETS = {"20newsgroups": 2000}  # the original tokenizers would take minutes for all
N_RANDOM = 20_000
N_OF_VOCABULARY = 5_000

# Number of documents that the original tokenizer reads, by tokenizer and kind of documents; 0 for
# those that are not listed.
N_ORIGINAL: dict[tuple[str, str], int] = {}


@dataclass
class Case:
    """A tokenizer, and the engine's equivalent of it."""

    name: str
    content: str

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return usable(Tokenizer.from_str(self.content))

    @cached_property
    def fast(self) -> FastTokenizer:
        composition = compose(self.vocabulary.original.state)
        assert composition is not None, f"the engine has no equivalent of {self.name}"
        return FastTokenizer(self.vocabulary, composition)

    def check(self, documents: list[str], kind: str) -> None:
        """Compare the rows of all documents, and count those that the original has read."""
        before = self.fast.n_original
        for start in range(0, len(documents), 2000):
            self.check_rows(documents[start : start + 2000])
        n_read = self.fast.n_original - before
        assert n_read == N_ORIGINAL.get((self.name, kind), 0), kind

    def check_rows(self, documents: list[str]) -> None:
        rows, offsets = self.fast.tokenize(documents).to_arrays()
        real_rows, real_offsets = self.vocabulary.tokens(documents)
        if np.array_equal(rows, real_rows) and np.array_equal(offsets, real_offsets):
            return
        for i, document in enumerate(documents):
            got = rows[offsets[i] : offsets[i + 1]].tolist()
            expected = real_rows[real_offsets[i] : real_offsets[i + 1]].tolist()
            where = f"{self.name}, document {i}: {document[:200]!r}"
            assert got[:50] == expected[:50], where
            assert got == expected, where
        raise AssertionError("the offsets differ")


@pytest.fixture(scope="module", params=NAMES)
def case(request) -> Case:
    path = TOKENIZERS / request.param / "tokenizer.json"
    if not path.exists():
        pytest.skip(f"needs {path}, which benchmarks/fetch_tokenizers.py writes")
    return Case(request.param, path.read_text(encoding="utf-8"))


def test_documents(case):
    """Every set and every language."""
    sets = text_sets()
    if not sets:
        pytest.skip(f"needs data sets in {DATA}, or where SKLEARN_STATIC_DATA points")
    for name, documents in sets.items():
        case.check(list(documents), f"{name}, all" if FULL else name)


def test_random_strings(case):
    case.check(list(random_strings()), "random")


def test_strings_of_the_vocabulary(case):
    """Tokens one after the other: every merge and every added token, where none are expected."""
    case.check(list(strings_of_vocabulary(case)), "vocabulary")


# In CPU seconds, a hundred times what it should take; a quadratic algorithm takes far longer.
SECONDS = 10
COMPARED = 20_000  # characters of them that the original reads, too
LONG = {
    "letters": lambda rng: "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 100_000)),
    "ideographs": lambda rng: "".join(map(chr, rng.integers(0x4E00, 0x9FA6, 100_000))),
    "marks": lambda rng: "".join(rng.choice(list(marks()), 100_000)),
    "one mark": lambda rng: "a" + "\u0301" * 100_000,
    "digits": lambda rng: "".join(rng.choice(list("0123456789"), 100_000)),
    "symbols": lambda rng: "".join(rng.choice(list("!#-=*._/\\<>[]|'\""), 100_000)),
    "one letter": lambda rng: "a" * 1_000_000,
    "one ideograph": lambda rng: "字" * 100_000,
    "spaces": lambda rng: " " * 100_000,
    "lines": lambda rng: "\n" * 100_000,
    "hyphens": lambda rng: "-" * 100_000,
}


def test_long_pieces(case):
    """Nothing that a document can contain takes more than linear time."""
    rng = np.random.default_rng(0)
    before = case.fast.n_original
    for kind, make in LONG.items():
        document = make(rng)
        start = time.process_time()
        rows, _ = case.fast.tokenize([document]).to_arrays()
        seconds = time.process_time() - start
        assert seconds < SECONDS, f"{seconds:.1f} s for {len(document):,} characters: {kind}"
        if not FULL:  # the original takes its time
            document = document[:COMPARED]
            rows, _ = case.fast.tokenize([document]).to_arrays()
        np.testing.assert_array_equal(rows, case.vocabulary.tokens([document])[0], kind)
    assert case.fast.n_original - before == N_ORIGINAL.get((case.name, "long"), 0)


# The documents.


@cache
def text_sets() -> dict[str, tuple[str, ...]]:
    """All text sets that this machine has; of each, documents at equal distances."""
    paths = sorted(DATA.glob("*.jsonl.gz"))
    paths += sorted((TOKENIZERS / "texts").glob("*.jsonl.gz"))
    sets = {}
    for path in paths:
        name = path.name.removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        documents = [row[key] for row in rows for key in ("text", "s1", "s2") if key in row]
        documents = documents[: LONG_SETS.get(name)]
        step = 1 if FULL else max(sum(map(len, documents)) // SAMPLE, 1)
        sets[name] = tuple(documents[::step])
    return sets


@cache
def marks() -> tuple[str, ...]:
    """Return all combining marks."""
    return tuple(c for c in map(chr, range(0x20000)) if unicodedata.category(c)[0] == "M")


def characters(*ranges: tuple[int, int]) -> list[str]:
    return [chr(c) for first, last in ranges for c in range(first, last + 1)]


@cache
def pools() -> list[list[str]]:
    """Return characters, and short strings, that belong together."""
    everything = [chr(c) for c in range(0x20000) if not 0xD800 <= c <= 0xDFFF]
    by_category: dict[str, list[str]] = {}
    for character in everything:
        by_category.setdefault(unicodedata.category(character), []).append(character)
    return [
        characters((0x61, 0x7A)),
        characters((0x20, 0x7E)),
        characters((0xA0, 0x17F)),
        characters((0x180, 0x24F), (0x1E00, 0x1EFF)),
        characters((0x370, 0x3FF), (0x1F00, 0x1FFF)),
        characters((0x400, 0x52F)),
        characters((0x590, 0x6FF), (0x750, 0x77F), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF)),
        characters((0x900, 0x97F)),
        characters((0x980, 0xDFF)),
        characters((0xE00, 0xEFF)),
        characters((0xF00, 0xFFF), (0x1780, 0x17FF), (0x1000, 0x109F)),
        characters((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xD7B0, 0xD7FF)),
        characters((0xAC00, 0xD7A3)),
        characters((0x3040, 0x30FF), (0x31F0, 0x31FF)),
        characters((0x4E00, 0x9FFF)),
        characters((0x3400, 0x34FF), (0xF900, 0xFAFF), (0x20000, 0x200FF), (0x2F800, 0x2FA1F)),
        characters((0x3000, 0x303F), (0xFF00, 0xFFEF), (0x3200, 0x33FF)),
        characters((0x2000, 0x206F)),
        characters((0x2070, 0x218F), (0x2460, 0x24FF)),
        characters((0x2190, 0x23FF), (0x2500, 0x27BF)),
        characters((0x1F300, 0x1FAFF)),
        characters((0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF)),
        characters((0x1D400, 0x1D7FF)),
        characters((0x10000, 0x10FFF)),
        characters((0x00, 0x1F), (0x7F, 0x9F)),
        characters((0xE000, 0xE0FF), (0xE0000, 0xE01EF), (0x10FF00, 0x10FFFF), (0xFFF0, 0xFFFF)),
        list(marks()),
        *by_category.values(),
        [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\x0b", "\x0c", "\x85", "\u2028", "\u3000"],
        ["\u200d", "\ufe0f", "\ufe0e", "👩", "👧", "❤", "🏳", "🌈", "🏽", "1\ufe0f\u20e3", "\u200b"],
        ["'s", "'S", "'re", "'LL", "n't", "'d", "\u2019s", "'\u017f", "'İ", "it's", "WE'VE", "I'm"],
        ["▁", "Ġ", "Ċ", "##", "</w>", "<0x0A>", "``", "''", "#", "<", ">", "[", "]", "|"],
        ["\u212a", "\u212b", "\u2126", "\u1fef", "İ", "\u0131", "ß", "ẞ", "ς", "Σ", "ﬁ", "ŉ", "ǰ"],
        everything,
    ]


@cache
def random_strings() -> tuple[str, ...]:
    """Mix scripts, marks, emoji, controls, and code points that are not assigned."""
    rng = random.Random(0)
    documents = []
    for _ in range(N_RANDOM):
        chosen = rng.choices(pools(), k=rng.randint(1, 4))
        parts = []
        for _ in range(rng.randint(1, 8)):
            picked = rng.choices(rng.choice(chosen), k=rng.choice([1, 1, 1, 2, 2, 3, 4, 8]))
            parts += picked
            if rng.random() < 0.2:
                parts.append(picked[0] * rng.randint(1, 6))
            if rng.random() < 0.4:
                parts.append(" ")
        documents.append("".join(parts))
    return tuple(documents)


@cache
def byte_of_character() -> dict[str, int]:
    """Return the bytes that byte-level vocabularies write as characters."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


def strings_of_vocabulary(case: Case) -> Iterator[str]:
    """Put tokens together as they are written in documents, with added tokens between them."""
    state = json.loads(case.content)
    is_byte_level = '"ByteLevel"' in json.dumps(state["pre_tokenizer"])
    added = [token["content"] for token in state["added_tokens"]]
    tokens = sorted(case.vocabulary.tokenizer.get_vocab(with_added_tokens=False))
    rng = random.Random(0)

    def written(token: str) -> bytes:
        token = token.removesuffix("</w>")
        if is_byte_level and all(character in byte_of_character() for character in token):
            return bytes(byte_of_character()[character] for character in token)
        if len(token) == 6 and token.startswith("<0x"):
            return bytes([int(token[3:5], 16)])
        return token.removeprefix("##").replace("▁", " ").encode()

    for _ in range(N_OF_VOCABULARY):
        parts = []
        for token in rng.choices(tokens, k=rng.randint(1, 15)):
            kind = rng.random()
            if kind < 0.75:
                parts.append(written(token))
            elif kind < 0.85:
                parts.append(token.encode())
            elif kind < 0.95 and added:
                parts.append(rng.choice(added).encode())
            else:
                parts.append(rng.choice([" ", "  ", "\n", "\u0301", "a", ","]).encode())
        # Bytes that are no character alone become one with their neighbors, or U+FFFD.
        document = b"".join(parts).decode("utf-8", "replace")
        yield document.swapcase() if rng.random() < 0.1 else document
