"""Reading the files of a teacher, and the errors for unsupported files."""

import json
import shutil
from pathlib import Path

import hub
import pytest
from fresh import run
from safetensors.torch import load_file, save_file
from teachers import (
    make_adapter,
    save_dense,
    save_sentence_transformer,
    save_transformer,
    usable,
    write_json,
)

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.teacher_files import TeacherFiles, read_teacher_files
from sklearn_static._formats.hub import Source


def read(folder: Path, pooling: str = "auto") -> TeacherFiles:
    return read_teacher_files(Source(str(folder), None, False, True), pooling)


def test_legacy_lowercasing(tmp_path):
    folder = save_sentence_transformer("roberta", tmp_path / "a", lowercase=True)
    lower = usable(read(folder).tokenizer)
    folder = save_sentence_transformer("roberta", tmp_path / "b")
    plain = usable(read(folder).tokenizer)
    rows = lower.tokens(["RETURN the"]).rows.tolist()
    assert rows == plain.tokens(["return the"]).rows.tolist()
    assert rows != plain.tokens(["RETURN the"]).rows.tolist()


@pytest.mark.parametrize("lowercase", [True, False])
def test_lowercasing_of_tokenizer_config(lowercase, tmp_path):
    folder = save_transformer("bert", tmp_path)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase}
    write_json(folder / "tokenizer_config.json", settings)
    assert read(folder).tokenizer.normalizer.lowercase == lowercase


def test_lowercasing_in_a_settings_file_of_an_older_name(tmp_path):
    folder = save_sentence_transformer("roberta", tmp_path, lowercase=True)
    settings = folder / "sentence_bert_config.json"
    settings.rename(folder / "sentence_roberta_config.json")
    assert read(folder).tokenizer.normalizer.normalize_str("A") == "a"


