"""Random compositions of the components that tokenizers have, each against the original.

With SKLEARN_STATIC_FULL=1 there are 2,000 of them.
"""

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import FULL, TOKENIZERS
from teachers import QWEN_PATTERN, awkward_texts, corpus, usable
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordLevelTrainer, WordPieceTrainer

from sklearn_static import _serve
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import compose

pytestmark = pytest.mark.skipif(
    not _serve.IS_COMPILED,
    reason="needs the compiled engine, as the portable one asks the original",
)

N_COMPOSITIONS = 2000 if FULL else 150
N_DOCUMENTS = 40
# Share of the compositions that the engine has an equivalent of.
SUPPORTED = 0.65

LANGUAGES = [
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë au delà des îles.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, 1.234,56 € für Öl.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ёж и йод.",
    "いろはにほへと ちりぬるを。我が世誰ぞ 常ならむ、ガギグゲゴ、カタカナとひらがな。",
    "天地玄黃\uff0c宇宙洪荒。日月盈昃\uff0c辰宿列張。中文分词没有空格。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق ١٢٣",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णुवतार ४५६",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία. Τάχιστη αλώπηξ.",
    "👩‍👩‍👧 🏳️‍🌈 👍🏽 ½ ² ﬁ Ⅷ ㎏ ﾊﾝｶｸ \uff26\uff35\uff2c\uff2c x₁ → ≠ … — «»",
]
WORD_TEXT = (*corpus(), *LANGUAGES * 5)

# Patterns of published tokenizers.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN3_5 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}|\p{{N}}{{1,3}}{_REST}"
)
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}{_REST}"
)
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
PATTERNS = [GPT2, LLAMA3, QWEN_PATTERN, QWEN3_5, O200K, TEKKEN, CLIP, *DEEPSEEK_V3]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]

Rng = random.Random


def flag(rng: Rng) -> bool:
    return rng.random() < 0.5


# Normalizers.


@cache
def charsmap(name: str) -> bytes | None:
    """Return the character map of a published tokenizer, if this machine has it."""
    path = TOKENIZERS / name / "tokenizer.json"
    if not path.exists():
        return None

    def maps(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if "precompiled_charsmap" in part:
                yield part["precompiled_charsmap"]
            for value in part.values():
                yield from maps(value)
        if isinstance(part, list):
            for value in part:
                yield from maps(value)

    normalizer = json.loads(path.read_text(encoding="utf-8"))["normalizer"]
    return base64.b64decode(next(maps(normalizer)))


def precompiled(rng: Rng) -> normalizers.Normalizer:
    content = charsmap(rng.choice(["xlm-r", "albert"]))
    return normalizers.NFKC() if content is None else normalizers.Precompiled(content)


def replace(rng: Rng) -> normalizers.Normalizer:
    patterns = [" ", "``", "''", "  ", "\n", "a", "ab", "e\u0301", "▁", Regex(" {2,}")]
    patterns += [Regex(r"\s+"), Regex(" {2,}"), Regex("[\u0300-\u036f]")]
    contents = ["▁", '"', " ", "", "a", "aa", "▁▁", "é"]
    return normalizers.Replace(rng.choice(patterns), rng.choice(contents))


NORMALIZERS: list[Callable[[Rng], normalizers.Normalizer]] = [
    lambda rng: normalizers.BertNormalizer(
        clean_text=flag(rng),
        handle_chinese_chars=flag(rng),
        strip_accents=rng.choice([None, True, False]),
        lowercase=flag(rng),
    ),
    lambda rng: normalizers.BertNormalizer(lowercase=flag(rng)),
    lambda rng: normalizers.NFC(),
    lambda rng: normalizers.NFD(),
    lambda rng: normalizers.NFKC(),
    lambda rng: normalizers.NFKD(),
    lambda rng: normalizers.Lowercase(),
    lambda rng: normalizers.StripAccents(),
    precompiled,
    precompiled,
    replace,
    replace,
    lambda rng: normalizers.Replace(" ", "▁"),
    lambda rng: normalizers.Prepend(rng.choice(["▁", "▁", " ", "a"])),
    lambda rng: normalizers.Strip(left=flag(rng), right=flag(rng)),
    lambda rng: normalizers.Nmt(),
]


def random_normalizer(rng: Rng) -> normalizers.Normalizer | None:
    n_steps = rng.choice([0, 0, 1, 1, 1, 2, 3, 4])
    steps = [rng.choice(NORMALIZERS)(rng) for _ in range(n_steps)]
    if len(steps) < 2:
        return steps[0] if steps else None
    return normalizers.Sequence(steps)


# Pre-tokenizers.


def metaspace(rng: Rng) -> pre_tokenizers.PreTokenizer:
    scheme = rng.choice(["always", "first", "never"])
    return pre_tokenizers.Metaspace(prepend_scheme=scheme, split=flag(rng))


def byte_level(rng: Rng, use_regex: bool | None = None) -> pre_tokenizers.PreTokenizer:
    regex = flag(rng) if use_regex is None else use_regex
    return pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < 0.3, use_regex=regex)


