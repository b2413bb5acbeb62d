"""Folders that model2vec and sentence-transformers read and write."""

import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import joblib
import numpy as np
import pytest
import skops.io
from fresh import run
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from teachers import (
    awkward_texts,
    reference_features,
    save_sentence_transformer,
    tiny_vectorizer,
    tokenizer_of,
    write_json,
)

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._serve.original import unknown_id

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* no in-vocabulary token"),
    # The old path works in all versions.
    pytest.mark.filterwarnings("ignore:Importing from 'sentence_transformers:DeprecationWarning"),
]
QUANTIZE = [None, "float16", "int8"]
FAMILIES_OF_UNKNOWN = ["bert", "xlm-roberta"]
FAMILIES = [*FAMILIES_OF_UNKNOWN, "roberta"]


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

    def check(self, folder: Path, documents: list[str]) -> None:
        import model2vec

        model = model2vec.StaticModel.from_pretrained(folder)
        # It first cuts documents to a number of characters, which is not to be compared.
        model.median_token_length = 1000
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder)
        np.testing.assert_allclose(loaded.transform(documents), model.encode(documents), atol=1e-5)

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
        check_as_sentence_transformers(tmp_path / "st", documents)
        nested = tmp_path / "nested"
        shutil.copytree(tmp_path / "st", nested)
        (nested / "0_StaticEmbedding").mkdir(exist_ok=True)
        for name in ("model.safetensors", "tokenizer.json"):
            file = next(nested.rglob(name))
            file.rename(nested / "0_StaticEmbedding" / name)
        description = json.loads((nested / "modules.json").read_text())
        description[0]["path"] = "0_StaticEmbedding"
        write_json(nested / "modules.json", description)
        check_as_sentence_transformers(nested, documents)


def static_sentence_transformer(folder: Path, family: str, normalize: bool) -> Path:
    """Write a sentence-transformer with a StaticEmbedding, whose unknown token has a vector."""
    peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
    from sentence_transformers.models import Normalize, StaticEmbedding

    tokenizer = tokenizer_of(family)
    tokenizer.no_truncation()
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8))
    modules = [StaticEmbedding(tokenizer, embedding_weights=vectors.astype("f4")), Normalize()]
    peer.SentenceTransformer(modules=modules[: 1 + normalize], device="cpu").save(str(folder))
    return folder


