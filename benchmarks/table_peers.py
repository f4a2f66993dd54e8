"""The table of README.rst, of what bench_peers.py has saved.

python benchmarks/table_peers.py results/peers.json
"""

import json
import sys
from pathlib import Path

from peers import parse_shape


def main():
    """Print nanoseconds per pair, a row for each shape and dtype."""
    results = json.loads(Path(sys.argv[1]).read_text())["results"]
    packages = list(dict.fromkeys(row["package"] for row in results))
    cells = {}
    for row in results:
        N, D, M, structure = parse_shape(row["shape"])
        kind = "" if structure == "full" else f"{structure}, "
        name = f"{N:,} × {D}, M = {M}, {kind}{row['dtype']}"
        found = cells.setdefault(name, dict.fromkeys(packages, "failed"))
        if "step" in row:
            nanoseconds = 1e9 * row["step"] / (N * M)
            digits = 1 if nanoseconds < 100 else 0
            found[row["package"]] = f"{nanoseconds:.{digits}f}"
    rows = [["data", *packages]] + [[name, *of.values()] for name, of in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    head, *body = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    print("\n".join(line.rstrip() for line in (rule, head, rule, *body, rule)))


if __name__ == "__main__":
    sys.exit(main())