class TestFingerprint:
    def test_same_content_elsewhere(self, bert_folder, tmp_path):
        copy = shutil.copytree(bert_folder, tmp_path / "copy")
        assert read(copy).encoder.fingerprint() == read(bert_folder).encoder.fingerprint()

    def test_other_weights(self, bert_folder, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        weights = load_file(folder / "model.safetensors")
        weights["encoder.layer.1.output.dense.bias"][3] += 1e-3
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        assert read(folder).encoder.fingerprint() != read(bert_folder).encoder.fingerprint()

    def test_other_pooling(self, bert_folder):
        assert (
            read(bert_folder, "cls").encoder.fingerprint()
            != read(bert_folder).encoder.fingerprint()
        )

    def test_other_dense(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense={})
        before = read(folder).encoder.fingerprint()
        save_dense(folder / "2_Dense", {"activation_function": "torch.nn.modules.linear.Identity"})
        assert read(folder).encoder.fingerprint() != before

    def test_other_attention_heads(self, bert_folder, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", config | {"num_attention_heads": 4})
        assert read(folder).encoder.fingerprint() != read(bert_folder).encoder.fingerprint()

    @pytest.mark.slow
    @pytest.mark.parametrize("package", ["torch", "transformers"])
    def test_other_versions_of_what_runs_it(self, package, bert_folder, tmp_path):
        code = f"""
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
files = read_teacher_files(Source({str(bert_folder)!r}, None, False, True), "auto")
print(files.encoder.fingerprint())
"""
        now = read(bert_folder).encoder.fingerprint() + "\n"
        assert run(code) == now
        metadata = tmp_path / f"{package}-99.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        found = set()
        for version in ("99.0", "99.1", "99.1+cpu"):
            metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
            found.add(run(code, tmp_path))
        assert len(found | {now}) == 3

    @pytest.mark.slow
    def test_the_commit_is_the_fingerprint(self, tmp_path):
        """On the Hub, also below a folder that is called as the one of all commits."""
        cache = tmp_path / "snapshots" / "cache"
        found = set()
        for commit in ("c0ffee", "decade"):
            repo = cache / "models--org--tiny"
            save_sentence_transformer("bert", repo / "snapshots" / commit)
            (repo / "refs").mkdir(exist_ok=True)
            (repo / "refs" / "main").write_text(commit)
            code = """
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
print(read_teacher_files(Source("org/tiny", None, False, True), "auto").encoder.fingerprint())
"""
            found.add(run(code, HF_HUB_CACHE=str(cache)))
        assert len(found) == 2


class TestAdapters:
    """They are refused before a tokenizer, weights or peft are loaded."""

    MERGE = r"merge the adapter into that model with merge_and_unload\(\), .* save_pretrained\(\)"

    @pytest.mark.parametrize("save", [save_transformer, save_sentence_transformer])
    @pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
    def test_without_the_weights_of_a_whole_model(self, save, distill_on, tmp_path):
        folder = make_adapter(save("bert", tmp_path))
        (folder / "tokenizer.json").unlink()
        message = (
            f"model='{folder}' is a PEFT adapter for the base model 'org/base' "
            rf"\(adapter_config\.json\), without the weights of a whole model: {self.MERGE}"
        )
        with pytest.raises(ValueError, match=message):
            StaticEmbeddingVectorizer(folder, distill_on=distill_on).fit(["a"])

    @pytest.mark.parametrize("place", ["", "0_Transformer/"])
    def test_of_a_transformer_in_a_folder_of_its_own(self, place, tmp_path):
        """For which transformers looks in the root folder, too."""
        folder = save_sentence_transformer("bert", tmp_path)
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["path"] = "0_Transformer"
        write_json(folder / "modules.json", modules)
        (folder / "0_Transformer").mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).rename(folder / "0_Transformer" / name)
        make_adapter(folder, place, is_whole=not place)
        with pytest.raises(ValueError, match=rf"'org/base' \({place}adapter_config\.json\)"):
            read(folder)

    @pytest.mark.parametrize("save", [save_transformer, save_sentence_transformer])
    def test_beside_the_weights_of_a_whole_model(self, save, tmp_path):
        folder = make_adapter(save("bert", tmp_path), is_whole=True)
        message = (
            r"has both the weights of a whole model and a PEFT adapter .*: if the adapter is "
            rf"merged into the weights, remove adapter_config\.json; otherwise {self.MERGE}"
        )
        with pytest.raises(ValueError, match=message):
            read(folder)
        (folder / "adapter_config.json").unlink()
        read(folder, "mean")

    FIT = """
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer("org/tiny").fit(["a"])
except ValueError as error:
    print(error)
"""

    @pytest.mark.slow
    @pytest.mark.parametrize("save", [save_transformer, save_sentence_transformer])
    def test_on_the_hub(self, save, tmp_path):
        folder = make_adapter(save("bert", tmp_path / "tiny"))
        with hub.serving(folder) as (address, log):
            printed = run(self.FIT, HF_HUB_CACHE=str(tmp_path / "cache"), HF_ENDPOINT=address)
        assert printed.startswith("model='org/tiny' is a PEFT adapter for the base model")
        assert not [line for line in log if "tokenizer" in line or "safetensors" in line]

    @pytest.mark.slow
    def test_in_the_cache_of_the_hub(self, snapshot, tmp_path):
        make_adapter(save_transformer("bert", snapshot))
        printed = run(self.FIT, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
        assert printed.startswith("model='org/tiny' is a PEFT adapter for the base model")


class TestErrors:
    @pytest.mark.slow
    @pytest.mark.parametrize(("version", "is_too_old"), [("4.56.2", True), ("4.57.0", False)])
    def test_attention_that_an_old_version_ignores(self, version, is_too_old, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path / "teacher")
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", config | {"use_bidirectional_attention": True})
        metadata = tmp_path / f"transformers-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
        code = f"""
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
try:
    read_teacher_files(Source({str(folder)!r}, None, False, True), "auto")
except ValueError as error:
    print(error)
"""
        printed = run(code, tmp_path)
        assert ("which transformers 4.56.2 ignores, so all" in printed) == is_too_old
        assert bool(printed) == is_too_old

    def test_unknown_module(self, tmp_path):
        kind = "sentence_transformers.models.LSTM"
        folder = save_sentence_transformer("bert", tmp_path, extra_modules=(kind,))
        with pytest.raises(ValueError, match=f"unsupported module '{kind}'"):
            read(folder)

    def test_a_module_of_another_package(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["type"] = "custom_st.Transformer"
        write_json(folder / "modules.json", modules)
        with pytest.raises(ValueError, match=r"unsupported module 'custom_st\.Transformer'"):
            read(folder)

    @pytest.mark.parametrize(
        "order", [[0, 1, 3, 2], [0, 1, 1, 2], [0, 0, 1, 2], [1, 2], []], ids=str
    )
    def test_modules_in_another_order(self, order, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, dense={})
        modules = json.loads((folder / "modules.json").read_text())
        write_json(folder / "modules.json", [modules[i] for i in order])
        with pytest.raises(
            ValueError, match="unsupported order; supported: Transformer, Pooling, any"
        ):
            read(folder)

    def test_pooling_without_its_config(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        (folder / "1_Pooling" / "config.json").unlink()
        with pytest.raises(OSError, match=r"has no file 1_Pooling/config\.json"):
            read(folder)

    def test_unknown_pooling(self, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path, pooling={"pooling_mode": "median"})
        with pytest.raises(ValueError, match="Pooling 'median' is unsupported; supported: cls"):
            read(folder)

    def test_an_empty_folder(self, tmp_path):
        message = f"model='{tmp_path}' is a local folder, but has no file config.json"
        with pytest.raises(OSError, match=message):
            StaticEmbeddingVectorizer(tmp_path).fit(["a"])

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("config.json", "is a local folder, but has no file config.json"),
            ("tokenizer.json", "has no tokenizer; it must have one of tokenizer.json, vocab"),
            ("model.safetensors", "has no weights; it must have one of model.safetensors"),
        ],
    )
    def test_a_missing_file_is_told_without_importing_torch(self, name, message, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        (folder / name).unlink()
        code = f"""
import sys
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer({str(folder)!r}).fit(["a"])
except OSError as error:
    print(error, "torch" in sys.modules, "transformers" in sys.modules)
"""
        printed = run(code)
        assert printed.startswith(f"model='{folder}' is a local folder")
        assert message in printed
        assert printed.endswith("False False\n")
