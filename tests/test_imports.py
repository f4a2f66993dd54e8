"""The rules of who may import whom, read from the source."""

import ast
import io
import subprocess
import sys
import tokenize
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "sklearn_keops_gmm"
ROOT = Path(__file__).parents[1] / PACKAGE
FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
LAZY = {"pykeops", "matplotlib", "dask"}

# Whom the files of a wing may see, besides those of their own. What stands on top sees
# all wings, and what is below it.
WINGS = {
    "_model": set(),
    "_interop": set(),
    "backends": {"_model"},
    "solvers": {"_model"},
    "_data": {"_model", "backends"},
    "_fit": {"_model", "backends", "solvers", "_data"},
    "_display": {"_model", "backends", "_data"},
}
TOP = [
    "_estimator",
    "_base",
    "_mixture",
    "_sparsity_path",
    "_mixture_cv",
    "_clustering",
    "_imputer",
    "",
]
MAY_SEE = WINGS | {
    room: {*WINGS, *TOP[:floor]} - {"_display"} for floor, room in enumerate(TOP)
}
MAY_SEE[""] |= {"_display"}


def room_of(module):
    """The first name below the package, "" for its __init__."""
    parts = module.removesuffix(".__init__").split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def tree_of(module):
    return ast.parse(FILES[module].read_text())


def absolute(module, node):
    """Names that an import statement reaches, as absolute dotted paths."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = module.split(".")[: -node.level] if node.level else []
    base = ".".join(package + ([node.module] if node.module else []))
    return [f"{base}.{alias.name}" for alias in node.names]


@cache
def imports_of(module, *, top_level=False):
    """All names imported in `module`, or those imported as soon as it is."""

    def walk(node):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from absolute(module, node)
        elif top_level and isinstance(node, (ast.FunctionDef, ast.Lambda)):
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return set(walk(tree_of(module)))


def internal_modules(module, *, top_level=False):
    """Modules of the package that `module` imports."""
    found = set()
    for name in imports_of(module, top_level=top_level):
        if name.split(".")[0] == PACKAGE:
            while name not in FILES and f"{name}.__init__" not in FILES:
                name = name.rpartition(".")[0]
            found.add(name)
    return found


def rooms_seen(module):
    return {room_of(name) for name in internal_modules(module)} - {room_of(module)}


def test_files_were_found():
    assert {room_of(module) for module in FILES} == set(MAY_SEE)


def test_wings_see_what_they_may():
    seen = {module: rooms_seen(module) - MAY_SEE[room_of(module)] for module in FILES}
    assert {module: rooms for module, rooms in seen.items() if rooms} == {}


@pytest.mark.parametrize("wing", WINGS)
def test_wings_have_a_folder_of_tests(wing):
    folder = Path(__file__).parent / wing.lstrip("_")
    assert list(folder.glob("test_*.py"))


def test_the_top_has_few_files():
    assert len(list(ROOT.glob("*.py"))) <= 8


@pytest.mark.parametrize("module", ["_fit._objective", "_fit._autograd"])
def test_objective_sees_of_backends_only_their_protocol(module):
    names = imports_of(f"{PACKAGE}.{module}")
    of_backends = {name for name in names if room_of(name) == "backends"}
    seen = ("Reductions", "Beside", "MStep")
    assert of_backends <= {f"{PACKAGE}.backends.{name}" for name in seen}


def test_no_cycles():
    """Read for imports at any depth: a lazy import hides no cycle."""
    graph = {
        module.removesuffix(".__init__"): internal_modules(module)
        - {module.removesuffix(".__init__")}
        for module in FILES
    }
    for module in graph:
        graph[module] = {name for name in graph[module] if name != PACKAGE}
    list(TopologicalSorter(graph).static_order())


def test_no_private_name_crosses_rooms():
    crossing = {
        (module, name)
        for module in FILES
        for name in imports_of(module)
        if name.split(".")[0] == PACKAGE and room_of(name) != room_of(module)
        if any(part.startswith("_") for part in name.split(".")[2:])
    }
    assert crossing == set()


# Of other packages, which have no public name for it.
PRIVATE_OF_OTHERS = {
    "_C",  # torch's library
    "_getframe",  # of sys
    "_init_callback_context",  # scikit-learn's callbacks
    "_meta",  # of dask
    "_mmap",  # of numpy's maps of files
    "_parameter_constraints",  # scikit-learn's
    "_skl_callbacks",  # scikit-learn's callbacks
    "_validate_params",  # scikit-learn's
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_defined(tree):
    """Private names that a file gives to functions, classes and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private_names_asked(tree):
    """Private names asked of anything but self and cls, by a dot or by getattr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not isinstance(node.value, ast.Name) or node.value.id not in OWN:
                yield node.attr
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            function, name = node.func, node.args[1]
            by_name = isinstance(function, ast.Name) and function.id in BY_NAME
            if by_name and isinstance(name, ast.Constant) and is_private(name.value):
                yield name.value


OWN = {"self", "cls"}
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


def test_nothing_private_is_asked_of_what_was_handed_in():
    """Such a call could go upwards, where no import shows it.

    An object of a class that is defined in the same file may be asked for more: what
    it keeps to itself is known there.
    """
    asked = {}
    for module in FILES:
        tree = tree_of(module)
        known = PRIVATE_OF_OTHERS | set(private_names_defined(tree))
        asked[module] = set(private_names_asked(tree)) - known
    assert {module: names for module, names in asked.items() if names} == {}


def test_such_calls_are_found():
    tree = ast.parse("self._a, x._b, f(x)._c, x.__d__, getattr(x, '_e', None)")
    assert set(private_names_asked(tree)) == {"_b", "_c", "_e"}


def test_heavy_packages_are_imported_lazily():
    heavy = {
        (module, name)
        for module in FILES
        for name in imports_of(module, top_level=True)
        if name.split(".")[0] in LAZY
    }
    assert heavy == set()


@pytest.mark.parametrize(
    ("package", "room"), [("pykeops", "backends"), ("dask", "_data")]
)
def test_some_packages_have_one_home(package, room):
    heads = {m: {n.split(".")[0] for n in imports_of(m)} for m in FILES}
    homes = [module for module in FILES if package in heads[module]]
    assert [room_of(home) for home in homes] == [room]


@cache
def lines_of_code(path):
    """Numbers of the lines that are neither empty, a comment, nor a docstring's."""
    tree = ast.parse(path.read_text())
    kept = set()
    for token in tokenize.tokenize(io.BytesIO(path.read_bytes()).readline):
        if token.type not in NO_CODE:
            kept.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            kept -= set(range(text.lineno, text.end_lineno + 1))
    return kept


