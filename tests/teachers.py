"""Tiny random teachers of the real kinds, saved as the folders that people download."""

import collections
import inspect
import json
import os
import re
import statistics
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._distill.corpus import Corpus, checked, tokenize
from sklearn_static._distill.teacher_files import Pooling
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._formats.hub import Source
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import Composition, compose
from sklearn_static._serve.original import Original
from sklearn_static._serve.table import StaticTable
from sklearn_static._serve.vocabulary import Vocabulary

DIMENSION = 32
N_TOKENS = 400


@cache
def corpus() -> tuple[str, ...]:
    """Real text available on every machine: docstrings of the standard library."""
    modules = (collections, inspect, json, statistics, textwrap)
    return tuple(
        doc
        for module in modules
        for _, value in sorted(inspect.getmembers(module, callable))
        if (doc := inspect.getdoc(value))
    )


def wordpiece(cls: str = "[CLS]", sep: str = "[SEP]", pad: str = "[PAD]") -> Tokenizer:
    """BERT's tokenizer, with its unused slots."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Of equally frequent pairs, the trainer takes that with the lower ids. Without ids from the
    # beginning, those of characters within a word would differ from process to process.
    within = [f"##{c}" for c in sorted({*"".join(corpus()).lower()}) if c.isalnum()]
    trained = Tokenizer.from_str(tokenizer.to_str())
    trainer = WordPieceTrainer(vocab_size=N_TOKENS, special_tokens=within)
    trained.train_from_iterator(corpus(), trainer)
    learned = sorted(trained.get_vocab(), key=trained.token_to_id)
    specials = [pad, "[UNK]", cls, sep, "[MASK]"]
    vocab = [specials[0], "[unused0]", "[unused1]", *specials[1:], *learned]
    ids = {token: i for i, token in enumerate(vocab)}
    tokenizer.model = models.WordPiece(ids, unk_token="[UNK]")
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    tokenizer.decoder = decoders.WordPiece()
    # As in the published files, and to be switched off.
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_token=pad, pad_id=ids[pad])
    return tokenizer


def byte_level_bpe(specials: list[str], template: str, pattern: str | None = None) -> Tokenizer:
    """RoBERTa's and, with its own pattern, Qwen's kind: no token is ever unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern is not None:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus(),
        BpeTrainer(vocab_size=N_TOKENS, special_tokens=specials, initial_alphabet=alphabet),
    )
    used = [(token, tokenizer.token_to_id(token)) for token in specials if token in template]
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=template, special_tokens=used),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def unigram(
    specials: tuple[str, ...] = ("<s>", "<pad>", "</s>", "<unk>"), template: str = "<s> $A </s>"
) -> Tokenizer:
    """XLM-R's and T5's kind, SentencePiece with word-start marks."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("  ", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        corpus(),
        UnigramTrainer(vocab_size=N_TOKENS, special_tokens=list(specials), unk_token="<unk>"),
    )
    tokenizer.add_special_tokens(["<mask>"])
    used = [(token, i) for i, token in enumerate(specials) if token in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def gemma_bpe() -> Tokenizer:
    """Gemma's kind, SentencePiece's BPE with bytes for unknown characters."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    # Trained on words, as SentencePiece does; the tokenizer itself does not split at a mark.
    words = [word for doc in corpus() for word in re.findall(r"\s?\S+", doc)]
    trainer = BpeTrainer(vocab_size=2 * N_TOKENS, special_tokens=specials + bytes_)
    tokenizer.train_from_iterator(words, trainer)
    state = json.loads(tokenizer.to_str())  # in which bytes are no longer special
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < 4]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def clip_bpe() -> Tokenizer:
    """CLIP's kind, lowercased, with a mark at the end of a word."""
    start, end, mark = "<|startoftext|>", "<|endoftext|>", "</w>"
    tokenizer = Tokenizer(models.BPE(unk_token=end, end_of_word_suffix=mark))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.train_from_iterator(
        corpus(),
        BpeTrainer(
            vocab_size=N_TOKENS,
            special_tokens=[start, end],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            end_of_word_suffix=mark,
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=(end, 1), cls=(start, 0), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@dataclass
class Family:
    """A tokenizer and a matching transformer."""

    train: Callable[[], Tokenizer]
    tokenizer_class: str
    config_class: str
    config: dict[str, object] = field(default_factory=dict)
    special_tokens: dict[str, str] = field(default_factory=dict)
    # The class of the saved model; None is that of AutoModel.
    model_class: str | None = None

    def tokenizer(self) -> Tokenizer:
        """Return a tokenizer of its own to each caller; it is trained once."""
        return Tokenizer.from_str(_trained(self.train))


@cache
def _trained(train: Callable[[], Tokenizer]) -> str:
    return train().to_str()


BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
SMALL = {
    "hidden_size": DIMENSION,
    "intermediate_size": 2 * DIMENSION,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
ROBERTA_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

FAMILIES = {
    "bert": Family(wordpiece, "BertTokenizer", "BertConfig", SMALL, BERT_TOKENS),
    "distilbert": Family(
        wordpiece,
        "DistilBertTokenizer",
        "DistilBertConfig",
        {
            "dim": DIMENSION,
            "hidden_dim": 2 * DIMENSION,
            "n_layers": 2,
            "n_heads": 2,
            "max_position_embeddings": 64,
        },
        BERT_TOKENS,
    ),
    "mpnet": Family(
        lambda: wordpiece("<s>", "</s>", "<pad>"),
        "MPNetTokenizer",
        "MPNetConfig",
        SMALL | {"bos_token_id": 4, "pad_token_id": 0, "eos_token_id": 5},
        ROBERTA_TOKENS | {"unk_token": "[UNK]", "mask_token": "[MASK]"},
    ),
    "roberta": Family(
        lambda: byte_level_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], template="<s> $A </s>"),
        "RobertaTokenizer",
        "RobertaConfig",
        SMALL | ROBERTA_IDS | {"type_vocab_size": 1},
        ROBERTA_TOKENS,
    ),
    "xlm-roberta": Family(
        unigram,
        "XLMRobertaTokenizer",
        "XLMRobertaConfig",
        SMALL | ROBERTA_IDS | {"type_vocab_size": 1},
        ROBERTA_TOKENS,
    ),
    "modernbert": Family(
        lambda: byte_level_bpe(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], template="[CLS] $A [SEP]"
        ),
        "PreTrainedTokenizerFast",
        "ModernBertConfig",
        SMALL
        | {
            "pad_token_id": 0,
            "cls_token_id": 2,
            "bos_token_id": 2,
            "sep_token_id": 3,
            "eos_token_id": 3,
        },
        BERT_TOKENS,
    ),
    "qwen": Family(
        lambda: byte_level_bpe(QWEN_SPECIALS, "$A <|endoftext|>", QWEN_PATTERN),
        "Qwen2Tokenizer",
        "Qwen2Config",
        SMALL | {"num_key_value_heads": 1, "eos_token_id": 0, "pad_token_id": 0},
        {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    ),
}

T5 = {
    "d_model": DIMENSION,
    "d_kv": 16,
    "d_ff": 2 * DIMENSION,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
T5_TOKENS = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
CLIP = SMALL | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "projection_dim": 16}
CLIP_TOKENS = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}