def split(rng: Rng) -> pre_tokenizers.PreTokenizer:
    if rng.random() < 0.3:
        pattern: Any = rng.choice([" ", "a", "\n", "▁", "  ", "-"])
    else:
        pattern = Regex(rng.choice([*PATTERNS, r"\s+", r"\d", "[0-9]", " ?\\w+"]))
    # As published: a pattern isolates, or what it does not match is removed.
    behavior, invert = ("isolated", False) if flag(rng) else (rng.choice(BEHAVIORS), flag(rng))
    return pre_tokenizers.Split(pattern, behavior=behavior, invert=invert)


PRE_TOKENIZERS: list[Callable[[Rng], pre_tokenizers.PreTokenizer]] = [
    lambda rng: pre_tokenizers.BertPreTokenizer(),
    lambda rng: pre_tokenizers.Whitespace(),
    lambda rng: pre_tokenizers.WhitespaceSplit(),
    metaspace,
    byte_level,
    lambda rng: pre_tokenizers.Digits(individual_digits=flag(rng)),
    lambda rng: pre_tokenizers.Punctuation(behavior=rng.choice(BEHAVIORS)),
    split,
    split,
    lambda rng: pre_tokenizers.CharDelimiterSplit(rng.choice([" ", "a", "▁"])),
]


def published_splitter(rng: Rng, kind: str) -> pre_tokenizers.PreTokenizer | None:
    """Return a pre-tokenizer as published tokenizers with this kind of model have it."""
    if kind == "bytes":
        if rng.random() < 0.3:
            return byte_level(rng, use_regex=True)
        patterns = DEEPSEEK_V3 if rng.random() < 0.15 else [rng.choice(PATTERNS)]
        behavior, invert = rng.choice([("isolated", False), ("removed", True)])
        splits = [
            pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=invert)
            for pattern in patterns
        ]
        digits = [pre_tokenizers.Digits(individual_digits=flag(rng))] * (rng.random() < 0.15)
        return pre_tokenizers.Sequence([*splits, *digits, byte_level(rng, use_regex=False)])
    if kind == "marks":
        whitespace = pre_tokenizers.WhitespaceSplit()
        return rng.choice(
            [
                None,
                metaspace(rng),
                pre_tokenizers.Sequence([whitespace, metaspace(rng)]),
                pre_tokenizers.Split(" ", behavior="merged_with_previous"),
                pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), metaspace(rng)]),
            ]
        )
    return rng.choice(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Whitespace(),
        ]
    )


def random_splitter(rng: Rng, kind: str) -> pre_tokenizers.PreTokenizer | None:
    if rng.random() < 0.6:
        return published_splitter(rng, kind)
    steps = [rng.choice(PRE_TOKENIZERS)(rng) for _ in range(rng.randint(0, 3))]
    if kind == "bytes" and flag(rng):
        steps.append(byte_level(rng))
    if len(steps) < 2:
        return steps[0] if steps else None
    return pre_tokenizers.Sequence(steps)


# Models, each trained once.

BYTES = {f"<0x{byte:02X}>": 0.0 for byte in range(256)}


