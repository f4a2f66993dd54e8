"""A source of samples as a package of one's own may add it."""

from pathlib import Path

import numpy as np

from sklearn_keops_gmm._data import Chunk, ChunkSource


class FolderSource(ChunkSource):
    """The arrays in the files of a folder, in the order of their names.

    Weights are in files with the same names, in another folder.
    """

    parts = "files"

    @classmethod
    def takes(cls, X):
        return isinstance(X, Path)

    def chunks(self):
        for path in sorted(self.X.glob("*.npy")):
            weights = None
            if self.sample_weight is not None:
                weights = np.load(self.sample_weight / path.name)
            yield Chunk(path.name, np.load(path), weights)
