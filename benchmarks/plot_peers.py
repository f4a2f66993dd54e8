"""Bars of what bench_peers.py has saved.

python benchmarks/plot_peers.py results/peers.json [results/peers.png]
"""

import json
import sys
from pathlib import Path

from peers import parse_shape


def main():
    """Draw a panel per dtype: nanoseconds per pair of sample and component."""
    import matplotlib.pyplot as plt

    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png")
    saved = json.loads(source.read_text())
    results = [row for row in saved["results"] if "step" in row]
    dtypes, shapes, packages = (
        list(dict.fromkeys(row[key] for row in results))
        for key in ("dtype", "shape", "package")
    )
    figure, axes = plt.subplots(
        1, len(dtypes), figsize=(6 * len(dtypes), 4), sharey=True, squeeze=False
    )
    for ax, dtype in zip(axes[0], dtypes, strict=True):
        for i, package in enumerate(packages):
            bars = {
                shapes.index(row["shape"]): row["step"]
                for row in results
                if (row["package"], row["dtype"]) == (package, dtype)
            }
            heights = [
                1e9 * step / pairs_of(shapes[index]) for index, step in bars.items()
            ]
            places = [index + 0.8 * (i / len(packages) - 0.4) for index in bars]
            ax.bar(places, heights, 0.8 / len(packages), label=package)
        ax.set_yscale("log")
        ax.set_xticks(range(len(shapes)), shapes, rotation=20)
        ax.set_title(f"One EM step, {dtype}")
    axes[0, 0].set_ylabel("ns per sample and component")
    axes[0, -1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    machine = saved["machine"]
    figure.text(0.01, 0.01, f"{machine['machine']}, {machine['times']} times", size=7)
    figure.tight_layout()
    figure.savefig(target, dpi=150)


def pairs_of(shape):
    """Return N M of "NxDxM"."""
    N, _, M, _ = parse_shape(shape)
    return N * M


if __name__ == "__main__":
    sys.exit(main())
