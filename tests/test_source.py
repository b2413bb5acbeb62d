"""Where the files of a model come from: a local folder, the Hub, or the Hub's cache alone."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import fresh
import hub
import pytest
from teachers import save_sentence_transformer, save_transformer, write_json

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._formats.hub import Source
from sklearn_static._formats.sentence_transformers import module_entries, module_kind

run = partial(fresh.run, needs_torch=True)  # and the client of the Hub


def folder_source(folder: Path) -> Source:
    return Source(str(folder), None, False, True)


class TestFolder:
    def test_a_file_is_found_or_not(self, bert_folder):
        source = folder_source(bert_folder)
        assert source.path("config.json") == str(bert_folder / "config.json")
        assert source.path("none.json") is None
        assert source.json("none.json") is None

    def test_a_file_is_parsed_once(self, tmp_path):
        write_json(tmp_path / "config.json", {"a": 1})
        source = folder_source(tmp_path)
        assert source.json("config.json") == {"a": 1}
        write_json(tmp_path / "config.json", {"a": 2})
        assert source.json("config.json") == {"a": 1}

    def test_a_required_file(self, tmp_path):
        message = f"model='{tmp_path}' is a local folder, but has no file config.json"
        with pytest.raises(OSError, match=message):
            folder_source(tmp_path).json("config.json", required=True)

    def test_invalid_json(self, tmp_path):
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(ValueError, match=r"config\.json is not JSON"):
            folder_source(tmp_path).json("config.json")

    @pytest.mark.parametrize("content", [{}, [1], [{"type": "a"}], [{"type": 1, "path": ""}]])
    def test_invalid_modules_json(self, content, tmp_path):
        write_json(tmp_path / "modules.json", content)
        with pytest.raises(ValueError, match=r"modules\.json must be a list of modules"):
            module_entries(folder_source(tmp_path))

    def test_the_kind_of_a_module(self):
        kind = "sentence_transformers.models.Pooling"
        assert module_kind({"type": kind, "path": ""}) == "Pooling"
        assert module_kind({"type": "custom.Pooling", "path": ""}) == ""

    @pytest.mark.parametrize("model", ["/no/such/folder", "./none", "a/b/c"])
    def test_neither_a_folder_nor_a_name(self, model):
        message = f"model='{model}' is neither an existing folder nor a name on the Hub"
        with pytest.raises(OSError, match=message):
            StaticEmbeddingVectorizer(model).fit(["a"])

    def test_tilde_is_expanded(self, bert_folder, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "teacher").symlink_to(bert_folder)
        vectorizer = StaticEmbeddingVectorizer("~/teacher", n_components=8).fit(["a"])
        assert vectorizer.model == "~/teacher"
        vectorizer.save_pretrained(tmp_path / "static")
        StaticEmbeddingVectorizer.from_pretrained("~/static")

    @pytest.mark.slow
    def test_a_second_fit_opens_each_file_once(self, bert_folder):
        """The first also hashes them, and lets transformers read what it needs."""
        code = f"""
import sys
from collections import Counter
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8).fit(["a"])
opened = Counter()
sys.addaudithook(lambda event, args: opened.update([str(args[0])] if event == "open" else []))
vectorizer.fit(["a"])
print({{n for name, n in opened.items() if name.startswith({str(bert_folder)!r})}})
"""
        assert run(code) == "{1}\n"


@pytest.mark.slow
class TestHub:
    """The real client of the Hub, and a hub on this machine."""

    FIT = """
import warnings
from sklearn_static import StaticEmbeddingVectorizer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    vectorizer = StaticEmbeddingVectorizer("org/tiny", n_components=8).fit(["a"])
print(vectorizer.vectors_.shape, [str(w.message) for w in caught])
"""

    @pytest.mark.parametrize("save", [save_transformer, save_sentence_transformer])
    def test_files_are_fetched_once(self, save, tmp_path):
        folder, cache = save("bert", tmp_path / "tiny"), tmp_path / "cache"
        with hub.serving(folder) as (address, log):
            first = run(self.FIT, HF_HUB_CACHE=str(cache), HF_ENDPOINT=address)
            assert len(log) > 5
            del log[:]
            assert (
                run(self.FIT, HF_HUB_CACHE=str(cache), HF_ENDPOINT=address)
                == first
                == "(400, 9) []\n"
            )
        assert log == ["GET /api/models/org/tiny"]
        # All is found by the name of the branch, also which files the model does not have.
        assert run(self.FIT, HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1") == first

    def test_fits_of_a_search_ask_the_hub_once(self, bert_folder, tmp_path):
        code = self.FIT + "vectorizer.fit(['a']).fit(['b'])"
        with hub.serving(bert_folder) as (address, log):
            run(code, HF_HUB_CACHE=str(tmp_path), HF_ENDPOINT=address)
        assert log.count("GET /api/models/org/tiny") == 1

    def test_an_answer_of_the_hub_is_valid_for_a_time_from_when_it_came(self, bert_folder):
        code = """