def functions_of(module):
    tree = tree_of(module)
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def only_stores(function):
    """Whether it keeps its parameters, a line for each, as scikit-learn wants it."""
    lines = {f"self.{one.arg} = {one.arg}" for one in function.args.args}
    lines |= {f"self.{one.arg} = {one.arg}" for one in function.args.kwonlyargs}
    return {ast.unparse(statement) for statement in function.body} <= lines


def test_functions_fit_on_a_screen():
    long = {}
    for module, path in FILES.items():
        code = lines_of_code(path)
        for function in functions_of(module):
            length = len(code & set(range(function.lineno, function.end_lineno + 1)))
            if length > 40 and not only_stores(function):
                long[module, function.name] = length
    assert long == {}


@pytest.mark.parametrize(
    ("folder", "most"), [(ROOT, 300), (Path(__file__).parent, 330)]
)
def test_files_are_short(folder, most):
    lengths = {path: len(lines_of_code(path)) for path in folder.rglob("*.py")}
    assert {path for path, length in lengths.items() if length > most} == set()


def test_solvers_ask_for_little():
    """What a solver may ask of the objective can be held in the head."""
    tree = tree_of(f"{PACKAGE}.solvers._protocol")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    counts = {
        node.name: sum(isinstance(member, ast.FunctionDef) for member in node.body)
        for node in classes
    }
    assert 0 < counts["Objective"] <= 10
    assert max(counts.values()) <= 10


@pytest.mark.slow
def test_import_is_light_and_silent():
    code = (
        f"import sys, {PACKAGE}; "
        f"heavy = {{'pykeops', 'keopscore', 'matplotlib', 'dask'}}; "
        "print(heavy & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
