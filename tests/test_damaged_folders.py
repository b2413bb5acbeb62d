"""Settings of another type, size or place than expected: an error that names file and key."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from teachers import DIMENSION, save_dense, save_sentence_transformer, write_json

from sklearn_static import StaticEmbeddingVectorizer

NESTED = "[" * 100_000 + "]" * 100_000
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs pipes, devices and links")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a teacher with all files that are read."""
    folder = save_sentence_transformer("bert", tmp_path_factory.mktemp("whole"), dense={})
    settings = {"prompts": {"query": "the "}, "default_prompt_name": "query"}
    write_json(folder / "config_sentence_transformers.json", settings)
    return folder


@pytest.fixture
def teacher(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "teacher")


@pytest.fixture
def static(fitted, tmp_path) -> Path:
    fitted.save_pretrained(tmp_path / "static")
    return tmp_path / "static"


def fit(folder: Path) -> None:
    StaticEmbeddingVectorizer(folder, n_components=8, memory=None).fit(["a"])


def load(folder: Path) -> None:
    StaticEmbeddingVectorizer.from_pretrained(folder)


def set_keys(file: Path, **settings: Any) -> None:
    write_json(file, json.loads(file.read_text()) | settings)


def set_tensors(file: Path, **tensors: torch.Tensor) -> None:
    save_file(load_file(file) | tensors, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("config.json", {"model_type": 3}, "'model_type' must be a string, got 3"),
        (
            "config.json",
            {"max_position_embeddings": "64"},
            "'max_position_embeddings' must be a number, got '64'",
        ),
        (
            "tokenizer_config.json",
            {"model_max_length": [1]},
            r"'model_max_length' must be a number, got \[1\]",
        ),
        (
            "tokenizer_config.json",
            {"do_lower_case": "no"},
            "'do_lower_case' must be true or false, got 'no'",
        ),
        ("tokenizer_config.json", {"truncation_side": 1}, "'truncation_side' must be a string"),
        ("sentence_bert_config.json", {"max_seq_length": {}}, "'max_seq_length' must be a number"),
        ("sentence_bert_config.json", {"do_lower_case": 1}, "'do_lower_case' must be true or fal"),
        (
            "config_sentence_transformers.json",
            {"prompts": ["a"]},
            r"'prompts' must be an object, got \['a'\]",
        ),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": 1}},
            "prompts: 'query' must be a string, got 1",
        ),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": ["query"]},
            "'default_prompt_name' must be a string",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode": 3},
            "'pooling_mode' must be a string or a list of strings, got 3",
        ),
        ("1_Pooling/config.json", {"pooling_mode": [["mean"]]}, "'pooling_mode' must be a string"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": "yes"},
            "'pooling_mode_mean_tokens' must be true or false, got 'yes'",
        ),
        ("1_Pooling/config.json", {"include_prompt": "x"}, "'include_prompt' must be true or fal"),
        (
            "2_Dense/config.json",
            {"in_features": None},
            "'in_features' must be an integer of at least 1, got None",
        ),
        (
            "2_Dense/config.json",
            {"out_features": "24"},
            "'out_features' must be an integer of at least 1, got '24'",
        ),
        ("2_Dense/config.json", {"bias": "yes"}, "'bias' must be true or false, got 'yes'"),
        (
            "2_Dense/config.json",
            {"activation_function": 7},
            "'activation_function' must be a string, got 7",
        ),
        ("2_Dense/config.json", {"use_residual": "x"}, "'use_residual' must be true or false"),
    ],
)
def test_a_key_of_another_type(name, settings, message, teacher):
    set_keys(teacher / name, **settings)
    with pytest.raises(ValueError, match=f"file {name}.*{message}"):
        fit(teacher)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "yes"}, "file config.json: 'normalize' must be true or false, got 'yes'"),
        ({"max_length": 0}, "file config.json: 'max_length' must be an integer of at least 1, g"),
        ({"max_length": "512"}, "file config.json: 'max_length' must be an integer of at least 1"),
        ({"max_length": True}, "file config.json: 'max_length' must be an integer of at least 1"),
        ({"model_type": []}, r"file config.json: 'model_type' must be a string, got \[\]"),
    ],
)
def test_a_key_of_another_type_in_a_static_model(settings, message, static):
    set_keys(static / "config.json", **settings)
    for read in (load, fit):
        with pytest.raises(ValueError, match=message):
            read(static)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "tokenizer.json",
    ],
)
@pytest.mark.parametrize("content", ["3", "[1]", '"x"', "{", NESTED, "\udce4"])
def test_a_file_of_another_type(content, name, teacher):
    (teacher / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=name):
        fit(teacher)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["3", "[1]", '"x"', "{", NESTED, '{"model": {}}'])
def test_a_file_of_another_type_in_a_static_model(content, name, static):
    if name == "config.json" and content == '{"model": {}}':
        content = "{}x"
    (static / name).write_text(content)
    with pytest.raises(ValueError, match=name):
        load(static)


@POSIX
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ],
)
@pytest.mark.parametrize("kind", ["a pipe", "an endless device"])
def test_what_is_no_file(kind, name, teacher):
    (teacher / name).unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(teacher / name)
    else:
        (teacher / name).symlink_to("/dev/zero")
    with pytest.raises(OSError, match=f"{name} is not a regular file"):
        fit(teacher)