def check_as_sentence_transformers(
    folder: Path, documents: list[str], vectorizer: StaticEmbeddingVectorizer | None = None
) -> None:
    """Compare the features of a folder with those of sentence-transformers."""
    peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
    expected = peer.SentenceTransformer(str(folder), device="cpu").encode(documents)
    vectorizer = vectorizer or StaticEmbeddingVectorizer.from_pretrained(folder)
    np.testing.assert_allclose(vectorizer.transform(documents), expected, atol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize("normalize", [True, False])
class TestUnknownTokens:
    """sentence-transformers pools the unknown token, model2vec does not."""

    UNKNOWN = ("a list \u2603", "I love the list \U0001f602", "\U0001f602", "\u2603 \u2603 names")

    @pytest.fixture(params=[*FAMILIES_OF_UNKNOWN, "roberta"])
    def saved(self, request, normalize, tmp_path) -> Path:
        return static_sentence_transformer(tmp_path / "st", request.param, normalize)

    def test_features_are_those_of_sentence_transformers(self, saved, documents):
        check_as_sentence_transformers(saved, [*documents, *self.UNKNOWN])

    @pytest.mark.parametrize("as_file", [False, True])
    def test_a_fitted_copy_keeps_them(self, as_file, saved, documents, tmp_path):
        loaded = StaticEmbeddingVectorizer.from_pretrained(saved)
        if as_file:
            joblib.dump(loaded, tmp_path / "file")
            check_as_sentence_transformers(saved, documents, joblib.load(tmp_path / "file"))
        else:
            check_as_sentence_transformers(saved, documents, clone(loaded).fit(documents))

    def test_max_length_counts_them(self, saved):
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(saved, max_length=2)
        long = [f"{text} the names" for text in self.UNKNOWN]
        tokenizer = vectorizer.table_.vocabulary.tokenizer
        first = [tokenizer.encode(text, add_special_tokens=False).ids[:2] for text in long]
        row_of = vectorizer.table_.vocabulary.row_of_id
        expected = np.array([vectorizer.vectors_[row_of[ids]].mean(axis=0) for ids in first])
        features = vectorizer.set_params(norm=None).transform(long)
        np.testing.assert_allclose(features, expected, atol=1e-5)

    def test_bigrams_and_min_df(self, saved, texts):
        vectorizer = StaticEmbeddingVectorizer(
            saved, ngram_range=(1, 2), lsa_components=4, min_df=2, n_components=None
        )
        documents = [*texts, *self.UNKNOWN, *self.UNKNOWN]
        features = vectorizer.fit_transform(documents)
        expected = reference_features(vectorizer.table_, documents)
        np.testing.assert_allclose(features, expected, atol=1e-5)
        family_has_unknown = unknown_id(vectorizer.table_.vocabulary.original.state) is not None
        names = vectorizer.vocabulary_
        assert any(token in names for token in ("[UNK]", "<unk>")) == family_has_unknown


@pytest.mark.peers
@pytest.mark.parametrize("quantize", QUANTIZE)
class TestUnknownTokensSavedAgain:
    @pytest.mark.parametrize("family", FAMILIES_OF_UNKNOWN)
    def test_by_sentence_transformers_alone(self, family, quantize, fitted, documents, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        saved = static_sentence_transformer(tmp_path / "st", family, normalize=True)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(saved, quantize=quantize)
        again = tmp_path / "again"
        fitted.save_pretrained(again)  # whose files for model2vec must not stay
        vectorizer.save_pretrained(again)
        check_as_sentence_transformers(again, documents, vectorizer)
        loaded = StaticEmbeddingVectorizer.from_pretrained(again)
        expected = vectorizer.transform(documents)
        np.testing.assert_allclose(loaded.transform(documents), expected, atol=1e-6)
        with pytest.raises(ValueError, match="Could not find expected model files"):
            peer.StaticModel.from_pretrained(again)
        assert "model2vec" not in (again / "README.md").read_text(encoding="utf-8")

    def test_by_both_without_an_unknown_token(self, quantize, documents, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        saved = static_sentence_transformer(tmp_path / "st", "roberta", normalize=True)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(saved, quantize=quantize)
        vectorizer.save_pretrained(tmp_path / "again")
        check_as_sentence_transformers(tmp_path / "again", documents, vectorizer)
        expected = peer.StaticModel.from_pretrained(tmp_path / "again").encode(documents)
        tolerance = 1e-3 if quantize == "float16" else 1e-5  # model2vec computes in float16
        np.testing.assert_allclose(vectorizer.transform(documents), expected, atol=tolerance)


class TestLimits:
    """The lengths to which a folder truncates documents and features."""

    LONG = ("the list of names and \u2603 " * 400, "names " + "\u2603 " * 600 + "list", "a list")

    @pytest.fixture
    def static(self, tmp_path) -> Path:
        return static_sentence_transformer(tmp_path / "st", "bert", normalize=False)

    def set_truncation(self, folder: Path, **truncation) -> None:
        state = json.loads((folder / "tokenizer.json").read_text())
        defaults = {
            "direction": "Right",
            "max_length": 9,
            "strategy": "LongestFirst",
            "stride": 0,
        }
        state["truncation"] = defaults | truncation
        write_json(folder / "tokenizer.json", state)

    def set_config(self, folder: Path, name: str, **settings) -> None:
        content = json.loads((folder / name).read_text())
        write_json(folder / name, content | settings)

    @pytest.mark.peers
    def test_max_length_of_model2vec(self, bert_folder, tmp_path):
        peer = pytest.importorskip("model2vec.distill", reason="needs the group `peers`")
        model = peer.distill(str(bert_folder), pca_dims=8, quantize_to="float32")
        model.save_pretrained(tmp_path)
        loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path)
        assert loaded.get_params()["max_length"] == model.max_length == 512
        words = ["a " * 1200 + "list", "a " * 300 + "\u2603 " * 300 + "list " * 600]
        np.testing.assert_allclose(loaded.transform(words), model.encode(words), atol=1e-5)
        own = StaticEmbeddingVectorizer.from_pretrained(tmp_path, max_length=None)
        assert own.max_length is None
        model.median_token_length = 1000
        expected = model.encode(words, max_length=None)
        np.testing.assert_allclose(own.transform(words), expected, atol=1e-5)

    @pytest.mark.peers
    def test_model2vec_without_a_setting(self, folder):
        """As in folders of its older versions: then its limit is 512."""
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        del config["max_length"]
        write_json(folder / "config.json", config)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(folder)
        limit = peer.StaticModel.from_pretrained(folder).max_length
        assert vectorizer.max_length == limit == 512

    @pytest.mark.peers
    @pytest.mark.parametrize("strategy", ["LongestFirst", "OnlyFirst"])
    def test_truncation_of_sentence_transformers(self, strategy, static):
        self.set_truncation(static, strategy=strategy)
        check_as_sentence_transformers(static, self.LONG)
        assert StaticEmbeddingVectorizer.from_pretrained(static).get_params()["max_length"] == 9
        loaded = StaticEmbeddingVectorizer.from_pretrained(static, max_length=None)
        assert loaded.max_length is None

    @pytest.mark.peers
    @pytest.mark.parametrize(
        ("truncation", "message"),
        [
            ({"direction": "Left"}, r"tokenizer.json, truncation: 'direction' must be 'Right' \("),
            ({"strategy": "OnlySecond"}, "'strategy' must be 'LongestFirst' or 'OnlyFirst'"),
            ({"max_length": 0}, "'max_length' must be an integer of at least 1, got 0"),
            ({"max_length": "9"}, "'max_length' must be an integer of at least 1, got '9'"),
            ({"stride": 9}, "'max_length' must be an integer above the stride, got 9"),
            ({"direction": 1}, "'direction' must be a string, got 1"),
        ],
    )
    def test_other_truncations_are_refused(self, truncation, message, static):
        self.set_truncation(static, **truncation)
        with pytest.raises(ValueError, match=message):
            StaticEmbeddingVectorizer.from_pretrained(static)
        own = StaticEmbeddingVectorizer.from_pretrained(static, max_length=9)
        assert own.max_length == 9

    @pytest.mark.peers
    @pytest.mark.parametrize("n_components", [3, 8, 100])
    def test_truncate_dim(self, n_components, static):
        name = "config_sentence_transformers.json"
        self.set_config(static, name, truncate_dim=n_components)
        check_as_sentence_transformers(static, self.LONG)
        loaded = StaticEmbeddingVectorizer.from_pretrained(static)
        assert loaded.get_params()["n_components"] == (3 if n_components == 3 else None)
        own = StaticEmbeddingVectorizer.from_pretrained(static, n_components=5)
        assert own.transform(["a list"]).shape == (1, 5)

    @pytest.mark.peers
    def test_truncate_dim_after_normalization(self, tmp_path):
        """Only the lengths of features differ then."""
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        static = static_sentence_transformer(tmp_path / "st", "bert", normalize=True)
        self.set_config(static, "config_sentence_transformers.json", truncate_dim=3)
        with pytest.warns(UserWarning, match="differ from sentence-transformers' by a factor"):
            features = StaticEmbeddingVectorizer.from_pretrained(static).transform(self.LONG)
        theirs = peer.SentenceTransformer(str(static), device="cpu").encode(list(self.LONG))
        theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
        np.testing.assert_allclose(features, theirs, atol=1e-5)
        loaded = StaticEmbeddingVectorizer.from_pretrained(static, n_components=3)
        np.testing.assert_array_equal(loaded.transform(self.LONG), features)

    @pytest.mark.peers
    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, [3]])
    def test_truncate_dim_that_is_no_number(self, value, static):
        name = "config_sentence_transformers.json"
        self.set_config(static, name, truncate_dim=value)
        message = f"{name}: 'truncate_dim' must be an integer of at least 1"
        with pytest.raises(ValueError, match=message):
            StaticEmbeddingVectorizer.from_pretrained(static)

    def test_n_components_of_256_is_a_choice(self, folder, texts):
        """As the default of the class it keeps all, but `from_pretrained` has another default."""
        tensors = load_file(folder / "model.safetensors")
        save_file(
            {"embeddings": np.tile(tensors["embeddings"], (1, 40))}, folder / "model.safetensors"
        )
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder, n_components=256)
        assert loaded.transform(["a list"]).shape == (1, 256)
        assert clone(loaded).fit(texts).n_components_ == 256
        fitted = StaticEmbeddingVectorizer(folder, n_components=256, lsa_components=0).fit(texts)
        assert fitted.n_components_ == 320
        assert StaticEmbeddingVectorizer.from_pretrained(folder).n_components_ == 320

    def test_fit_keeps_the_own_parameters(self, folder, texts):
        self.set_config(folder, "config.json", max_length=9)
        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
        vectorizer = StaticEmbeddingVectorizer(folder, lsa_components=0).fit(texts)
        assert vectorizer.max_length is None
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder)
        assert loaded.max_length == clone(loaded).fit(texts).max_length == 9

    def test_a_changed_limit_does_not_match_the_checksum(self, fitted, tmp_path):
        vectorizer = clone(fitted).fit(["a"]).set_params(max_length=9)
        with pytest.warns(UserWarning, match="model2vec also truncates"):
            vectorizer.save_pretrained(tmp_path)
        assert StaticEmbeddingVectorizer.from_pretrained(tmp_path).max_length == 9
        self.set_config(tmp_path, "config.json", max_length=10)
        with pytest.raises(ValueError, match="do not match the checksum"):
            StaticEmbeddingVectorizer.from_pretrained(tmp_path)

    @pytest.mark.peers
    def test_a_saved_limit(self, fitted, documents, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        vectorizer = clone(fitted).fit(["a"]).set_params(max_length=9)
        message = r"truncates documents to \d+ characters, max_length=9 times the median length"
        with pytest.warns(UserWarning, match=message):
            vectorizer.save_pretrained(tmp_path / "saved")
        texts = [*documents, *self.LONG]
        expected = vectorizer.transform(texts)
        check_as_sentence_transformers(tmp_path / "saved", texts, vectorizer)
        model = peer.StaticModel.from_pretrained(tmp_path / "saved")
        kept = [len(text) <= 9 * model.median_token_length for text in texts]
        assert 5 < sum(kept) < len(texts)
        np.testing.assert_allclose(model.encode(texts)[kept], expected[kept], atol=1e-5)
        model.median_token_length = 1000
        np.testing.assert_allclose(model.encode(texts), expected, atol=1e-5)
        loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path / "saved")
        assert loaded.max_length == 9
        np.testing.assert_allclose(loaded.transform(texts), expected, atol=1e-6)

    @pytest.mark.peers
    def test_a_saved_limit_for_sentence_transformers_alone(self, documents, tmp_path):
        static = static_sentence_transformer(tmp_path / "st", "bert", normalize=True)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(static, max_length=3)
        vectorizer.save_pretrained(tmp_path / "saved")
        check_as_sentence_transformers(tmp_path / "saved", documents)
        assert StaticEmbeddingVectorizer.from_pretrained(tmp_path / "saved").max_length == 3


