"""The documentation: ``python -m sphinx -W docs docs/_build``."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("SCIPY_ARRAY_API", "1")

sys.path.insert(0, os.path.dirname(__file__))  # for _mathml

import sklearn_keops_gmm

project = "sklearn-keops-gmm"
author = "sklearn-keops-gmm developers"
copyright = author
version = release = sklearn_keops_gmm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "_mathml",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
root_doc = "index"
default_role = "literal"

autodoc_typehints = "none"  # the docstrings have them, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navbar_center": ["navbar-nav"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "show_prev_next": False,
}
html_title = project
html_static_path = ["_static"]
html_css_files = ["style.css"]
# Pages without pages below them need no list of these.
html_sidebars = {
    name: [] for name in ("index", "api", "getting_started", "auto_examples/*")
}
html_show_sourcelink = html_copy_source = False

_pictures = Path(__file__).parent / "_build" / "pictures"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sklearn_keops_gmm",),
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": lambda *_: [str(_pictures)],  # where scripts save their pictures
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "copyfile_regex": r"(?!)",
}

suppress_warnings = ["config.cache"]  # for the function in sphinx_gallery_conf


def escape_names(app, what, name, obj, options, lines):
    """Keep shapes such as (n_components_,) from being read as links."""
    lines[:] = [re.sub(r"(?<![`\w])(\w+)_(?=[,)\s])", r"\1\\_", line) for line in lines]


def setup(app):
    """Have docstrings escaped after numpydoc is done with them."""
    app.connect("autodoc-process-docstring", escape_names, priority=900)