@POSIX
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_no_file_in_a_static_model(name, static, fitted):
    (static / name).unlink()
    os.mkfifo(static / name)
    with pytest.raises(OSError, match=f"{name} is not a regular file"):
        load(static)
    fitted.save_pretrained(static)  # does not wait for it either
    load(static)


@POSIX
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_file_of_20_gigabytes(name, static, teacher):
    """Without data on the disk."""
    for folder, read in ((static, load), (static, fit), (teacher, fit)):
        with open(folder / name, "r+b") as file:
            file.truncate(20 * 2**30)
        with pytest.raises(OSError, match=f"{name} has 21,474,836,480 bytes, but at most"):
            read(folder)


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../other", "C:other", "..\\other"])
@pytest.mark.parametrize("index", [0, 1, 2], ids=["Transformer", "Pooling", "Dense"])
def test_a_module_outside_the_folder(index, path, teacher, whole):
    shutil.copytree(whole, teacher.parent / "other")
    modules = json.loads((teacher / "modules.json").read_text())
    modules[index]["path"] = path
    write_json(teacher / "modules.json", modules)
    message = r"modules\.json: the path of a module must be that of a folder inside the model's"
    with pytest.raises(ValueError, match=message):
        fit(teacher)


def test_a_static_module_outside_the_folder(static):
    folder = static.parent / "st"
    modules = [{"type": "sentence_transformers.models.StaticEmbedding", "path": "../static"}]
    write_json(folder / "modules.json", modules)
    with pytest.raises(ValueError, match=r"must be that of a folder inside the model's"):
        load(folder)


def test_the_same_folder_by_another_path(teacher, whole):
    modules = json.loads((teacher / "modules.json").read_text())
    for module, path in zip(modules, ("./", "./1_Pooling", "x/../2_Dense/"), strict=False):
        module["path"] = path
    write_json(teacher / "modules.json", modules)
    vectors = [
        StaticEmbeddingVectorizer(folder, n_components=8, memory=None).fit(["a"]).vectors_
        for folder in (teacher, whole)
    ]
    np.testing.assert_array_equal(*vectors)


class TestWeights:
    def test_of_another_size(self, teacher):
        name = "embeddings.position_embeddings.weight"
        set_tensors(teacher / "model.safetensors", **{name: torch.zeros(9, DIMENSION)})
        message = rf"weights of {name} have another shape \(9, 32\) instead of \(64, 32\) than c"
        with pytest.raises(ValueError, match=message):
            fit(teacher)

    def test_that_are_damaged(self, teacher):
        file = teacher / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-5])
        message = "transformers cannot load config.json and the weights beside it"
        with pytest.raises(ValueError, match=message):
            fit(teacher)

    @pytest.mark.parametrize(
        "settings",
        [{"vocab_size": "x"}, {"hidden_size": None}, {"num_attention_heads": 0}],
        ids=str,
    )
    def test_of_an_impossible_config(self, settings, teacher):
        set_keys(teacher / "config.json", **settings)
        message = "transformers cannot load config.json and the weights beside it"
        with pytest.raises(ValueError, match=message):
            fit(teacher)

    def test_of_a_config_that_fails_later(self, teacher):
        set_keys(teacher / "config.json", hidden_act=3)
        with pytest.raises(ValueError, match=r"The teacher cannot be run .*config\.json or the"):
            fit(teacher)

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: set_keys(folder / "config.json", in_features=16),
            lambda folder: set_keys(folder / "config.json", out_features=10**12),
            lambda folder: set_keys(folder / "config.json", bias=False),
            lambda folder: torch.save({}, folder / "pytorch_model.bin"),
        ],
        ids=["in_features", "out_features", "bias", "none"],
    )
    def test_of_another_dense_module(self, change: Callable[[Path], None], teacher):
        change(teacher / "2_Dense")
        message = r"Dense module '2_Dense': its config.json describes weights of the shapes"
        with pytest.raises(ValueError, match=message):
            fit(teacher)

    @pytest.mark.parametrize("content", [b"", b"x" * 100, "a list"])
    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
    def test_of_a_dense_module_that_are_damaged(self, name, content, teacher):
        file = teacher / "2_Dense" / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save([1], file)
        message = rf"Dense module '2_Dense': .*{name} is damaged"
        with pytest.raises(ValueError, match=message):
            fit(teacher)

    def test_of_dense_modules_that_do_not_follow_each_other(self, teacher):
        shutil.copytree(teacher / "2_Dense", teacher / "3_Dense")
        modules = json.loads((teacher / "modules.json").read_text())
        modules.insert(3, modules[2] | {"path": "3_Dense"})
        write_json(teacher / "modules.json", modules)
        message = r"Dense module '3_Dense': in_features=32 must be 24, the out_features of the De"
        with pytest.raises(ValueError, match=message):
            fit(teacher)


@pytest.mark.parametrize("name", ["Nope", "Linear", "Module", "Threshold", "MultiheadAttention"])
def test_an_activation_that_is_none(name, teacher):
    save_dense(teacher / "2_Dense", {"activation_function": f"torch.nn.{name}"})
    message = rf"activation 'torch.nn.{name}' is unsupported; supported: those of torch.nn"
    with pytest.raises(ValueError, match=message):
        fit(teacher)
