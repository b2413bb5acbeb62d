"""Folders that model2vec and sentence-transformers read and write."""

import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fresh import run
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import awkward_texts, save_sentence_transformer, tiny_vectorizer, write_json

from sklearn_static import StaticEmbeddingVectorizer

pytestmark = pytest.mark.filterwarnings("ignore:.* no in-vocabulary token")
QUANTIZE = [None, "float16", "int8"]
FAMILIES = ["bert", "roberta", "xlm-roberta"]


@pytest.fixture
def documents(texts) -> list[str]:
    """With unknown tokens, without any, and longer than 512 tokens."""
    return [*texts, *awkward_texts(), "\u2603 a list \u2603", "the list of names, " * 300]


@pytest.fixture
def folder(fitted, tmp_path) -> Path:
    fitted.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def vectorizer_of(family: str, folder: Path, texts: list[str], **settings):
    teacher = save_sentence_transformer(family, folder)
    return StaticEmbeddingVectorizer(teacher, n_components=8, **settings).fit(texts)


class TestSaved:
    @pytest.mark.parametrize("quantize", QUANTIZE)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_our_own_features_come_back(self, family, quantize, documents, texts, tmp_path):
        vectorizer = vectorizer_of(family, tmp_path / "teacher", texts, quantize=quantize)
        vectorizer.save_pretrained(tmp_path / "saved")
        loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path / "saved")
        assert loaded.table_.stored.dtype == vectorizer.table_.stored.dtype
        np.testing.assert_allclose(
            loaded.transform(documents), vectorizer.transform(documents), atol=1e-6
        )

    @pytest.mark.peers
    @pytest.mark.parametrize("quantize", QUANTIZE)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_model2vec(self, family, quantize, documents, texts, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        vectorizer = vectorizer_of(family, tmp_path / "teacher", texts, quantize=quantize)
        vectorizer.save_pretrained(tmp_path / "saved")
        expected = peer.StaticModel.from_pretrained(tmp_path / "saved").encode(documents)
        tolerance = 1e-3 if quantize is None else 1e-2
        np.testing.assert_allclose(vectorizer.transform(documents), expected, atol=tolerance)

    @pytest.mark.peers
    @pytest.mark.parametrize("quantize", QUANTIZE)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_sentence_transformers(self, family, quantize, documents, texts, tmp_path):
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        vectorizer = vectorizer_of(family, tmp_path / "teacher", texts, quantize=quantize)
        vectorizer.save_pretrained(tmp_path / "saved")
        model = peer.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        tolerance = 1e-3 if quantize is None else 1e-2
        np.testing.assert_allclose(
            vectorizer.transform(documents), model.encode(documents), atol=tolerance
        )

    def test_files(self, folder):
        names = {file.name for file in folder.iterdir() if file.is_file()}
        expected = {"model.safetensors", "tokenizer.json", "config.json", "modules.json"}
        assert names == {*expected, "README.md", "config_sentence_transformers.json"}
        assert "400 tokens, 8 dimensions" in (folder / "README.md").read_text()

    @pytest.mark.peers
    def test_a_part_of_the_vocabulary(self, documents, texts, tmp_path):
        """Written with a mapping, so that dropped rows take no space."""
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        encoder = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        vectorizer = vectorizer_of("bert", tmp_path / "teacher", texts, min_df=20, quantize="int8")
        expected = vectorizer.transform(documents)
        vectorizer.save_pretrained(tmp_path / "saved")
        loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path / "saved")
        assert len(loaded.vectors_) == len(vectorizer.vectors_) < 200
        np.testing.assert_array_equal(loaded.transform(documents), expected)
        model = peer.StaticModel.from_pretrained(tmp_path / "saved")
        np.testing.assert_allclose(model.encode(documents), expected, atol=1e-6)
        model = encoder.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        np.testing.assert_allclose(model.encode(documents), expected, atol=1e-6)

    @pytest.mark.peers
    def test_tokenizer_with_a_gap_in_its_ids(self, documents, texts, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        teacher = save_sentence_transformer("bert", tmp_path / "teacher")
        state = json.loads((teacher / "tokenizer.json").read_text())
        del state["model"]["vocab"][sorted(state["model"]["vocab"])[50]]
        write_json(teacher / "tokenizer.json", state)
        vectorizer = tiny_vectorizer(teacher).fit(texts)
        vectorizer.save_pretrained(tmp_path / "saved")
        model = peer.StaticModel.from_pretrained(tmp_path / "saved")
        expected = vectorizer.transform(documents)
        np.testing.assert_allclose(model.encode(documents), expected, atol=1e-6)

    @pytest.mark.peers
    def test_model2vec_may_save_it_again(self, folder, documents, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        expected = StaticEmbeddingVectorizer.from_pretrained(folder).transform(documents)
        peer.StaticModel.from_pretrained(folder).save_pretrained(tmp_path / "again")
        again = StaticEmbeddingVectorizer.from_pretrained(tmp_path / "again")
        np.testing.assert_allclose(again.transform(documents), expected, atol=1e-6)

    @pytest.mark.peers
    def test_default_prompt_of_an_older_model_is_replaced(self, fitted, documents, tmp_path):
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        settings = {"prompts": {"query": "the list of "}, "default_prompt_name": "query"}
        write_json(tmp_path / "config_sentence_transformers.json", settings)
        fitted.save_pretrained(tmp_path)
        model = peer.SentenceTransformer(str(tmp_path), device="cpu")
        np.testing.assert_allclose(model.encode(documents), fitted.transform(documents), atol=1e-5)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"norm": None}, "cannot represent norm=None: set norm='l2'"),
            ({"max_length": 9}, "cannot represent max_length=9: set max_length=None"),
            (
                {"distill_on": "corpus", "ngram_range": (1, 2)},
                r"cannot represent bigrams: fit with ngram_range=\(1, 1\)",
            ),
        ],
    )
    def test_what_the_format_cannot_represent(
        self, settings, message, bert_folder, texts, tmp_path
    ):
        vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8, **settings).fit(texts)
        with pytest.raises(ValueError, match=message):
            vectorizer.save_pretrained(tmp_path / "saved")
        assert not (tmp_path / "saved").exists()


