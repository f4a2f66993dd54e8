"""The torch backend: tiles small enough for the cache, products of matrices."""
