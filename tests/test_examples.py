"""The examples in the docstrings of methods, in the docs' pages, and in the README.

pytest runs those of a class in the module that its public path names, but not those of methods.
"""

import doctest
import inspect
import re
from pathlib import Path

import pytest

import sklearn_static
from sklearn_static import StaticEmbeddingVectorizer, StaticTable

DOCS = Path(__file__).parents[1] / "docs"
# Excluding the pages that a build generates.
PAGES = {
    page.relative_to(DOCS).as_posix(): page
    for page in sorted([*DOCS.glob("*.rst"), *DOCS.glob("guide/*.rst")])
    if ">>>" in page.read_text(encoding="utf-8")
}
METHODS = [
    f"{public.__name__}.{name}"
    for public in (StaticEmbeddingVectorizer, StaticTable)
    for name, member in vars(public).items()
    if not name.startswith("_") and ">>>" in (inspect.getdoc(member) or "")
]


def test_examples_are_found():
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


def test_pages_with_examples_are_found():
    assert {"getting_started.rst", "guide/corpus.rst"} <= PAGES.keys()


@pytest.mark.minilm
@pytest.mark.parametrize("page", PAGES)
def test_pages(page, minilm_path):
    failed, tried = doctest.testfile(str(PAGES[page]), module_relative=False, encoding="utf-8")
    assert tried > 0
    assert not failed


def test_all_parameters_are_in_the_guide():
    page = (DOCS / "guide" / "parameters.rst").read_text(encoding="utf-8")
    terms = set(re.findall("``(.+?)``", "".join(re.findall(r"^``.*``$", page, re.M))))
    assert terms == set(StaticEmbeddingVectorizer().get_params())


@pytest.mark.minilm
def test_the_readme_runs_when_pasted(minilm_path, tmp_path, monkeypatch, capsys):
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
        promised = re.findall(r"^print\(.*\)  # (.*)$", block, re.M)
        assert capsys.readouterr().out.splitlines() == promised