class TestLoaded:
    """Folders of model2vec's and sentence-transformers' making."""

    @pytest.fixture
    def make(self, bert_folder, texts, tmp_path) -> Callable[..., Path]:
        peer = pytest.importorskip("model2vec.distill", reason="needs the group `peers`")

        def make(**settings) -> Path:
            model = peer.distill(str(bert_folder), pca_dims=8, **settings)
            model.save_pretrained(tmp_path / "model2vec")
            return tmp_path / "model2vec"

        return make

    def check(self, folder: Path, documents: list[str], **settings) -> None:
        import model2vec

        model = model2vec.StaticModel.from_pretrained(folder, **settings)
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder)
        features = loaded.transform(documents)
        np.testing.assert_allclose(features, model.encode(documents, max_length=None), atol=1e-5)

    @pytest.mark.peers
    @pytest.mark.parametrize("quantize_to", ["float64", "float32", "int8"])
    @pytest.mark.parametrize("clusters", [None, 50], ids=["", "mapping"])
    def test_model2vec(self, quantize_to, clusters, make, documents):
        folder = make(quantize_to=quantize_to, vocabulary_quantization=clusters)
        assert ("mapping" in load_file(folder / "model.safetensors")) == (clusters is not None)
        self.check(folder, documents)

    @pytest.mark.peers
    @pytest.mark.parametrize("normalize", [True, False])
    def test_normalize(self, normalize, make, documents):
        folder = make(quantize_to="float32")
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", config | {"normalize": normalize})
        self.check(folder, documents)
        norm = StaticEmbeddingVectorizer.from_pretrained(folder).norm
        assert norm == ("l2" if normalize else None)

    @pytest.mark.peers
    @pytest.mark.parametrize("normalize", [True, False])
    def test_sentence_transformers(self, normalize, make, documents, tmp_path):
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        from sentence_transformers.models import Normalize, StaticEmbedding

        folder = make(quantize_to="float32")
        modules = [StaticEmbedding.from_model2vec(str(folder)), Normalize()]
        model = peer.SentenceTransformer(modules=modules[: 1 + normalize], device="cpu")
        model.save(str(tmp_path / "st"))
        self.check(tmp_path / "st", documents, normalize=normalize)
        nested = tmp_path / "nested"
        shutil.copytree(tmp_path / "st", nested)
        (nested / "0_StaticEmbedding").mkdir(exist_ok=True)
        for name in ("model.safetensors", "tokenizer.json"):
            file = next(nested.rglob(name))
            file.rename(nested / "0_StaticEmbedding" / name)
        description = json.loads((nested / "modules.json").read_text())
        description[0]["path"] = "0_StaticEmbedding"
        write_json(nested / "modules.json", description)
        self.check(nested, documents, normalize=normalize)


