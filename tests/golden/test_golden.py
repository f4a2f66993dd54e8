"""Fits and answers are what they were, bit for bit, where the file holds."""

import pytest

pytest.importorskip("dask.array", reason="dask is not installed")

from tests.golden.cases import grid, pairs, pairs_of_levels
from tests.golden.machine import this_machine
from tests.golden.record import difference, differences, names_with, read, records


@pytest.fixture(scope="module")
def golden():
    """The cases of the file, if it was made on a machine like this one."""
    machine, cases = read()
    others = differences(machine, this_machine())
    if others:
        said = "; ".join(f"{name} {value}" for name, value in others.items())
        pytest.skip(f"golden.json was made on another kind of machine: {said}")
    return cases


def assert_as_before(golden, names):
    found = {
        name: difference(golden.get(name), record) for name, record in records(names)
    }
    assert {name: said for name, said in found.items() if said} == {}


def test_each_pair_of_levels_is_there():
    missing = set(pairs_of_levels()).difference(*map(pairs, grid()))
    assert not missing


def test_the_file_has_all_cases():
    assert set(read()[1]) == set(names_with())


def test_a_sample_is_as_it_was(golden):
    assert_as_before(golden, names_with(["native"])[::19])


@pytest.mark.slow
def test_all_is_as_it_was(golden):
    assert_as_before(golden, names_with())
