"""The examples in docstrings and in the documentation are not lost on the way."""

import doctest
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "sklearn_keops_gmm"


def docstrings_with_examples():
    """Return the names of those that pytest collects with --doctest-modules.

    An object counts where it says that it is defined: a wrong `__module__` hides it.
    """
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        module = import_module(name.removesuffix(".__init__"))
        tests = finder.find(module, module.__name__)
        found += [test.name for test in tests if test.examples]
    return found


def test_docstrings_keep_their_examples():
    assert len(docstrings_with_examples()) >= 14


def test_pages_keep_their_examples():
    """Pages exist only where the source does."""
    parser = doctest.DocTestParser()
    paths = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
    pages = [path for path in paths if parser.get_examples(path.read_text())]
    assert len(pages) >= 3