@cache
def trained(kind: str, *settings: str) -> dict[str, Any]:
    """Train a model; give its part of tokenizer.json."""
    model, trainer, splitter = {
        "wordpiece": lambda prefix: (
            models.WordPiece(unk_token="[UNK]"),
            WordPieceTrainer(
                vocab_size=500, special_tokens=["[UNK]"], continuing_subword_prefix=prefix
            ),
            pre_tokenizers.BertPreTokenizer(),
        ),
        "words": lambda: (
            models.WordLevel(unk_token="[UNK]"),
            WordLevelTrainer(vocab_size=500, special_tokens=["[UNK]"]),
            pre_tokenizers.Whitespace(),
        ),
        "unigram": lambda: (
            models.Unigram(),
            UnigramTrainer(vocab_size=500, special_tokens=["[UNK]"], unk_token="[UNK]"),
            pre_tokenizers.Metaspace(),
        ),
        "bytes": lambda: (
            models.BPE(),
            BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ),
        "characters": lambda prefix, suffix: (
            models.BPE(unk_token="[UNK]"),
            BpeTrainer(
                vocab_size=700,
                special_tokens=["[UNK]"],
                **({"continuing_subword_prefix": prefix} if prefix else {}),
                **({"end_of_word_suffix": suffix} if suffix else {}),
            ),
            pre_tokenizers.Metaspace() if not prefix + suffix else pre_tokenizers.Whitespace(),
        ),
    }[kind](*settings)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = splitter
    trainer.show_progress = False
    tokenizer.train_from_iterator(WORD_TEXT, trainer)
    state: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return state


def random_model(rng: Rng) -> tuple[str, dict[str, Any]]:
    """Return a kind, which says what pre-tokenizer goes with it, and a model."""
    kind = rng.choice(["wordpiece", "wordpiece", "words", "unigram", "unigram", *["bpe"] * 5])
    if kind == "wordpiece":
        state = trained("wordpiece", rng.choice(["##", "##", "", "@@"]))
        longest = rng.choice([100, 100, 3, 10, 1])
        return "words", state | {"max_input_chars_per_word": longest}
    if kind == "words":
        return "words", trained("words")
    if kind == "unigram":
        state = trained("unigram")
        change: dict[str, Any] = {}
        if rng.random() < 0.3:
            change = {"vocab": [*state["vocab"], *map(list, BYTES.items())], "byte_fallback": True}
        if rng.random() < 0.1:
            change["unk_id"] = None
        return "marks", state | change
    if rng.random() < 0.5:
        state = trained("bytes")
        unk = rng.choice([None, None, "a"])
        return "bytes", state | {"ignore_merges": rng.random() < 0.3, "unk_token": unk}
    affixes = rng.choice([("", "")] * 3 + [("##", ""), ("", "</w>"), ("##", "</w>")])
    state = trained("characters", *affixes)
    change = {
        "ignore_merges": rng.random() < 0.2,
        "fuse_unk": flag(rng),
        "unk_token": rng.choice(["[UNK]", "[UNK]", None]),
    }
    if rng.random() < 0.5:
        # A vocabulary with all bytes, or with some.
        tokens = [token for token in BYTES if rng.random() < 0.9 or flag(rng)]
        n_tokens = len(state["vocab"])
        ids = {token: n_tokens + i for i, token in enumerate(tokens)}
        change |= {"vocab": state["vocab"] | ids, "byte_fallback": True}
    return "words" if any(affixes) else "marks", state | change


# Added tokens.

CONTENTS = [
    *("[SEP]", "<s>", "</s>", "<|end|>", "<|end", "  ", "   ", "    ", "\n\n", "\t", "ab", "abc"),
    *("the", "The", "value", "a", "é", "e\u0301", "\u0301", "▁", "▁▁", "<mask>", "two words"),
    *(" space", "space ", "Ġ", "日本", "ﬁ", "[[", "[", "]", "1", "12", ".", "...", "👩‍👩‍👧", "ß"),
]


def add_tokens(rng: Rng, tokenizer: Tokenizer) -> list[str]:
    contents = rng.sample(CONTENTS, rng.choice([0, 0, 1, 2, 4, 8]))
    plain = rng.random() < 0.4
    for content in contents:
        flags = (
            {} if plain else {n: rng.random() < 0.25 for n in ("single_word", "lstrip", "rstrip")}
        )
        token = AddedToken(content, normalized=flag(rng), **flags)
        (tokenizer.add_special_tokens if flag(rng) else tokenizer.add_tokens)([token])
    return contents


# Documents.

