"""The prompt that the teacher reads before every document."""

import json
from pathlib import Path

import numpy as np
import pytest
from teachers import (
    FAMILIES,
    corpus_of,
    embeddings,
    engine,
    save_sentence_transformer,
    save_transformer,
    tiny_vectorizer,
    usable,
    write_json,
)

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.inputs import Inputs
from sklearn_static._distill.teacher_files import read_teacher_files
from sklearn_static._formats.hub import Source
from sklearn_static._formats.sentence_transformers import read_prompt

PROMPTS = {"query": "the list of ", "Classification": "task: classification | query: "}


def write_prompts(folder: Path, default: str | None = "query", **settings: object) -> None:
    settings = {"prompts": PROMPTS, "default_prompt_name": default} | settings
    write_json(folder / "config_sentence_transformers.json", settings)


def read(folder: Path, prompt: str | None) -> str:
    return read_prompt(Source(str(folder), None, False, True), prompt)


class TestChoice:
    @pytest.mark.parametrize(
        ("prompt", "text"),
        [
            (None, "the list of "),
            ("query", "the list of "),
            ("Classification", "task: classification | query: "),
            ("", ""),
            ("query: ", "query: "),
            ("query:", "query:"),
            ("  ", "  "),
        ],
    )
    def test_a_name_wins_and_any_other_str_is_the_text(self, prompt, text, tmp_path):
        write_prompts(tmp_path)
        assert read(tmp_path, prompt) == text

    @pytest.mark.parametrize("prompt", [None, ""])
    def test_a_folder_without_a_default_prompt(self, prompt, tmp_path):
        assert read(tmp_path, prompt) == ""
        write_prompts(tmp_path, default=None)
        assert read(tmp_path, prompt) == ""

    def test_a_default_prompt_that_is_not_there(self, tmp_path):
        write_prompts(tmp_path, prompts={})
        with pytest.raises(ValueError, match="default prompt 'query', but its prompts are none"):
            read(tmp_path, None)
        assert read(tmp_path, "query: ") == "query: "

    @pytest.mark.parametrize(("prompts", "names"), [(PROMPTS, "'query', 'Class"), ({}, "none")])
    def test_a_warning_if_a_text_looks_like_a_name(self, prompts, names, texts, tmp_path):
        folder = save_sentence_transformer("bert", tmp_path)
        write_prompts(folder, default=None, prompts=prompts)
        vectorizer = tiny_vectorizer(folder, distill_on="corpus", prompt="classify")
        message = f"prompt='classify' is not the name of a prompt .*; names: {names}"
        with pytest.warns(UserWarning, match=message) as found:
            vectorizer.fit(texts)
        assert found[0].filename == __file__

    @pytest.mark.parametrize(("prompt", "text"), [(None, ""), ("", ""), ("query: ", "query: ")])
    def test_a_plain_transformer(self, prompt, text, tmp_path):
        source = Source(str(save_transformer("bert", tmp_path)), None, False, True)
        assert read_teacher_files(source, "mean", prompt).prompt == text

    @pytest.mark.parametrize("prompt", [1, ["query"], {"query": "query: "}, b"query: "])
    def test_other_types(self, prompt):
        message = "The 'prompt' parameter .* must be an instance of 'str' or None"
        with pytest.raises(ValueError, match=message):
            StaticEmbeddingVectorizer("no/model", prompt=prompt).fit(["a"])


