"""The rooms of the package: a module imports only from its own and those below."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from fresh import run

import sklearn_static

PACKAGE = Path(sklearn_static.__file__).parent
# From the bottom to the top; modules of one row do not import each other.
ROWS = (
    ("_warnings", "_sklearn", "_serve.engine"),
    ("_serve",),
    ("_formats", "_cache", "_show_versions"),
    ("_distill",),
    ("_vectorizer",),
    ("_inspect",),
    ("inspection", "dask", ""),
)


def imports() -> dict[str, set[str]]:
    """From each module to those of ours that it imports, wherever in it; the package is ''."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} has a relative import"
                names.add(node.module)
                # From a package, a module may be imported by its name.
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        ours = {n.removeprefix("sklearn_static.") for n in names if n.startswith("sklearn_static.")}
        found[name] = {n for n in ours if is_module(n)}
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists() or path.with_suffix(".pyx").exists()


def room(module: str) -> str:
    return module.partition(".")[0]


def level(module: str) -> int:
    return next(i for i, row in enumerate(ROWS) if module in row or room(module) in row)


def test_modules_import_only_what_their_level_allows():
    found = imports()
    assert {room(name) for name in found} >= {"_serve", "_formats", "_distill", "_vectorizer"}
    wrong = [
        (module, other)
        for module, others in found.items()
        for other in others
        if room(module) != room(other) and level(other) >= level(module)
    ]
    assert not wrong


def test_no_circular_imports():
    graph = imports()
    # The packages run nothing of what is in them, but for the engine.
    order = list(TopologicalSorter(graph).static_order())
    assert len(order) >= len(graph)


def test_docs_list_the_imports_of_each_package():
    page = Path(__file__).parents[1] / "docs" / "development.rst"
    lines = re.findall(r"^    (\w+) +imports +(.+)$", page.read_text(encoding="utf-8"), re.M)
    shown = {name: set(re.findall(r"\w+", others)) - {"nothing"} for name, others in lines}
    actual: dict[str, set[str]] = {}
    for module, others in imports().items():
        rooms = actual.setdefault(room(module) or "sklearn_static", set())
        rooms |= {room(other) for other in others} - {room(module)}
    assert shown == actual


LOADED = """
import sys
print(sorted(m for m in sys.modules if m.startswith("sklearn_static._distill")))
print(sorted({"torch", "transformers", "huggingface_hub", "tqdm", "dask"} & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import sklearn_static",
        "import joblib; joblib.load(r'{model}').transform(['the value'])",
        "import joblib; joblib.load(r'{model}', mmap_mode='r').transform(['the value'])",
        "from sklearn_static import StaticEmbeddingVectorizer as V\n"
        "V.from_pretrained(r'{folder}').transform(['the value'])",
    ],
    ids=["import", "joblib", "memory map", "from_pretrained"],
)
def test_transform_does_not_import_the_distillation(code, fitted, tmp_path):
    import joblib

    joblib.dump(fitted, tmp_path / "model.joblib")
    fitted.save_pretrained(tmp_path / "static")
    code = code.format(model=tmp_path / "model.joblib", folder=tmp_path / "static")
    assert run(code + LOADED) == "[]\n[]\n"


@pytest.mark.slow
def test_package_does_not_import_inspection():
    loaded = """
import sys
names = ("matplotlib", "sklearn_static._inspect", "sklearn_static.inspection")
print([name for name in names if name in sys.modules])
"""
    assert run("import sklearn_static" + loaded) == "[]\n"
    assert (
        run("import sklearn_static.inspection" + loaded)
        == "['sklearn_static._inspect', 'sklearn_static.inspection']\n"
    )


@pytest.mark.slow
def test_from_vectors_imports_the_distillation():
    """The test above would notice a forbidden import."""
    code = "from sklearn_static import StaticEmbeddingVectorizer as V\nV.from_vectors({'a': [1]})"
    assert "sklearn_static._distill.words" in run(code + LOADED)
