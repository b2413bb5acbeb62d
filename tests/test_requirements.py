"""What fit says where torch and transformers, for which other packages stand in, are unusable."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from fresh import run

from sklearn_static._distill.requirements import _NEEDED


def message(folder: Path, shadow: Path) -> str:
    code = f"""
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer({str(folder)!r}, n_components=8, memory=None).fit(["a"])
except ImportError as error:
    print(error)
"""
    return run(code, shadow)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    ["ImportError('libtorch.so: no such file')", "OSError('libtorch.so: no such file')"],
)
def test_torch_is_broken(error, bert_folder, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"raise {error}")
    said = message(bert_folder, tmp_path)
    assert f"{error.split('(')[0]}: libtorch.so: no such file" in said
    assert "None" not in said
    assert "although torch 2." in said


@pytest.mark.slow
def test_transformers_is_old(bert_folder, tmp_path):
    metadata = tmp_path / "transformers-4.30.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.30.0\n")
    assert message(bert_folder, tmp_path).startswith(
        "fit needs transformers>=4.49, but transformers 4.30.0 is installed: pip install"
    )


@pytest.mark.slow
def test_torch_is_missing(bert_folder, tmp_path):
    code = f"""
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
sys.path.append({str(tmp_path)!r})
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8, memory=None).fit(["a"])
except ImportError as error:
    print(error)
"""
    packages = Path(np.__file__).parents[1]
    for path in packages.iterdir():
        if not path.name.startswith(("torch", "transformers", "__pycache__")):
            (tmp_path / path.name).symlink_to(path)
    assert run(code).startswith("fit needs torch>=2.7, which is not installed: pip install")


def test_the_versions_are_those_of_the_extra():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["distill"]
    assert {f"{package}>={needed}" for package, needed in _NEEDED.items()} <= set(extra)
