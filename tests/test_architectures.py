"""Transformers of today as teachers, each with a tokenizer of its own kind."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from teachers import (
    ARCHITECTURES,
    FAMILIES,
    embeddings,
    save_dense,
    save_sentence_transformer,
    save_transformer,
    tiny_vectorizer,
    write_json,
)
from tokenizers import Tokenizer

from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._formats.hub import Source

MAX_LENGTH = 60
# Wide, and without a bias: as those of EmbeddingGemma.
DENSE = (
    {"in_features": 32, "out_features": 64},
    {"in_features": 64, "out_features": 32},
)
LINEAR = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


@dataclass(frozen=True)
class Case:
    """A sentence-transformer with one of the architectures."""

    family: str
    pooling: str = "mean"
    n_dense: int = 0
    dtype: torch.dtype = torch.float32
    changes: dict[str, object] = field(default_factory=dict)
    model_class: str = "AutoModel"

    def save(self, folder: Path) -> Path:
        """Write its folder, or skip the test if transformers has no such class."""
        kind = (FAMILIES | ARCHITECTURES)[self.family].config_class
        if not hasattr(transformers, kind):
            pytest.skip(f"transformers {transformers.__version__} has no {kind}")
        save_sentence_transformer(
            self.family,
            folder,
            pooling={"pooling_mode": self.pooling},
            extra_modules=("Dense",) * self.n_dense,
            dtype=self.dtype,
            **self.changes,
        )
        for i in range(self.n_dense):
            save_dense(folder / f"{2 + i}_Dense", DENSE[i] | LINEAR)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_LENGTH})
        # Else transformers 5 builds a normalizer of its own.
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
        write_json(folder / "tokenizer_config.json", settings)
        return folder


CASES = {
    "gemma3": Case("gemma3", n_dense=2),
    "gemma3-bf16": Case("gemma3", n_dense=2, dtype=torch.bfloat16),
    "gemma3-causal": Case("gemma3", changes={"use_bidirectional_attention": False}),
    "qwen3": Case("qwen3", "lasttoken"),
    "qwen3-bf16": Case("qwen3", "lasttoken", dtype=torch.bfloat16),
    "qwen3-sliding": Case(
        "qwen3",
        "lasttoken",
        changes={"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    ),
    "gpt2": Case("gpt2", "weightedmean"),
    "modernbert-mean": Case("modernbert", changes={"local_attention": 8}),
    "modernbert-cls": Case("modernbert", "cls", changes={"local_attention": 8}),
    "xlm-roberta": Case("xlm-roberta"),
    "bert-decoder": Case("bert", changes={"is_decoder": True}),
    "bert-tuples": Case("bert", changes={"return_dict": False}),
    "t5": Case("t5", model_class="T5EncoderModel"),
    "t5-encoder": Case("t5-encoder", model_class="T5EncoderModel"),
    "clip-text": Case("clip-text"),
}


@dataclass(frozen=True)
class Saved:
    """A case and its folder."""

    case: Case
    folder: Path

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_LENGTH)
        return tokenizer

    @cached_property
    def model(self) -> transformers.PreTrainedModel:
        kind = getattr(transformers, self.case.model_class)
        # In float32 from the beginning, as a buffer that was once rounded remains so.
        return kind.from_pretrained(self.folder, torch_dtype=torch.float32).eval()

    def outputs(self, inputs: list[list[int]]) -> np.ndarray:
        """What transformers gives, pooled, after the dense layers."""
        pooled = []
        for ids in inputs:
            row = torch.tensor([ids])
            with torch.inference_mode():
                hidden = self.model(input_ids=row, attention_mask=torch.ones_like(row))[0][0]
            hidden = hidden.numpy()
            by_mode = {
                "mean": hidden.mean(axis=0),
                "cls": hidden[0],
                "lasttoken": hidden[-1],
                "weightedmean": np.average(hidden, axis=0, weights=1 + np.arange(len(ids))),
            }
            pooled.append(by_mode[self.case.pooling])
        outputs = np.array(pooled)
        for i in range(self.case.n_dense):
            weights = torch.load(self.folder / f"{2 + i}_Dense" / "pytorch_model.bin")
            outputs = outputs @ weights["linear.weight"].numpy().T
        return outputs


@pytest.fixture(scope="module", params=CASES)
def saved(request, tmp_path_factory) -> Saved:
    case = CASES[request.param]
    return Saved(case, case.save(tmp_path_factory.mktemp(request.param)))


def unit(outputs: np.ndarray) -> np.ndarray:
    return outputs / np.linalg.norm(outputs, axis=1, keepdims=True)


def test_documents_are_those_of_transformers(saved, texts):
    documents = texts[:30]
    expected = saved.outputs([saved.tokenizer.encode(document).ids for document in documents])
    assert np.isfinite(expected).all()
    found = embeddings(saved.folder, documents)
    np.testing.assert_allclose(unit(found), unit(expected), atol=1e-5)
    assert np.linalg.norm(unit(found).mean(axis=0)) < 0.999  # they are not all the same


@pytest.mark.peers
def test_documents_are_those_of_sentence_transformers(saved, texts):
    peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
    model = peer.SentenceTransformer(
        str(saved.folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    documents = texts[:30]
    expected = model.encode(documents, normalize_embeddings=True)
    np.testing.assert_allclose(unit(embeddings(saved.folder, documents)), expected, atol=1e-5)


def test_tokens_are_those_of_transformers(saved):
    source = Source(str(saved.folder), None, False, True)
    teacher = CachedTeacher(source, "auto", memory=None, device="cpu", batch_size=8, progress=False)
    rows = np.arange(0, len(teacher.vocabulary), 10)
    special = saved.tokenizer.encode("a")
    before = special.special_tokens_mask.index(0)
    after = special.special_tokens_mask[before:].count(1)
    inputs = [
        [*special.ids[:before], token, *special.ids[len(special.ids) - after :]]
        for token in teacher.vocabulary.token_ids[rows].tolist()
    ]
    expected = saved.outputs(inputs)
    np.testing.assert_allclose(unit(teacher.token_outputs(rows)), unit(expected), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
def test_both_modes_fit(distill_on, saved, texts):
    vectorizer = tiny_vectorizer(saved.folder, distill_on=distill_on, n_components=16)
    features = vectorizer.fit_transform(texts)
    assert features.shape == (len(texts), 16)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)


def test_a_plain_gpt2_reads_as_far_as_it_has_positions(tmp_path):
    """Which its config.json calls by another name."""
    folder = save_transformer("gpt2", tmp_path)
    long, longer = embeddings(folder, ["a list of names " * n for n in (40, 80)])
    np.testing.assert_array_equal(long, longer)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("bart", r"is an encoder-decoder, .* \(model_type 'bart'\); pass a sentence-transformer"),
        ("clip", r"is a model of texts and images or sounds, .*'clip'\); pass a sentence-transf"),
    ],
)
@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
def test_others_are_refused_before_their_weights_are_read(
    family, message, distill_on, texts, tmp_path
):
    folder = save_transformer(family, tmp_path)
    (folder / "model.safetensors").write_bytes(b"damaged")
    vectorizer = tiny_vectorizer(folder, distill_on=distill_on, pooling="mean")
    with pytest.raises(ValueError, match=f"model='{folder}' {message}"):
        vectorizer.fit(texts)