@pytest.mark.peers
class TestEmbeddings:
    """As sentence-transformers' encode gives them."""

    def check(
        self, folder: Path, texts: list[str], prompt: str | None, options: dict[str, str]
    ) -> None:
        peer = pytest.importorskip("sentence_transformers", reason="needs the group `peers`")
        model = peer.SentenceTransformer(str(folder), device="cpu")
        expected = model.encode(texts, normalize_embeddings=True, **options)
        found = embeddings(folder, texts, prompt)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert not np.allclose(found, model.encode(texts, prompt="no prompt: "), atol=1e-2)

    @pytest.mark.parametrize(
        ("prompt", "options"),
        [
            (None, {}),
            ("Classification", {"prompt_name": "Classification"}),
            ("query: ", {"prompt": "query: "}),
            ("", {"prompt": ""}),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert"])
    def test_of_each_kind_of_prompt(self, family, prompt, options, texts, tmp_path):
        folder = save_sentence_transformer(family, tmp_path)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 60})
        # Else transformers 5 builds a normalizer of its own for XLM-R.
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
        write_json(folder / "tokenizer_config.json", settings)
        write_prompts(folder)
        self.check(folder, texts[:50], prompt, options)

    def test_of_an_older_folder(self, texts, tmp_path):
        """Without prompts, and with the transformer in a folder of its own."""
        folder = save_sentence_transformer("bert", tmp_path)
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["path"] = "0_Transformer"
        (folder / "0_Transformer").mkdir()
        for file in folder.glob("*.*"):
            file.rename(folder / "0_Transformer" / file.name)
        write_json(folder / "modules.json", modules)
        write_json(folder / "config_sentence_transformers.json", {"__version__": {}})
        self.check(folder, texts[:50], "query: ", {"prompt": "query: "})


class TestNotPooled:
    @pytest.fixture
    def vectorizer(self, tmp_path) -> StaticEmbeddingVectorizer:
        pooling = {"pooling_mode": "mean", "include_prompt": False}
        folder = save_sentence_transformer("bert", tmp_path, pooling=pooling)
        write_prompts(folder)
        return tiny_vectorizer(folder, distill_on="corpus")

    @pytest.mark.parametrize("prompt", [None, "Classification", "query: "])
    def test_a_prompt_is_refused(self, prompt, vectorizer, texts):
        message = "excludes it from the pooling, .*; set prompt='' to leave it out"
        with pytest.raises(ValueError, match=message):
            vectorizer.set_params(prompt=prompt).fit(texts)

    def test_without_a_prompt_there_is_nothing_to_exclude(self, vectorizer, bert_folder, texts):
        features = vectorizer.set_params(prompt="").fit_transform(texts)
        expected = vectorizer.set_params(model=bert_folder).fit_transform(texts)
        np.testing.assert_array_equal(features, expected)


class TestFit:
    def test_a_prompt_changes_the_vectors(self, bert_folder, texts):
        vectorizer = tiny_vectorizer(bert_folder, distill_on="corpus")
        plain = vectorizer.fit_transform(texts)
        prompted = vectorizer.set_params(prompt="query: ").fit_transform(texts)
        assert not np.allclose(plain, prompted, atol=1e-2)

    def test_transform_does_not_depend_on_it(self, bert_folder, texts):
        vectorizer = tiny_vectorizer(bert_folder, distill_on="corpus", prompt="query: ")
        features = vectorizer.fit(texts).transform(texts)
        np.testing.assert_array_equal(
            vectorizer.set_params(prompt="passage: ").transform(texts), features
        )

    def test_a_prompt_as_long_as_what_the_teacher_reads(self, bert_folder, texts):
        vectorizer = tiny_vectorizer(bert_folder, distill_on="corpus", prompt="the list " * 40)
        with pytest.raises(ValueError, match=r"maximum length, 0 tokens, .* a shorter prompt"):
            vectorizer.fit(texts)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", ["", "query: ", "task: classification | query:", "the\n"])
def test_the_number_of_a_documents_own_tokens(family, prompt, bert_folder):
    """Also where the end of the prompt becomes part of the document's first token."""
    vocabulary = usable(FAMILIES[family].tokenizer())
    files = read_teacher_files(Source(str(bert_folder), None, False, True), "auto", prompt)
    document = "a value of the list " * 20
    inputs = Inputs(files, vocabulary)
    (ids,), *_ = inputs.of_documents(corpus_of([document], engine(vocabulary)), None)
    tokenizer = vocabulary.tokenizer
    tokenizer.enable_truncation(ids.size)
    encoding = tokenizer.encode(prompt + document)
    assert encoding.ids == ids.ravel().tolist()
    own = [stop for _, stop in encoding.offsets if stop > len(prompt)]
    assert inputs.max_document_tokens == len(own)
