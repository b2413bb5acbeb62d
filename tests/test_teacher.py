import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from fresh import run as run_code
from safetensors.torch import load_file, save_file
from teachers import (
    DIMENSION,
    FAMILIES,
    save_sentence_transformer,
    save_transformer,
    usable,
    write_json,
)

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.teacher import Teacher, load_teacher
from sklearn_static._distill.teacher_files import TeacherFiles, read_teacher_files
from sklearn_static._formats.hub import Source

POOLING_FLAGS = [
    "pooling_mode_cls_token",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
]


def read(folder: Path, pooling: str = "auto") -> TeacherFiles:
    return read_teacher_files(Source(str(folder), None, False, True), pooling)


def load(folder: Path, pooling: str = "auto") -> Teacher:
    return load_teacher(read(folder, pooling).encoder, "cpu")


def token_inputs(folder: Path) -> np.ndarray:
    opened = read(folder)
    return Inputs(opened, usable(opened.tokenizer)).of_vocabulary()


def run(folder: Path, pooling: str = "auto", batch_size: int = 256) -> np.ndarray:
    return load(folder, pooling).outputs(token_inputs(folder), batch_size)


def hidden_states(folder: Path) -> np.ndarray:
    """The outputs of transformers for each token in its template, shape (n, length, dimension)."""
    inputs = token_inputs(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids = torch.from_numpy(inputs)
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_transformer_gives_the_mean(family, tmp_path):
    folder = save_transformer(family, tmp_path)
    outputs = run(folder)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, hidden_states(folder).mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda hidden: hidden.mean(axis=1)),
        ("cls", lambda hidden: hidden[:, 0]),
        ("last", lambda hidden: hidden[:, -1]),
    ],
)
def test_pooling_overrides_the_folder(pooling, pool, tmp_path):
    folder = save_sentence_transformer("bert", tmp_path, pooling={"pooling_mode": "max"})
    outputs = run(folder, pooling)
    np.testing.assert_allclose(outputs, pool(hidden_states(folder)), atol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dense", [None, {}], ids=["", "dense"])
def test_outputs_are_those_of_sentence_transformers(family, dense, tmp_path):
    pooling = {"pooling_mode": "lasttoken"} if family == "qwen" else None
    folder = save_sentence_transformer(family, tmp_path, pooling=pooling, dense=dense)
    np.testing.assert_allclose(run(folder), peer_outputs(folder), atol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize(
    "pooling",
    [
        *({flag: True} for flag in POOLING_FLAGS),
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode": ["mean", "max"]},
    ],
    ids=str,
)
def test_poolings_are_those_of_sentence_transformers(pooling, tmp_path):
    folder = save_sentence_transformer("bert", tmp_path, pooling=pooling)
    np.testing.assert_allclose(run(folder), peer_outputs(folder), atol=1e-5)


def peer_outputs(folder: Path) -> np.ndarray:
    """The outputs of sentence-transformers for each token, without its Normalize module."""
    peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
    inputs = token_inputs(folder)
    ids = torch.from_numpy(inputs)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model = peer.SentenceTransformer(str(folder), device="cpu")
    with torch.inference_mode():
        for module in list(model)[:-1]:
            features = module(features)
    return features["sentence_embedding"].numpy()


def test_batches_do_not_change_outputs(bert_folder):
    np.testing.assert_allclose(run(bert_folder, batch_size=7), run(bert_folder), atol=1e-6)


def test_half_precision_weights_run_in_float32(bert_folder, tmp_path):
    half = load(bert_folder).transformer.half()
    folder = save_transformer("bert", tmp_path)
    half.save_pretrained(folder)
    assert load(folder).transformer.dtype == torch.float32


def test_encoder_of_an_encoder_decoder_is_used(tmp_path):
    folder = save_transformer("xlm-roberta", tmp_path)
    config = transformers.T5Config(
        vocab_size=400,
        d_model=DIMENSION,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    )
    transformers.T5Model(config).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert run(folder).shape[1] == DIMENSION


def test_tokenizer_from_a_list_of_words(bert_folder, tmp_path):
    folder = save_sentence_transformer("bert", tmp_path)
    tokenizer = read(folder).tokenizer
    words = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    np.testing.assert_array_equal(run(folder), run(bert_folder))


def test_dense_weights_in_safetensors(tmp_path):
    folder = save_sentence_transformer("bert", tmp_path, dense={})
    expected = run(folder)
    pickled = folder / "2_Dense" / "pytorch_model.bin"
    save_file(torch.load(pickled), folder / "2_Dense" / "model.safetensors")
    pickled.unlink()
    np.testing.assert_array_equal(run(folder), expected)


def test_loading_and_running_print_nothing(bert_folder, capfd):
    run(bert_folder)
    assert capfd.readouterr() == ("", "")


def test_transformers_settings_are_left_as_they_were(bert_folder):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(bert_folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


class TestErrors:
    def test_pooling_that_does_not_fit_the_dense_module(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense={"in_features": 64})
        torch.save(
            {"linear.weight": torch.zeros(24, 64), "linear.bias": torch.zeros(24)},
            folder / "2_Dense" / "pytorch_model.bin",
        )
        with pytest.raises(ValueError, match=r"mean gives 32 dimensions, .* Dense module takes 64"):
            run(folder)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"activation_function": "os.system"}, "'os.system' is unsupported; supported"),
            (
                {"activation_function": "torch.nn.modules.x.nope"},
                "nope' is unsupported; supported: those of torch.nn",
            ),
            ({"use_residual": True}, "use_residual=True is unsupported; supported: False"),
            ({"module_input_name": "token_embeddings"}, "'token_embeddings' is unsupported"),
        ],
    )
    def test_unknown_dense(self, settings, message, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense=settings)
        with pytest.raises(ValueError, match=message):
            load(folder)

    def test_dense_without_its_config(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense={})
        (folder / "2_Dense" / "config.json").unlink()
        with pytest.raises(OSError, match=r"has no file 2_Dense/config\.json"):
            load(folder)

    def test_dense_without_weights(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense={})
        (folder / "2_Dense" / "pytorch_model.bin").unlink()
        with pytest.raises(OSError, match=r"neither model\.safetensors nor"):
            load(folder)

    def test_missing_weights_raise(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        weights = load_file(folder / "model.safetensors")
        del weights["encoder.layer.1.output.dense.bias"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=r"lacks the weights of encoder\.layer\.1\.output"):
            load(folder)

    def test_missing_pooler_is_ignored(self, bert_folder, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        weights = load_file(folder / "model.safetensors")
        kept = {key: w for key, w in weights.items() if not key.startswith("pooler.")}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        np.testing.assert_array_equal(run(folder), run(bert_folder))

    def test_tokenizer_of_another_model(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        config = transformers.BertConfig(
            vocab_size=100,
            hidden_size=DIMENSION,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
        )
        transformers.BertModel(config).save_pretrained(folder)
        with pytest.raises(ValueError, match="has only 100 tokens: they do not belong together"):
            run(folder)

    def test_outputs_that_are_not_finite(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        weights = load_file(folder / "model.safetensors")
        weights["embeddings.word_embeddings.weight"][50] = torch.nan
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=r"not finite for 1 of 400 inputs, .* \[ 4 50  5\]"):
            run(folder)


@pytest.mark.slow
class TestHub:
    """A model in the Hub's own cache layout, read offline in a process of its own."""

    def load_offline(self, cache: Path) -> str:
        code = """
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
from sklearn_static._distill.teacher import load_teacher
folder = read_teacher_files(Source("org/tiny", None, False, True), "auto")
print(load_teacher(folder.encoder, "cpu").pooling)
"""
        return run_code(code, needs_torch=True, HF_HUB_CACHE=str(cache))

    def test_sentence_transformer(self, snapshot, tmp_path):
        save_sentence_transformer("bert", snapshot, pooling={"pooling_mode": "max"})
        assert self.load_offline(tmp_path) == "('max',)\n"

    def test_snapshot_of_a_complete_model(self, snapshot, tmp_path):
        """The cache does not record the files that the model does not have, such as safetensors."""
        save_sentence_transformer("bert", snapshot, dense={})
        (snapshot / "sentence_bert_config.json").unlink()
        assert self.load_offline(tmp_path) == "('mean',)\n"

    def test_plain_transformer(self, snapshot, tmp_path):
        save_transformer("bert", snapshot)
        known_missing = tmp_path / "models--org--tiny" / ".no_exist" / "c0ffee" / "modules.json"
        known_missing.parent.mkdir(parents=True)
        known_missing.touch()
        assert self.load_offline(tmp_path) == "('mean',)\n"


def test_a_class_of_its_own_that_does_not_tell_its_embeddings(tmp_path, texts):
    """They are asked for only to check the ids of the tokenizer."""
    folder = save_sentence_transformer("bert", tmp_path / "teacher")
    plain = StaticEmbeddingVectorizer(folder, n_components=8, memory=None).fit(texts)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"auto_map": {"AutoModel": "silent.SilentBert"}})
    (folder / "silent.py").write_text(
        "from transformers import BertModel\n\n\n"
        "class SilentBert(BertModel):\n"
        "    def get_input_embeddings(self):\n"
        "        raise NotImplementedError\n"
    )
    fitted = StaticEmbeddingVectorizer(
        folder, n_components=8, memory=None, trust_remote_code=True
    ).fit(texts)
    np.testing.assert_allclose(fitted.transform(texts), plain.transform(texts), atol=1e-5)
