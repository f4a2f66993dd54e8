"""Records of cases: made, written, read and compared."""

import json
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.golden.describe import hash_of
from tests.golden.machine import on_one_thread
from tests.golden.stories import Answers, stories

FILE = Path(__file__).with_name("golden.json")
# Seconds for a case; keops may have to compile.
PATIENCE = 180
# Numbers that let a reader see how far a difference goes.
READABLE = ("n_components_", "n_iter_", "cost_", "score")


class Record(NamedTuple):
    """What one case came to.

    Attributes
    ----------
    hashes : dict
        Of each attribute and answer, by its name.
    numbers : dict
        Some of them as they are.
    error : str
        What was raised instead, if anything was.
    """

    hashes: dict[str, str]
    numbers: dict[str, float]
    error: str = ""


def record_of(story: Callable[[], Answers]) -> Record:
    """Run a case; its errors and warnings are part of what it does."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            told = story()
    except (ValueError, AttributeError, TypeError) as error:
        return Record({}, {}, f"{type(error).__name__}: {error}")
    told["warnings"] = sorted({_said(w) for w in caught} - {""})
    numbers = {name: told[name] for name in READABLE if name in told}
    return Record(
        {name: hash_of(told[name]) for name in sorted(told)},
        {name: float(value) for name, value in numbers.items()},
    )


def _said(warning: warnings.WarningMessage) -> str:
    said = f"{warning.category.__name__}: {warning.message}"
    # It does so where nobody has before.
    return "" if "KeOps compiles" in said else said


def names_with(words: Iterable[str] = ()) -> list[str]:
    """Return the names of the cases that contain all of some words."""
    return [name for name in stories() if all(word in name for word in words)]


def records(names: Iterable[str]) -> Iterator[tuple[str, Record]]:
    """Run cases, one after another and on one thread."""
    found = stories()
    with on_one_thread():
        for name in names:
            with _limited(name):
                record = record_of(found[name])
            yield name, record


@contextmanager
def _limited(name: str) -> Iterator[None]:
    """Raise if a case takes minutes: one that goes round in circles is to be named."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"{name!r} took more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def write(machine: dict[str, str], cases: dict[str, Record]) -> None:
    """Write the file: a line for each case, names of answers said once."""
    layouts = list(dict.fromkeys(" ".join(case.hashes) for case in cases.values()))
    lines = ",\n".join(
        f"{json.dumps(name)}: " + json.dumps(_packed(case, layouts))
        for name, case in cases.items()
    )
    head = json.dumps({"machine": machine, "layouts": layouts}, indent=1)
    FILE.write_text(f'{head[:-2]},\n "cases": {{\n{lines}\n }}\n}}\n')


def _packed(case: Record, layouts: list[str]) -> list[Any]:
    if case.error:
        return [case.error]
    layout = layouts.index(" ".join(case.hashes))
    return [layout, " ".join(case.hashes.values()), case.numbers]


def read() -> tuple[dict[str, str], dict[str, Record]]:
    """Return the machine that the file was written on, and its cases."""
    content = json.loads(FILE.read_text())
    cases = {}
    for name, (first, *rest) in content["cases"].items():
        if isinstance(first, str):
            cases[name] = Record({}, {}, first)
        else:
            answers = content["layouts"][first].split()
            hashes = dict(zip(answers, rest[0].split(), strict=True))
            cases[name] = Record(hashes, rest[1])
    return content["machine"], cases


def difference(old: Record | None, new: Record | None) -> str:
    """Say in what a case differs, or nothing if in nothing."""
    if old == new:
        return ""
    if old is None or new is None:
        return "is new" if old is None else "is gone"
    if old.error or new.error:
        return f"raises {new.error or 'nothing'!r}, was {old.error or 'nothing'!r}"
    names = sorted(old.hashes.keys() | new.hashes.keys())
    said = ", ".join(n for n in names if old.hashes.get(n) != new.hashes.get(n))
    for name in sorted(old.numbers.keys() | new.numbers.keys()):
        was, now = old.numbers.get(name), new.numbers.get(name)
        if was != now:
            said += f"; {name} {was!r} -> {now!r}"
    return said


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Return what differs by name, of machines as of cases."""
    return {
        name: f"{old.get(name)!r} -> {new.get(name)!r}"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    }
