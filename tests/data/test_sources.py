"""Every source that comes with the package keeps the contract."""

import pytest

from sklearn_keops_gmm._data import SOURCES, _chunks, as_source
from tests.common import blobs
from tests.data.sources import KINDS, SourceContract


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Read maps of files forty rows of two features at a time."""
    monkeypatch.setattr(_chunks, "_BYTES", 640)


class TestSources(SourceContract):
    @pytest.fixture(params=KINDS)
    def kind(self, request):
        if not request.param.startswith("dask"):
            return KINDS[request.param]
        pytest.importorskip("dask")
        pytest.importorskip("dask.array")
        if request.param == "dask frame":
            pytest.importorskip("dask.dataframe")
            request.getfixturevalue("one_thread")
        return KINDS[request.param]


def test_each_source_is_tested():
    pytest.importorskip("dask.array")
    held = [kind.hold(blobs()) for name, kind in KINDS.items() if "frame" not in name]
    assert {type(as_source(X)) for X in held} == set(SOURCES)