class TestUse:
    @pytest.mark.slow
    def test_needs_no_torch(self, folder):
        code = f"""
import sys
from sklearn_static import StaticEmbeddingVectorizer
vectorizer = StaticEmbeddingVectorizer.from_pretrained({str(folder)!r})
print(vectorizer.transform(["the list"]).shape,
      {{"torch", "transformers", "huggingface_hub"}} & set(sys.modules))
"""
        assert run(code) == "(1, 8) set()\n"

    def test_clone_and_fit_keep_the_table(self, folder, texts):
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder, n_jobs=2)
        again = clone(loaded).fit(texts)
        assert again.n_jobs == 2
        np.testing.assert_array_equal(again.vectors_, loaded.vectors_)
        assert again.n_components_ == 8
        assert len(again.get_feature_names_out()) == 8

    @pytest.mark.slow
    def test_grid_search(self, folder, texts):
        search = GridSearchCV(
            make_pipeline(StaticEmbeddingVectorizer.from_pretrained(folder), LogisticRegression()),
            {"logisticregression__C": [1, 10], "staticembeddingvectorizer__norm": ["l2", None]},
            cv=2,
            n_jobs=2,
        )
        assert search.fit(texts, ["list" in text for text in texts]).best_score_ > 0.5

    def test_lsa_components_and_min_df(self, folder, texts):
        vectorizer = StaticEmbeddingVectorizer(
            folder, n_components=None, lsa_components=4, min_df=3
        )
        assert vectorizer.fit_transform(texts).shape[1] == 12
        assert len(vectorizer.vectors_) < 400

    def test_the_default_components_are_its_own(self, folder):
        vectorizer = StaticEmbeddingVectorizer(folder, lsa_components=0).fit(["a"])
        assert vectorizer.n_components_ == 8
        assert vectorizer.n_components == 256

    @pytest.mark.parametrize("quantize", [None, "int8"])
    def test_the_first_components_are_kept(self, quantize, folder, texts):
        whole = StaticEmbeddingVectorizer.from_pretrained(folder)
        part = StaticEmbeddingVectorizer.from_pretrained(folder, quantize=quantize, n_components=3)
        first = whole.vectors_[:, :3]
        step = np.abs(first).max(axis=1, keepdims=True) / 127 if quantize else 0
        assert (np.abs(part.vectors_ - first) <= 0.501 * step).all()
        expected = part.set_params(norm=None).transform(texts)
        expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
        np.testing.assert_allclose(
            part.set_params(norm="l2").transform(texts), expected, rtol=0, atol=1e-6
        )
        fitted = StaticEmbeddingVectorizer(folder, n_components=3, lsa_components=0).fit(texts)
        assert fitted.n_components_ == 3
        np.testing.assert_array_equal(fitted.vectors_, whole.fit(texts).vectors_[:, :3])

    @pytest.mark.parametrize("quantize", ["int8", "float16"])
    def test_a_selection_of_tokens_is_stored_as_the_model_is(self, quantize, folder, texts):
        whole = StaticEmbeddingVectorizer.from_pretrained(folder, quantize=quantize)
        table = whole.set_params(min_df=2, lsa_components=3, model=whole.table_).fit(texts).table_
        assert table.stored.dtype == quantize

    @pytest.mark.parametrize("n_components", [9, 0.5])
    def test_other_components(self, n_components, folder):
        message = f"n_components={n_components} must be None or an int up to 8, the dimension of t"
        with pytest.raises(ValueError, match=message):
            StaticEmbeddingVectorizer(folder, n_components=n_components, lsa_components=0).fit(
                ["a"]
            )

    def test_distill_on_corpus_needs_a_teacher(self, folder):
        with pytest.raises(ValueError, match="distill_on='corpus' needs a teacher, but model is"):
            StaticEmbeddingVectorizer(folder, distill_on="corpus").fit(["a"])

    def test_a_teacher_is_not_a_static_model(self, bert_folder):
        with pytest.raises(
            ValueError, match="is not a static embedding model of model2vec or sentence-tran"
        ):
            StaticEmbeddingVectorizer.from_pretrained(bert_folder)

    def test_unknown_parameter(self, folder):
        with pytest.raises(ValueError, match="The 'n_jobs' parameter"):
            StaticEmbeddingVectorizer.from_pretrained(folder, n_jobs="many")


