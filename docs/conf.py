"""The documentation: ``python -m sphinx -W docs docs/_build``."""

import os
import re
import sys
import urllib.error
import urllib.request
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
    "sphinx.ext.intersphinx",
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

_MANUALS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "dask": "https://docs.dask.org/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
}


def _answers(address):
    """Return whether the list of a manual's names can be had from here."""
    request = urllib.request.Request(address + "objects.inv", method="HEAD")
    try:
        return urllib.request.urlopen(request, timeout=3).status == 200
    except (urllib.error.URLError, TimeoutError):
        return False


# Links to the manuals of others where there is a network; names without links, and no
# warning, where there is none.
intersphinx_mapping = {}
if _answers(_MANUALS["python"]):
    intersphinx_mapping = {
        name: (address, None) for name, address in _MANUALS.items() if _answers(address)
    }

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
    name: [] for name in ("index", "api", "getting_started", "auto_examples/**")
}
html_show_sourcelink = html_copy_source = False

_pictures = Path(__file__).parent / "_build" / "pictures"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sklearn_keops_gmm",),
    "reference_url": {"sklearn_keops_gmm": None},  # links from code to the API
    "subsection_order": [
        f"../examples/{name}"
        for name in ("choosing", "clusters", "densities", "data", "speed")
    ],
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": lambda *_: [str(_pictures)],  # where scripts save their pictures
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "capture_repr": (),  # examples print what they show
    "copyfile_regex": r"(?!)",
}

suppress_warnings = ["config.cache"]  # for the function in sphinx_gallery_conf


def escape_names(app, what, name, obj, options, lines):
    """Keep shapes such as (n_components_,) from being read as links."""
    lines[:] = [re.sub(r"(?<![`\w])(\w+)_(?=[,)\s])", r"\1\\_", line) for line in lines]


def setup(app):
    """Have docstrings escaped after numpydoc is done with them."""
    app.connect("autodoc-process-docstring", escape_names, priority=900)
