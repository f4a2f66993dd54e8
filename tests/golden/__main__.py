"""The commands that __init__.py names."""

import subprocess
import sys
from time import perf_counter

from tests.golden.machine import this_machine
from tests.golden.record import (
    FILE,
    difference,
    differences,
    names_with,
    read,
    records,
    write,
)


def make() -> int:
    """Write the file, and say what has changed in it."""
    old_machine, old = read() if FILE.exists() else ({}, {})
    new = dict(records(names_with()))
    machine = this_machine()
    write(machine, new)
    for name, said in differences(old_machine, machine).items():
        print(f"{name}: {said}")
    return _told(old, new)


def check(*words: str) -> int:
    """Compare with the file."""
    machine, old = read()
    names = names_with(words)
    new = dict(records(names))
    others = differences(machine, this_machine())
    for name, said in others.items():
        print(f"made on another machine: {name}: {said}")
    kept = {name: case for name, case in old.items() if all(w in name for w in words)}
    return max(_told(kept, new), 2 * bool(others))


def _told(old, new) -> int:
    """Print each difference; return whether there is one."""
    n_different = 0
    for name in [*new, *(name for name in old if name not in new)]:
        said = difference(old.get(name), new.get(name))
        if said:
            n_different += 1
            print(f"{name}\n    {said}")
    print(f"{n_different} of {len(new)} cases differ")
    return int(n_different > 0)


def ids() -> int:
    """Print the sorted ids of all tests."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    print("\n".join(sorted(line for line in lines if "::" in line)))
    return 0


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["--help"]
    commands = {"make": make, "check": check, "ids": ids}
    if command not in commands or (rest and command != "check"):
        sys.exit(sys.modules["tests.golden"].__doc__)
    began = perf_counter()
    status = commands[command](*rest)
    print(f"{perf_counter() - began:.0f} s", file=sys.stderr)
    sys.exit(status)