class TestDamage:
    """Each defect is reported with its file, before features are computed."""

    @pytest.fixture
    def plain(self, folder) -> Path:
        """Without a checksum, as other tools write it."""
        self.change(folder)
        return folder

    def load(self, folder: Path) -> StaticEmbeddingVectorizer:
        return StaticEmbeddingVectorizer.from_pretrained(folder)

    def change(self, folder: Path, **tensors: np.ndarray) -> None:
        file = folder / "model.safetensors"
        save_file(load_file(file) | tensors, file)

    def test_a_flipped_bit_in_a_vector(self, folder):
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-2] ^= 1
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"safetensors, .* do not match the checksum"):
            self.load(folder)

    def test_changed_setting_does_not_match_the_checksum(self, folder):
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", config | {"normalize": False})
        with pytest.raises(ValueError, match="do not match the checksum"):
            self.load(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_a_missing_file(self, name, plain):
        (plain / name).unlink()
        with pytest.raises(OSError, match=f"has no file {name}"):
            self.load(plain)

    def test_a_short_file(self, plain):
        file = plain / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-5])
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
            self.load(plain)

    def test_an_absurd_size_takes_no_memory(self, plain):
        header = json.dumps(
            {
                "embeddings": {
                    "dtype": "F32",
                    "shape": [10**9, 10**6],
                    "data_offsets": [0, 4 * 10**15],
                }
            }
        ).encode()
        (plain / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
            self.load(plain)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (
                {"embeddings": np.zeros((9, 4), "f4")},
                r"embeddings must be a matrix .* got shape \(9, 4\)",
            ),
            ({"embeddings": np.zeros(9, "f4")}, "must have rows and columns, got"),
            ({"embeddings": np.zeros((407, 4), "i8")}, "must be one of .*, got I64"),
            (
                {"embeddings": np.full((407, 4), np.nan, "f4")},
                "values that are not finite",
            ),
            ({"mapping": np.arange(9)}, "mapping must be a vector with a row"),
            ({"mapping": np.full(407, 500)}, "mapping points to rows 500 to 500"),
            ({"embeddings": np.zeros((407, 4), "f4")}, "has only zero vectors"),
            (
                {"embeddings": np.full((407, 4), 1e300)},
                r"too large: the magnitude 1e\+300",
            ),
            ({"weights": np.full(407, 1e300)}, "not finite or too large"),
            ({"mapping": np.zeros(407, "f4")}, "mapping must hold integers, got F32"),
            ({"weights": np.ones(9, "f4")}, "weights must be a vector with a row"),
            (
                {"weights": np.full(407, np.inf, "f4")},
                "values that are not finite",
            ),
        ],
    )
    def test_tensors_that_do_not_fit(self, tensors, message, plain):
        self.change(plain, **tensors)
        with pytest.raises(ValueError, match=message):
            self.load(plain)

    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
    def test_values_that_are_not_finite(self, value, dtype, plain):
        embeddings = np.ones((407, 4), dtype)
        embeddings[50, 1] = value
        self.change(plain, embeddings=embeddings)
        with pytest.raises(ValueError, match=r"not finite or too large: the magnitude (inf|nan)"):
            self.load(plain)

    def test_a_scale_that_is_not_finite(self, plain):
        weights = np.ones(407, "f4")
        weights[50] = np.nan
        self.change(plain, embeddings=np.ones((407, 4), "i1"), weights=weights)
        with pytest.raises(ValueError, match="not finite or too large: the magnitude nan"):
            self.load(plain)

    def test_float16_up_to_its_limit(self, plain):
        self.change(plain, embeddings=np.full((407, 4), np.finfo("f2").max))
        features = self.load(plain).transform(["the list"])
        np.testing.assert_allclose(features, [[0.5] * 4], rtol=1e-6)

    def test_a_tensor_of_another_name(self, plain):
        save_file({"vectors": np.zeros((407, 4), "f4")}, plain / "model.safetensors")
        with pytest.raises(ValueError, match="has no tensor 'embeddings'"):
            self.load(plain)

    @pytest.mark.parametrize("unknown", [5_000_000, 3_000_000_000])
    def test_unknown_token_id_out_of_range(self, unknown, plain):
        state = json.loads((plain / "tokenizer.json").read_text())
        state["model"]["vocab"]["[UNK]"] = unknown
        state["added_tokens"] = []
        write_json(plain / "tokenizer.json", state)
        with pytest.raises(ValueError, match=f"but the unknown token has id {unknown}"):
            self.load(plain)

    def test_a_module_of_another_package(self, plain):
        (plain / "config.json").unlink()
        modules = [{"type": "custom.StaticEmbedding", "path": "."}]
        write_json(plain / "modules.json", modules)
        with pytest.raises(ValueError, match="is not a static embedding model"):
            self.load(plain)

    def test_a_prompt(self, plain):
        (plain / "config.json").unlink()
        settings = {"prompts": {"query": "the list of "}, "default_prompt_name": "query"}
        write_json(plain / "config_sentence_transformers.json", settings)
        with pytest.raises(
            ValueError, match="puts 'the list of ' before every document, which is not"
        ):
            self.load(plain)

    @pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
    def test_invalid_json(self, name, plain):
        (plain / name).write_text("{")
        with pytest.raises(ValueError, match=name):
            self.load(plain)