def t5_unigram() -> Tokenizer:
    return unigram(("<pad>", "</s>", "<unk>"), "$A </s>")


# Further transformers, of which older versions of the library do not have all.
ARCHITECTURES = {
    "gemma3": Family(
        gemma_bpe,
        "GemmaTokenizer",
        "Gemma3TextConfig",
        SMALL
        | {
            "head_dim": 16,
            "num_key_value_heads": 1,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
            "use_bidirectional_attention": True,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
    ),
    "qwen3": Family(
        FAMILIES["qwen"].train,
        "Qwen2Tokenizer",
        "Qwen3Config",
        FAMILIES["qwen"].config | {"head_dim": 16},
        FAMILIES["qwen"].special_tokens,
    ),
    "gpt2": Family(
        FAMILIES["qwen"].train,
        "PreTrainedTokenizerFast",
        "GPT2Config",
        {"n_embd": DIMENSION, "n_layer": 2, "n_head": 2, "n_positions": 64, "eos_token_id": 0},
        FAMILIES["qwen"].special_tokens,
    ),
    "t5": Family(t5_unigram, "T5Tokenizer", "T5Config", T5, T5_TOKENS),
    "t5-encoder": Family(t5_unigram, "T5Tokenizer", "T5Config", T5, T5_TOKENS, "T5EncoderModel"),
    "bart": Family(
        FAMILIES["roberta"].train,
        "BartTokenizer",
        "BartConfig",
        {
            "d_model": DIMENSION,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 2 * DIMENSION,
            "decoder_ffn_dim": 2 * DIMENSION,
            "max_position_embeddings": 64,
            **ROBERTA_IDS,
        },
        ROBERTA_TOKENS,
    ),
    "clip-text": Family(
        clip_bpe,
        "CLIPTokenizer",
        "CLIPTextConfig",
        CLIP,
        CLIP_TOKENS,
    ),
    "clip": Family(
        clip_bpe,
        "CLIPTokenizer",
        "CLIPConfig",
        {
            "projection_dim": 16,
            "text_config": CLIP,
            "vision_config": SMALL | {"image_size": 8, "patch_size": 4},
        },
        CLIP_TOKENS,
    ),
}


def tokenizer_of(family: str) -> Tokenizer:
    """Return a family's tokenizer."""
    return FAMILIES[family].tokenizer()


def save_transformer(
    family: str, folder: Path, dtype: torch.dtype = torch.float32, **config_changes: object
) -> Path:
    """Write a plain transformers folder: config, weights, tokenizer."""
    parts = (FAMILIES | ARCHITECTURES)[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = parts.tokenizer()
    torch.manual_seed(0)
    config = getattr(transformers, parts.config_class)(
        vocab_size=tokenizer.get_vocab_size(), **(parts.config | config_changes)
    )
    # Wider than the usual 0.02, so that two layers already mix their inputs.
    config.initializer_range = 0.3
    if parts.model_class is None:
        model = transformers.AutoModel.from_config(config)
    else:
        model = getattr(transformers, parts.model_class)(config)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": parts.tokenizer_class, **parts.special_tokens}
    write_json(folder / "tokenizer_config.json", settings)
    return folder


def save_sentence_transformer(
    family: str,
    folder: Path,
    *,
    pooling: dict[str, object] | None = None,
    dense: dict[str, object] | None = None,
    lowercase: bool = False,
    extra_modules: tuple[str, ...] = (),
    dtype: torch.dtype = torch.float32,
    **config_changes: object,
) -> Path:
    """Write a sentence-transformers folder around a tiny transformer."""
    save_transformer(family, folder, dtype, **config_changes)
    kinds = [
        "Transformer",
        "Pooling",
        *([] if dense is None else ["Dense"]),
        *extra_modules,
        "Normalize",
    ]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": kind if "." in kind else f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": lowercase}
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": DIMENSION,
            **(pooling or {"pooling_mode_mean_tokens": True}),
        },
    )
    if dense is not None:
        save_dense(folder / "2_Dense", dense)
    return folder


