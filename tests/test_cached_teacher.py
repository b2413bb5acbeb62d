"""The teacher's outputs, computed or cached."""

import joblib
import numpy as np
import pytest
from fresh import run
from teachers import tiny_vectorizer

from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._formats.hub import Source


class Remembers:
    """The least that an object with a method `cache` can be: no keywords, no disk."""

    def __init__(self) -> None:
        self.values = {}

    def cache(self, function):
        def remembered(*args):
            key = joblib.hash((function.__qualname__, args))
            if key not in self.values:
                self.values[key] = function(*args)
            return self.values[key]

        return remembered


@pytest.mark.parametrize("distill_on", ["vocabulary", "corpus"])
def test_a_memory_whose_cache_takes_no_keywords(distill_on, bert_folder, texts):
    memory = Remembers()
    vectorizer = tiny_vectorizer(bert_folder, memory=memory, distill_on=distill_on)
    vectors = vectorizer.fit(texts).vectors_
    n_values = len(memory.values)
    assert n_values > 0
    vectorizer.fit(texts)
    assert len(memory.values) == n_values
    np.testing.assert_array_equal(vectorizer.vectors_, vectors)
    vectorizer.set_params(memory=None).fit(texts)
    np.testing.assert_allclose(vectorizer.vectors_, vectors, atol=1e-5)


def test_properties_do_not_run_the_teacher(bert_folder):
    """As debuggers do."""
    source = Source(str(bert_folder), None, False, True)
    teacher = CachedTeacher(
        source, "auto", memory=None, device="nowhere", batch_size=2, progress=False
    )
    for name, member in vars(CachedTeacher).items():
        if isinstance(member, property):
            getattr(teacher, name)
    with pytest.raises(ValueError, match="device='nowhere' cannot be used"):
        teacher.token_outputs(np.arange(3))


@pytest.mark.slow
def test_invalid_device(bert_folder, tmp_path):
    """The error precedes reading the weights, which may therefore be damaged."""
    devices = ["gpu", "cuda:99", "meta", ""]
    code = f"""
import shutil
from pathlib import Path
from sklearn_static import StaticEmbeddingVectorizer
folder = shutil.copytree({str(bert_folder)!r}, {str(tmp_path / "copy")!r})
Path(folder, "model.safetensors").write_bytes(b"")
for device in {devices}:
    try:
        StaticEmbeddingVectorizer(folder, n_components=8, device=device).fit(["a"])
    except ValueError as error:
        print(str(error).replace(chr(10), " "))
"""
    for device, message in zip(devices, run(code, needs_torch=True).splitlines(), strict=True):
        assert message.startswith(
            f"device={device!r} cannot be used; available on this machine: cpu"
        )
        assert "None takes the best" in message
