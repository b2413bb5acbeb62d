"""Sphinx configuration."""

import re
import urllib.request
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx_gallery.sorting import FunctionSortKey

from sklearn_static import __version__

project = "sklearn-static"
author = "the sklearn-static developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "literal"  # in docstrings, `name` is code, as in scikit-learn

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn-static {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # dark or light, as the system is
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "github_url": "https://github.com/sklearn-static/sklearn-static",
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages without subpages have nothing to show in the left sidebar.
html_sidebars = {
    page: []
    for page in ("index", "install", "getting_started", "benchmarks", "changelog", "development")
}

html_math_renderer = "mathml"

autodoc_typehints = "none"  # numpydoc's Parameters have them
autosummary_generate = True
numpydoc_show_class_members = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# In the order in which to read them.
_EXAMPLES = [
    "quickstart.py",
    "plot_few_labels.py",
    "plot_accuracy_against_speed.py",
    "plot_unlabeled_documents.py",
    "plot_corpus_neighbors.py",
    "plot_semantic_search.py",
    "plot_clustering.py",
    "plot_column_transformer.py",
    "plot_explain_prediction.py",
    "plot_search_cache.py",
    "plot_size.py",
    "plot_dask_cluster.py",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": FunctionSortKey(_EXAMPLES.index),
    "show_memory": False,
    "write_computation_times": False,  # a page with scripts from the network
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_static",),
}
# The gallery's configuration is not data that a build could compare.
suppress_warnings = ["config.cache"]


def _is_reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/objects.inv", timeout=5).close()
    except OSError:
        return False
    return True


# Links to other projects need their inventories. Without a network the names remain plain text.
_PROJECTS = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "sklearn": "https://scikit-learn.org/stable",
    "joblib": "https://joblib.readthedocs.io/en/stable",
    "matplotlib": "https://matplotlib.org/stable",
    "skops": "https://skops.readthedocs.io/en/stable",
}
intersphinx_mapping = {name: (url, None) for name, url in _PROJECTS.items() if _is_reachable(url)}
nitpick_ignore_regex = [
    ("py:.*", rf"{name}\..*") for name in _PROJECTS if name not in intersphinx_mapping
]


def _mathml(formula: str, display: str) -> str:
    mathml = convert(formula, display=display)
    if "\\" in mathml:  # it leaves in place what it does not know
        raise ValueError(f"latex2mathml cannot convert {formula!r}")
    return mathml


def _inline_math(writer: Any, node: Any) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise SkipNode


def _block_math(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="math">{_mathml(node.astext(), "block")}</div>')
    raise SkipNode


_GUIDE = Path(__file__).parent / "guide/parameters.rst"
# The first parameter of each section of the guide, and the title of the section.
_GROUPS = {
    parameter: title
    for title, parameter in re.findall(
        r"^(.+)\n-+\n\n``(\w+)``", _GUIDE.read_text("utf-8"), re.MULTILINE
    )
}


def _group_parameters(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Put the titles of the guide above the parameters of the estimator, which numpydoc lists."""
    if name != "sklearn_static.StaticEmbeddingVectorizer":
        return
    for i in reversed(range(len(lines))):
        parameter = re.match(r"    \*\*(\w+)\*\* : ", lines[i])
        if parameter and parameter[1] in _GROUPS:
            lines[i:i] = [f"    .. rubric:: {_GROUPS[parameter[1]]}", ""]


def setup(app: Any) -> None:
    """Write formulas as MathML, which browsers show without a script from the network."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _group_parameters, priority=900)  # after numpydoc
