"""Sphinx configuration."""

from sklearn_static import __version__

project = "sklearn-static"
author = "the sklearn-static developers"
copyright = f"2026, {author}"
release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
html_theme = "pydata_sphinx_theme"
html_title = "sklearn-static"
exclude_patterns = ["_build"]
autosummary_generate = True
numpydoc_show_class_members = False
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "show_memory": False,
}
# The gallery's configuration is not data that a build could compare.
suppress_warnings = ["config.cache"]
