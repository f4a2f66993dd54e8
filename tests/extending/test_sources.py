"""A source that is registered from outside keeps the contract of our own."""

import numpy as np
import pytest

from sklearn_keops_gmm._data import SOURCES, as_source
from tests.common import blobs
from tests.data.sources import Kind, SourceContract, divided
from tests.extending.sources import FolderSource


@pytest.fixture(autouse=True)
def registered():
    SOURCES.insert(0, FolderSource)
    yield
    SOURCES.remove(FolderSource)


@pytest.fixture
def in_folder(tmp_path):
    """What writes the parts of an array, those without rows left out, to a folder."""
    folders = iter(range(100))

    def write(array):
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        for i, part in enumerate(divided(array)):
            if len(part) > 0:
                np.save(folder / f"{i}.npy", part)
        return folder

    return write


class TestFolders(SourceContract):
    @pytest.fixture
    def kind(self, in_folder):
        return Kind(in_folder, in_folder, r"4\.npy", "files")


def test_it_is_the_source_of_folders_only(in_folder):
    assert type(as_source(in_folder(blobs()))) is FolderSource
    assert type(as_source([blobs()])) is not FolderSource