FRAGMENTS = [
    *(" ", " ", " ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", "\x0b", "\x1c", "\x85", "\u00a0"),
    *("\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\x00", "\x7f", "\u0301", "\u0308", "▁"),
    *("a", "the", "Return", "value", "x1", "'s", "n't", ".", "...", "!?", "-", "_", "#", "Σ", "ß"),
    *("é", "e\u0301", "ж", "Й", "日本", "한국", "각", "ﬁ", "½", "˘", "\u0384", "🙂", "👩‍👩‍👧", "İ"),
    *("<", "[", "'LL", "12", "1234567", "3x", "(a", "\u302e", "\U0001d165", "\u0327", "ab", "abc"),
    *("\u1100\u1161", "\u1161", "\u0b47\u0b56", "aaaaaa", "``", "''", "a/b", "/\n", "HTTPServer"),
    *(
        "camelCase",
        "\u01c5",
        "ªº",
        "①",
        "\u0e33",
        "नि",
        "\u212b",
        "\u2126",
        "ｶﾞ",
        "\ue000",
        "\u0378",
    ),
]
PIECES = [*FRAGMENTS, *" ".join(LANGUAGES).split(), *" ".join(corpus()[:20]).split()[:300]]


def documents_for(rng: Rng, added: list[str]) -> list[str]:
    documents = rng.sample(list(awkward_texts()), 5) + rng.sample(LANGUAGES, 3)
    documents += rng.sample(corpus(), 2)
    pieces = PIECES + added * (20 if added else 0)
    while len(documents) < N_DOCUMENTS:
        parts = rng.choices(pieces, k=rng.randint(1, 20))
        documents.append(rng.choice(["", " "]).join(parts))
    return documents


def random_tokenizer(rng: Rng) -> tuple[Tokenizer, list[str]]:
    """Return a tokenizer and the contents of its added tokens."""
    kind, model = random_model(rng)
    state = {"version": "1.0", "added_tokens": [], "model": model}
    state |= dict.fromkeys(
        ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    )
    tokenizer = Tokenizer.from_str(json.dumps(state))
    if (normalizer := random_normalizer(rng)) is not None:
        tokenizer.normalizer = normalizer
    if (splitter := random_splitter(rng, kind)) is not None:
        tokenizer.pre_tokenizer = splitter
    return tokenizer, add_tokens(rng, tokenizer)


def described(tokenizer: Tokenizer) -> str:
    """Write the components, without vocabulary and character maps."""
    state = json.loads(tokenizer.to_str())
    for name in ("vocab", "merges"):
        state["model"].pop(name, None)
    text = json.dumps({name: state[name] for name in state if state[name]}, ensure_ascii=False)
    return re.sub(r'("precompiled_charsmap": ".{20})[^"]*', r"\1...", text)


def fails(tokenize: Callable[[list[str]], object], document: str) -> str | None:
    """Return the kind of error that a document leads to, if it does."""
    try:
        tokenize([document])
    except Exception:
        return "error"
    except BaseException as error:
        # The original panics for some, such as an added token that is normalized to nothing.
        if type(error).__name__ != "PanicException":
            raise
        return "panic"
    return None


# Whether the engine has an equivalent, by seed, of those that a test has composed.
IS_SUPPORTED: dict[int, bool] = {}


@pytest.mark.parametrize("seed", range(N_COMPOSITIONS))
def test_composition(seed):
    rng = Rng(seed)
    tokenizer, added = random_tokenizer(rng)
    vocabulary = usable(tokenizer)
    documents = documents_for(rng, added)
    composition = compose(vocabulary.original.state)
    IS_SUPPORTED[seed] = composition is not None
    fast = FastTokenizer(vocabulary, composition)
    errors = {document: fails(vocabulary.tokens, document) for document in documents}
    known = [document for document in documents if errors[document] is None]
    expected_rows, expected_offsets = vocabulary.tokens(known)
    for _ in range(2):  # new pieces, then those read before
        rows, offsets = fast.tokenize(known).to_arrays()
        for i, document in enumerate(known):
            got = rows[offsets[i] : offsets[i + 1]].tolist()
            expected = expected_rows[expected_offsets[i] : expected_offsets[i + 1]].tolist()
            assert got == expected, f"{document!r} with {described(tokenizer)}"
    alone = [fast.tokenize([document]).to_arrays()[0] for document in known]
    np.testing.assert_array_equal(np.concatenate([*alone, expected_rows[:0]]), expected_rows)
    assert composition is None or fast.n_original == 0
    # What the original refuses: a character that is unknown, without a token for it.
    for document in documents:
        assert errors[document] != "error" or fails(fast.tokenize, document) is not None


@pytest.mark.slow
def test_most_compositions_are_supported():
    for seed in range(150):
        if seed not in IS_SUPPORTED:
            tokenizer, _ = random_tokenizer(Rng(seed))
            IS_SUPPORTED[seed] = compose(usable(tokenizer).original.state) is not None
    assert sum(IS_SUPPORTED[seed] for seed in range(150)) >= SUPPORTED * 150