import time
from sklearn_static._formats import hub
now = 59.9  # a fixed grid of minutes would end here
hub.time = type("Clock", (), {"monotonic": staticmethod(lambda: now)})
source = lambda: hub.Source("org/tiny", None, False, False)
commit = source()._on_hub.commit
for now in [60.1, 119.8, 120.1, 179]:
    assert source()._on_hub.commit == commit
"""
        with hub.serving(bert_folder) as (address, log):
            run(code, HF_ENDPOINT=address)
        assert log == ["GET /api/models/org/tiny"] * 2

    def test_a_static_model(self, fitted, tmp_path):
        fitted.save_pretrained(tmp_path / "saved")
        code = """
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer.from_pretrained("org/tiny", revision="v1")
print(vectorizer.vectors_.shape)
"""
        with hub.serving(tmp_path / "saved") as (address, log):
            assert (
                run(code, HF_HUB_CACHE=str(tmp_path / "cache"), HF_ENDPOINT=address) == "(400, 8)\n"
            )
        assert log[0] == "GET /api/models/org/tiny/revision/v1"

    def test_the_card_of_a_teacher(self, bert_folder, tmp_path):
        """Its license and language are kept; it is the base model itself."""
        folder = shutil.copytree(bert_folder, tmp_path / "teacher")
        (folder / "README.md").write_text("---\nlicense: mit\nbase_model: a/b\n---\n")
        code = f"""
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer("org/tiny", n_components=8, lsa_components=0).fit(["a"])
vectorizer.save_pretrained({str(tmp_path / "saved")!r})
"""
        with hub.serving(folder) as (address, _):
            run(code, HF_HUB_CACHE=str(tmp_path / "cache"), HF_ENDPOINT=address)
        card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
        assert "\nlicense: mit\nbase_model: org/tiny\n---\n" in card

    def test_a_classifier_is_not_downloaded(self, fitted, tmp_path):
        fitted.save_pretrained(tmp_path / "saved")
        (tmp_path / "saved" / "pipeline.skops").write_bytes(b"")
        code = """
import warnings
from sklearn_static import StaticEmbeddingVectorizer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    StaticEmbeddingVectorizer.from_pretrained("org/tiny")
print([str(w.message)[:53] for w in caught])
"""
        with hub.serving(tmp_path / "saved") as (address, log):
            printed = run(code, HF_HUB_CACHE=str(tmp_path / "cache"), HF_ENDPOINT=address)
        assert printed == "[\"model='org/tiny' has a classifier (pipeline.skops), w\"]\n"
        assert not any("pipeline.skops" in request for request in log)

    def test_no_such_model(self, bert_folder, tmp_path):
        code = """
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer("org/none").fit(["a"])
except OSError as error:
    print(error)
"""
        with hub.serving(bert_folder) as (address, _):
            printed = run(code, HF_HUB_CACHE=str(tmp_path), HF_ENDPOINT=address)
        assert "model='org/none' is not a local folder, and its config.json is not" in printed
        assert "404" in printed


@pytest.mark.slow
class TestHubOutOfReach:
    # How long a fit waits for the Hub in these tests, in place of 3 seconds.
    LIMIT = """
from sklearn_static._formats import hub
hub._SECONDS_TO_ANSWER = 1.0
"""

    @pytest.mark.parametrize("hub_of", [hub.closed, hub.silent, hub.trickling])
    def test_with_a_local_copy(
        self, hub_of: Callable[[], AbstractContextManager[str]], snapshot, tmp_path
    ):
        """All but the files that the model does not have, for which the client used to retry."""
        save_sentence_transformer("bert", snapshot)
        (snapshot / "sentence_bert_config.json").unlink()
        code = """
import time, warnings
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer("org/tiny", n_components=8, memory=None)
vectorizer.set_params(local_files_only=True).fit(["a"])  # what is imported is not timed
vectorizer.set_params(local_files_only=False)
start = time.perf_counter()
for _ in range(2):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vectorizer.fit(["a"])
    print([(str(w.message)[:51], w.filename) for w in caught])