def tiny_vectorizer(folder: Path, **parameters: Any) -> StaticEmbeddingVectorizer:
    """Return a vectorizer with 8 components and, unless they are asked for, no LSA features."""
    defaults = {"n_components": 8, "lsa_components": 0}
    return StaticEmbeddingVectorizer(folder, **(defaults | parameters))


def make_adapter(folder: Path, path: str = "", *, is_whole: bool = False) -> Path:
    """Turn a teacher into an adapter for another model, with or without its own weights."""
    settings = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    write_json(folder / path / "adapter_config.json", settings)
    (folder / path / "adapter_model.safetensors").write_bytes(b"not to be read")
    if not is_whole:
        for name in ("config.json", "model.safetensors"):
            (folder / path / name).unlink()
    return folder


def tiny_teacher(
    folder: Path, pooling: Pooling = "auto", prompt: str | None = None
) -> CachedTeacher:
    """The teacher in a folder, without a cache on disk."""
    source = Source(str(folder), None, False, True)
    return CachedTeacher(
        source, pooling, memory=None, device="cpu", batch_size=8, progress=False, prompt=prompt
    )


def embeddings(folder: Path, documents: list[str], prompt: str | None = None) -> np.ndarray:
    """What the teacher gives for documents."""
    teacher = tiny_teacher(folder, prompt=prompt)
    inputs, numbers, _ = teacher.document_inputs(corpus_of(documents, teacher.tokenizer), None)
    return teacher.embeddings(inputs)[0][numbers]