@pytest.mark.peers
def test_tensors_that_sentence_transformers_ignores(documents, tmp_path):
    """Beside its own name, it reads neither a mapping nor weights."""
    saved = static_sentence_transformer(tmp_path / "st", "bert", normalize=False)
    tensors = load_file(saved / "model.safetensors")
    n_tokens = len(tensors["embedding.weight"])
    tensors["weights"] = np.linspace(0.1, 2, n_tokens, dtype="f4")
    save_file(tensors, saved / "model.safetensors")
    check_as_sentence_transformers(saved, documents)


class TestWithoutNormalization:
    """The sum of vectors is divided by the number of tokens, which the libraries count as we do."""

    CARD = """---
license: apache-2.0
language:
- en
- "de"
base_model: [org/teacher, org/other]
license_link: https://example.org/license
widget:
- text: "a: b"
tags: [a, b]
model-index: {name: [}
---
license: mit
"""

    @pytest.fixture
    def model2vec_folder(self, bert_folder, tmp_path) -> Path:
        peer = pytest.importorskip("model2vec.distill", reason="needs the group `peers`")
        model = peer.distill(str(bert_folder), pca_dims=8, quantize_to="float64")
        model.max_length = None
        model.normalize = False
        model.save_pretrained(tmp_path / "model2vec")
        return tmp_path / "model2vec"

    @pytest.mark.peers
    @pytest.mark.parametrize("quantize", QUANTIZE)
    def test_model2vec(self, quantize, model2vec_folder, documents, fitted, tmp_path):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        encoder = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        loaded = StaticEmbeddingVectorizer.from_pretrained(model2vec_folder, quantize=quantize)
        assert loaded.norm is None
        again = tmp_path / "again"
        fitted.save_pretrained(again)  # whose modules must not stay
        loaded.save_pretrained(again)
        features = loaded.transform(documents)
        tolerance = 1e-2 if quantize == "float16" else 1e-5  # model2vec computes in float16
        model = peer.StaticModel.from_pretrained(again)
        np.testing.assert_allclose(model.encode(documents), features, atol=tolerance)
        once_more = StaticEmbeddingVectorizer.from_pretrained(again)
        assert once_more.norm is None
        np.testing.assert_allclose(once_more.transform(documents), features, atol=1e-6)
        # It would count unknown tokens.
        with pytest.raises(ValueError, match="model2vec"):
            encoder.SentenceTransformer(str(again), device="cpu")
        card = (again / "README.md").read_text(encoding="utf-8")
        assert "from sentence_transformers" not in card

    @pytest.mark.peers
    @pytest.mark.parametrize("family", FAMILIES)
    def test_sentence_transformers(self, family, documents, tmp_path):
        """Also by model2vec if there is no unknown token."""
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        static = static_sentence_transformer(tmp_path / "st", family, normalize=False)
        vectorizer = StaticEmbeddingVectorizer.from_pretrained(static)
        vectorizer.save_pretrained(tmp_path / "again")
        check_as_sentence_transformers(tmp_path / "again", documents, vectorizer)
        if family == "roberta":
            features = peer.StaticModel.from_pretrained(tmp_path / "again").encode(documents)
            np.testing.assert_allclose(features, vectorizer.transform(documents), atol=1e-5)

    def test_tokens_without_a_vector(self, bert_folder, texts, tmp_path):
        vectorizer = tiny_vectorizer(bert_folder, norm=None).fit(texts)
        message = r"cannot represent norm=None: set norm='l2'.*count the 7 tokens .* as '\[PAD\]'"
        with pytest.raises(ValueError, match=message):
            vectorizer.save_pretrained(tmp_path / "saved")

    def test_word_vectors(self, tmp_path):
        vectorizer = StaticEmbeddingVectorizer.from_vectors({"a": [1, 0], "b": [0, 3]}, norm=None)
        vectorizer.save_pretrained(tmp_path)
        loaded = StaticEmbeddingVectorizer.from_pretrained(tmp_path)
        features = loaded.transform(["a b c", "b", "c"])
        np.testing.assert_allclose(features, [[0.5, 1.5], [0, 3], [0, 0]])

    @pytest.mark.peers
    def test_the_card_keeps_its_metadata(self, model2vec_folder, tmp_path):
        card = self.CARD.replace("model-index: {name: [}\n", "")
        (model2vec_folder / "README.md").write_text(card, encoding="utf-8")
        loaded = StaticEmbeddingVectorizer.from_pretrained(model2vec_folder)
        for folder in (tmp_path / "again", tmp_path / "once more"):
            loaded.save_pretrained(folder)
            data = huggingface_hub.ModelCard.load(folder / "README.md").data.to_dict()
            assert data["license"] == "apache-2.0"
            assert data["language"] == ["en", "de"]
            assert data["base_model"] == ["org/teacher", "org/other"]
            assert data["license_link"] == "https://example.org/license"
            assert data["library_name"] == "model2vec"
            assert "widget" not in data
            loaded = StaticEmbeddingVectorizer.from_pretrained(folder)

    @pytest.mark.parametrize(
        "card",
        [
            CARD,
            "---\nlicense: [mit\nlanguage: {en: de}\nbase_model: a: b\n---\n",
            "---\nlicense: mit\n",
            "\x00\udce4---",
            "",
        ],
    )
    def test_a_damaged_card(self, card, folder, tmp_path):
        """Lines that are not simple YAML are left out, so that the new card can be read."""
        (folder / "README.md").write_bytes(card.encode(errors="surrogateescape"))
        loaded = StaticEmbeddingVectorizer.from_pretrained(folder)
        loaded.save_pretrained(tmp_path / "again")
        data = huggingface_hub.ModelCard.load(tmp_path / "again" / "README.md").data
        assert data.license == ("apache-2.0" if card == self.CARD else None)

    def test_the_model_was_moved(self, folder, tmp_path):
        moved = folder.rename(folder.parent / "moved")
        loaded = StaticEmbeddingVectorizer.from_pretrained(moved)
        moved.rename(folder)
        with pytest.warns(UserWarning, match="new model card has no language, license and base"):
            loaded.save_pretrained(tmp_path / "again")
        card = (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
        assert "`moved`" in card
        assert str(moved.parent) not in card


class TestClassifier:
    """The head of a StaticModelPipeline of model2vec is not loaded, which must be told."""

    @pytest.fixture(params=["head.safetensors", "pipeline.skops"])
    def pipeline_folder(self, request, folder, texts) -> Path:
        peer = pytest.importorskip("model2vec.inference", reason="needs the group `peers`")
        inference = pytest.importorskip("model2vec.inference.mlp")
        if request.param == "pipeline.skops":  # as its older versions wrote it
            from sklearn.neural_network import MLPClassifier

            classifier = make_pipeline(MLPClassifier([4], max_iter=9))
            labels = [len(text) > 200 for text in texts]
            features = StaticEmbeddingVectorizer.from_pretrained(folder).transform(texts)
            with pytest.warns(match="Maximum iterations"):
                classifier.fit(features, labels)
            skops.io.dump(classifier, folder / "pipeline.skops")
            return folder
        from model2vec import StaticModel

        layer = inference.Layer(weight=np.ones((2, 8), "f4"), bias=np.zeros(2, "f4"))
        head = inference.MLPHead([layer], inference.Activation.SOFTMAX, np.array(["a", "b"]))
        saved = folder.parent / "pipeline"
        peer.StaticModelPipeline(StaticModel.from_pretrained(folder), head).save_pretrained(saved)
        return saved

    @pytest.mark.peers
    def test_a_warning_says_how_to_load_it(self, pipeline_folder, documents):
        peer = pytest.importorskip("model2vec", reason="needs the group `peers`")
        message = r"has a classifier \((head.safetensors|pipeline.skops)\), which is not loaded: .*"
        message += r"use model2vec.inference.StaticModelPipeline.from_pretrained\."
        with pytest.warns(UserWarning, match=message):
            loaded = StaticEmbeddingVectorizer.from_pretrained(pipeline_folder)
        expected = peer.StaticModel.from_pretrained(pipeline_folder).encode(documents)
        np.testing.assert_allclose(loaded.transform(documents), expected, atol=1e-5)
        with pytest.warns(UserWarning, match=message):
            clone(loaded).fit(documents)

    @pytest.mark.peers
    def test_it_is_not_left_with_another_model(self, pipeline_folder, fitted):
        message = "holds a model of the kind 'StaticModelPipeline', whose files would be over"
        with pytest.raises(ValueError, match=message):
            fitted.save_pretrained(pipeline_folder)


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