print(vectorizer.vectors_.shape, time.perf_counter() - start < 4)
"""
        with hub_of() as address:
            printed = run(self.LIMIT + code, HF_HUB_CACHE=str(tmp_path), HF_ENDPOINT=address)
        warning = ("The Hub could not be reached for model='org/tiny' (", "<string>")
        assert printed == f"{[warning]}\n{[warning]}\n(400, 9) True\n"

    @pytest.mark.parametrize("hub_of", [hub.closed, hub.silent, hub.trickling])
    def test_without_a_local_copy(
        self, hub_of: Callable[[], AbstractContextManager[str]], tmp_path
    ):
        code = """
import time
import huggingface_hub
from sklearn_static import StaticEmbeddingVectorizer
start = time.perf_counter()
try:
    StaticEmbeddingVectorizer("org/tiny").fit(["a"])
except OSError as error:
    print(error)
print(time.perf_counter() - start < 5)
"""
        with hub_of() as address:
            printed = run(code, HF_HUB_CACHE=str(tmp_path), HF_ENDPOINT=address)
        assert "is not on this machine and could not be loaded from the Hub (" in printed
        assert printed.endswith("\nTrue\n"), printed

    FIT = """
import warnings
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer("org/tiny", n_components=8, memory=None)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        print(vectorizer.fit(["a"]).vectors_.shape)
    except OSError as error:
        print("OSError", error)
print([str(w.message) for w in caught])
"""

    def record_files(self, snapshot: Path, names: list[str]) -> None:
        """As the client of the Hub does since version 1.20 when it downloads a whole model."""
        entry = {"size": 1, "blob_id": "0"}
        listing = {"format_version": 1, "files": dict.fromkeys(names, entry)}
        write_json(snapshot.parents[1] / "trees" / f"{snapshot.name}.json", listing)

    def test_a_plain_encoder(self, snapshot, tmp_path):
        """As after `hf download`: a file that is not there is one that the model does not have."""
        save_transformer("bert", snapshot)
        printed = run(self.FIT, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
        assert printed.startswith("(400, 9)\n"), printed
        assert "has no modules.json, so it is taken for a plain transformer" in printed
        assert "hf download org/tiny. Otherwise, set pooling='mean'." in printed

    @pytest.mark.parametrize("is_chosen", [True, False])
    def test_a_plain_encoder_that_is_known_to_be_one(self, is_chosen, snapshot, tmp_path):
        save_transformer("bert", snapshot)
        code = self.FIT
        if is_chosen:
            code = code.replace("memory=None", "memory=None, pooling='mean', local_files_only=True")
        else:
            self.record_files(snapshot, [path.name for path in snapshot.iterdir()])
        printed = run(code, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
        assert printed == "(400, 9)\n[]\n"

    @pytest.mark.parametrize(
        "left", ["1_Pooling/config.json", "sentence_bert_config.json", "the record of the client"]
    )
    def test_a_sentence_transformer_without_its_modules(self, left, snapshot, tmp_path):
        """It would have another pooling as a plain transformer."""
        save_transformer("bert", snapshot)
        if left.endswith(".json"):
            write_json(snapshot / left, {})
        else:
            self.record_files(snapshot, ["config.json", "modules.json"])
        printed = run(self.FIT, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
        assert printed.startswith("OSError model='org/tiny' is not a local folder, and its modules")
        assert "(the environment variable HF_HUB_OFFLINE is set)" in printed

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("config.json", "its config.json is not on this machine and could not be loaded"),
            ("tokenizer.json", "is a copy from the Hub without a complete model: "),
            ("model.safetensors", "Error no file named model.safetensors"),
        ],
    )
    def test_incomplete_local_copy_raises(self, name, message, snapshot, tmp_path):
        save_sentence_transformer("bert", snapshot)
        (snapshot / name).unlink()
        printed = run(self.FIT, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
        assert printed.startswith("OSError "), printed
        assert message in printed

    @pytest.mark.parametrize("missing", ["modules.json", "tokenizer.json", "model.safetensors"])
    def test_a_static_model(self, missing, fitted, snapshot, tmp_path):
        """modules.json is not read if config.json is that of model2vec."""
        fitted.save_pretrained(snapshot)
        (snapshot / missing).unlink()
        code = """
from sklearn_static import StaticEmbeddingVectorizer
try:
    print(StaticEmbeddingVectorizer.from_pretrained("org/tiny", local_files_only=True).norm)
except OSError as error:
    print(error)
"""
        printed = run(code, HF_HUB_CACHE=str(tmp_path))
        if missing == "modules.json":
            assert printed == "l2\n"
        else:
            assert f"its {missing} is not on this machine and" in printed
            assert "(local_files_only=True)" in printed