def save_dense(folder: Path, settings: dict[str, object]) -> None:
    """Write a Dense module from the keys of its config.json."""
    defaults = {
        "in_features": DIMENSION,
        "out_features": 24,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    settings = defaults | settings
    write_json(folder / "config.json", settings)
    torch.manual_seed(1)
    n_outputs = settings["out_features"]
    weights = {"linear.weight": torch.randn(n_outputs, settings["in_features"])}
    if settings["bias"]:
        weights["linear.bias"] = torch.randn(n_outputs)
    torch.save(weights, folder / "pytorch_model.bin")


def write_json(path: Path, content: object) -> None:
    """Write one JSON file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def awkward_texts() -> Iterator[str]:
    """Documents that are difficult to tokenize."""
    yield from ("", " ", "\n\t", "a", "A man, a PLAN; a canal -- Panama!", "café naïve Ĳ ﬁ")
    yield from (
        "[SEP] between [CLS]",
        "</s><s><unk>",
        "日本語のテキスト",
        "👩‍👩‍👧 emoji",
        "a\u00a0b\u200bc",
    )
    yield from ("x" * 300, "nul\x00byte", "e\u0301 combining \u0301", "\uff11\uff12", "\ufeffbom")


def usable(tokenizer: Tokenizer) -> Vocabulary:
    """Return the tokens of a tokenizer that can occur in a document."""
    return usable_tokens(Original.from_tokenizer(tokenizer))


def engine(vocabulary: Vocabulary) -> FastTokenizer:
    """Return the compiled engine's equivalent of a tokenizer; there must be one."""
    composition = _composition(vocabulary.original.text)
    assert composition is not None
    return FastTokenizer(vocabulary, composition)


def corpus_of(documents: list[str], tokenizer: FastTokenizer) -> Corpus:
    """All of these documents in their order, with all tokens."""
    tokens = tokenize(documents, checked(tokenizer, documents))
    kept, once = np.arange(len(tokenizer.vocabulary)), np.ones(len(documents), dtype=np.int64)
    return Corpus(documents, once, tokens, kept, tokens.in_vocabulary(None))


@cache
def _composition(text: str) -> Composition | None:
    return compose(json.loads(text))


def change(family: str, **parts: object) -> Tokenizer:
    """Return a family's tokenizer with other components."""
    tokenizer = FAMILIES[family].tokenizer()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def with_token(token: AddedToken, family: str) -> Tokenizer:
    """Return a family's tokenizer with one more token."""
    tokenizer = FAMILIES[family].tokenizer()
    tokenizer.add_tokens([token])
    return tokenizer


@cache
def _ids(vocabulary: Vocabulary, document: str) -> list[int]:
    ids: list[int] = vocabulary.tokenizer.encode(document, add_special_tokens=False).ids
    return ids


def reference_features(
    table: StaticTable,
    documents: list[str],
    max_length: int | None = None,
    norm: str | None = "l2",
) -> np.ndarray:
    """Features by definition, with the original tokenizer and NumPy only."""
    row_of_id = {int(token_id): row for row, token_id in enumerate(table.vocabulary.token_ids)}
    pairs = [] if table.bigrams is None else table.bigrams.pairs.tolist()
    row_of_pair = {tuple(pair): len(row_of_id) + i for i, pair in enumerate(pairs)}
    vectors = table.vectors()
    features = np.zeros((len(documents), table.n_components), dtype=np.float32)
    for document, total in zip(documents, features, strict=True):
        ids = _ids(table.vocabulary, document)
        tokens = [row_of_id[i] for i in ids[:max_length] if i in row_of_id]
        for i, row in enumerate(tokens):
            total += vectors[row]
            if i and (tokens[i - 1], row) in row_of_pair:
                total += vectors[row_of_pair[tokens[i - 1], row]]
        divisor = np.linalg.norm(total.astype(np.float64)) if norm == "l2" else len(tokens)
        total *= np.float32(1 / (divisor or 1))
    return features


def save_logged(folder: Path, log: str = os.devnull) -> Path:
    """Write a sentence-transformer whose own code logs each input that it is run on.

    It takes ``trust_remote_code=True``. Each line of the log is the token ids of one input. The
    environment variable LOG names another file, for a process that starts with it. SECONDS is how
    long a forward pass takes at least. KILL names a file of inputs, such as lines of the log: on
    each of them one process ends.
    """
    save_sentence_transformer("bert", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "logged.LoggedBert"}, "log": log}
    write_json(folder / "config.json", config)
    (folder / "logged.py").write_text(
        textwrap.dedent(
            """
            import os
            import time
            from pathlib import Path

            from transformers import BertModel


            class LoggedBert(BertModel):
                def forward(self, input_ids, **options):
                    lines = [" ".join(map(str, ids)) + "\\n" for ids in input_ids.tolist()]
                    # transformers of old gives this class to every BERT that is loaded later.
                    path = os.environ.get("LOG") or getattr(self.config, "log", os.devnull)
                    with open(path, "a") as log:
                        log.write("".join(lines))
                    deadly = Path(os.environ.get("KILL", os.devnull))
                    left = deadly.read_text().splitlines(keepends=True)
                    for line in set(lines).intersection(left):
                        left.remove(line)
                        deadly.write_text("".join(left))
                        os._exit(1)
                    time.sleep(float(os.environ.get("SECONDS", 0)))
                    return super().forward(input_ids=input_ids, **options)
            """
        ),
        encoding="utf-8",
    )
    return folder