def test_a_teacher_is_not_overwritten(bert_folder, tmp_path, texts):
    folder = tmp_path / "teacher"
    shutil.copytree(bert_folder, folder)
    before = (folder / "model.safetensors").read_bytes()
    vectorizer = StaticEmbeddingVectorizer(folder, n_components=8, lsa_components=0).fit(texts)
    with pytest.raises(ValueError, match="holds a model of the kind 'Transformer', whose f"):
        vectorizer.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_an_earlier_model_survives_a_failed_save(folder, tmp_path):
    code = f"""
import resource, signal
from sklearn_static import StaticEmbeddingVectorizer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
vectorizer = StaticEmbeddingVectorizer.from_pretrained({str(folder)!r}, n_components=4)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    vectorizer.save_pretrained({str(folder)!r})
except Exception as error:
    print("failed")
"""
    features = StaticEmbeddingVectorizer.from_pretrained(folder).transform(["the list"])
    assert run(code) == "failed\n"
    again = StaticEmbeddingVectorizer.from_pretrained(folder).transform(["the list"])
    np.testing.assert_array_equal(again, features)
    assert [path.name for path in Path(folder).glob(".*")] == []


def test_the_card_names_no_folder_of_the_machine(bert_folder, tmp_path, texts):
    vectorizer = StaticEmbeddingVectorizer(bert_folder, n_components=8, lsa_components=0)
    vectorizer.fit(texts).save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert f"`{Path(bert_folder).name}`" in card
    assert str(bert_folder) not in card


def test_the_parsed_tokenizer_does_not_stay_in_memory(folder):
    for _ in range(2):  # at first the tables are made, then they are there already
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(folder)
        assert "state" not in vars(vectorizer.table_.vocabulary.original)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_a_folder_on_another_disk(folder, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "link").symlink_to(other)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(folder)
        vectorizer.save_pretrained(tmp_path / "link")
        again = StaticEmbeddingVectorizer.from_pretrained(other)
    np.testing.assert_array_equal(again.vectors_, vectorizer.vectors_)
