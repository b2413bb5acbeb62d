"""The examples in the docstrings of methods, and those of the user guide.

pytest runs those of a class in the module that its public path names, but not those of methods.
"""

import doctest
import inspect
from pathlib import Path

import pytest

import sklearn_static
from sklearn_static import StaticEmbeddingVectorizer, StaticTable

METHODS = [
    f"{public.__name__}.{name}"
    for public in (StaticEmbeddingVectorizer, StaticTable)
    for name, member in vars(public).items()
    if not name.startswith("_") and ">>>" in (inspect.getdoc(member) or "")
]


def test_there_are_some():
    assert "StaticEmbeddingVectorizer.from_vectors" in METHODS


@pytest.mark.parametrize("name", METHODS)
def test_examples(name):
    public, _, method = name.partition(".")
    found = doctest.DocTestFinder().find(getattr(getattr(sklearn_static, public), method), name)
    assert sum(len(test.examples) for test in found) > 0
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.minilm
def test_the_user_guide(minilm_path):
    guide = Path(__file__).parents[1] / "docs" / "guide.rst"
    failed, tried = doctest.testfile(str(guide), module_relative=False, encoding="utf-8")
    assert tried > 5
    assert not failed
