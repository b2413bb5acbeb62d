"""The states of a document's tokens: what the teacher gives, and what the cache keeps of them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from teachers import save_sentence_transformer, tiny_teacher
from transformers import AutoModel

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill import cached_teacher
from sklearn_static._distill.inputs import Joined
from sklearn_static._distill.states import StateSums, dimension_of, pack, packed_size, unpack

INPUTS = [[4, 20, 30, 5], [4, 30, 5], [4, 20, 20, 40, 30, 5], [4, 21, 22, 5]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_sentence_transformer("bert", tmp_path_factory.mktemp("states"))


def sums_of(folder, inputs) -> StateSums:
    _, states = tiny_teacher(folder).embeddings(Joined.of(map(np.array, inputs)))
    assert states is not None
    return states


def test_sums_are_those_of_the_states_of_the_transformer(folder):
    """Each document scaled to a mean state of unit length."""
    transformer = AutoModel.from_pretrained(folder)
    expected, counts = {}, {}
    for ids in INPUTS:
        with torch.inference_mode():
            hidden = transformer(torch.tensor([ids]))[0][0].numpy()
        hidden = hidden / np.linalg.norm(hidden.mean(axis=0))
        for token, state in zip(ids, hidden, strict=True):
            expected[token] = expected.get(token, 0) + state
            counts[token] = counts.get(token, 0) + 1
    states = sums_of(folder, INPUTS)
    assert states.token_ids.tolist() == sorted(expected)
    assert states.counts.tolist() == [counts[token] for token in sorted(expected)]
    for token, total in zip(states.token_ids, states.sums, strict=True):
        largest = np.abs(expected[token]).max()
        np.testing.assert_allclose(total, expected[token], atol=0.01 * largest)


def test_the_order_of_the_documents_makes_no_difference(folder):
    one, other = sums_of(folder, INPUTS), sums_of(folder, INPUTS[::-1])
    np.testing.assert_array_equal(one.sums, other.sums)


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_embeddings_that_are_not_the_mean_of_states_have_none(folder, pooling):
    _, states = tiny_teacher(folder, pooling).embeddings(Joined.of([np.array(INPUTS[0])]))
    assert states is None


@pytest.mark.parametrize("length", [1, 7])
def test_a_number_of_a_state_takes_a_byte(length):
    random = np.random.default_rng(0)
    outputs = random.standard_normal((3, 12)).astype(np.float32)
    states = random.standard_normal((3, length, 12)).astype(np.float32)
    states[1, 0] = 0
    packed = pack(outputs, states)
    assert packed.shape == (3, packed_size(12, length))
    assert dimension_of(packed.shape[1], length) == 12
    assert dimension_of(packed.shape[1] - 1, length) == 0
    unpacked, scales, codes = unpack(packed, 12)
    np.testing.assert_array_equal(unpacked, outputs)
    largest = np.abs(states).max(axis=2)
    errors = np.abs(codes * scales[:, :, None] - states)
    assert (errors.max(axis=2) <= largest / 250).all()


def test_mean_states_are_shrunk_toward_what_the_outputs_predict():
    """Against scikit-learn on the occurrences one by one; tokens without any get the prediction."""
    random = np.random.default_rng(0)
    outputs = random.standard_normal((40, 6)).astype(np.float32)
    outputs /= np.linalg.norm(outputs, axis=1).mean()
    tokens = random.integers(0, 30, 200)
    occurrences = outputs[tokens] @ random.standard_normal((6, 6)) + random.standard_normal(
        (200, 6)
    )
    found, counts = np.unique(tokens, return_counts=True)
    sums = np.stack([occurrences[tokens == token].sum(axis=0) for token in found])
    states = StateSums(10 + found, sums, counts)
    directions = random.standard_normal((6, 3)).astype(np.float32)
    means = states.means(10 + np.arange(40), outputs, directions)
    ridge = Ridge(1e-3 * 200 / 6).fit(outputs[tokens], occurrences)
    expected = ridge.predict(outputs)
    expected[found] = (sums + 5 * expected[found]) / (counts + 5)[:, None]
    np.testing.assert_allclose(means, expected @ directions, atol=1e-5)


def test_tokens_none_of_which_occurs(folder):
    outputs, directions = np.ones((2, 3, 32), dtype=np.float32)
    means = sums_of(folder, INPUTS).means(np.array([6, 7, 400]), outputs, directions.T)
    assert means.shape == (3, 3)
    assert not means.any()


def test_a_fit_uses_them(folder, texts, monkeypatch):
    """Features differ from those without states, and a cached fit gives the same bits."""
    vectorizer = StaticEmbeddingVectorizer(folder, n_components=8, distill_on="corpus")
    vectors = vectorizer.fit(texts).vectors_
    np.testing.assert_array_equal(vectorizer.fit(texts).vectors_, vectors)
    np.testing.assert_array_equal(vectorizer.set_params(memory=None).fit(texts).vectors_, vectors)
    monkeypatch.setattr(cached_teacher, "_POOLING_WITH_STATES", ())
    assert not np.allclose(vectorizer.fit(texts).vectors_, vectors)
