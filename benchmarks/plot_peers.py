"""Dots of what bench_peers.py has saved: how many times faster than scikit-learn.

python benchmarks/plot_peers.py results/peers.json [results/peers.png]
"""

import json
import sys
from pathlib import Path

from peers import parse_shape

REFERENCE = "scikit-learn"
# Of this package, and of the others: told apart by most eyes.
OURS, OTHERS = "#d55e00", "#0072b2"


def main():
    """Draw a panel per dtype, with a row for each package and shape."""
    import matplotlib.pyplot as plt

    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png")
    saved = json.loads(source.read_text())
    dtypes, shapes, packages = (
        list(dict.fromkeys(row[key] for row in saved["results"]))
        for key in ("dtype", "shape", "package")
    )
    packages.remove(REFERENCE)
    figure, axes = plt.subplots(
        1, len(dtypes), figsize=(4.6 * len(dtypes), 7.2), sharey=True, squeeze=False
    )
    for ax, dtype in zip(axes[0], dtypes, strict=True):
        draw(ax, ratios(saved["results"], dtype), shapes, packages)
        ax.set_title(f"One EM step, {dtype}")
    axes[0, 0].set_yticks(*zip(*rows(shapes, packages), strict=True))
    axes[0, 0].set_ylim(len(shapes) * (len(packages) + 1.6) - 0.6, -1.3)
    machine = saved["machine"]
    figure.supxlabel(
        "times faster than scikit-learn, whose line is at 1 "
        f"({machine['machine']}, {machine['times']} times)",
        size=9,
    )
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def ratios(results, dtype):
    """Return by package and shape how many times faster a step is than the peer's."""
    steps = {
        (row["package"], row["shape"]): row["step"]
        for row in results
        if row["dtype"] == dtype and "step" in row
    }
    return {
        (package, shape): steps[REFERENCE, shape] / step
        for (package, shape), step in steps.items()
        if package != REFERENCE
    }


def place(i, j, n_packages):
    """Return where package j of shape i is drawn, from the top."""
    return i * (n_packages + 1.6) + j


def rows(shapes, packages):
    """Yield places and labels of all rows."""
    for i in range(len(shapes)):
        for j, package in enumerate(packages):
            yield place(i, j, len(packages)), package


def draw(ax, found, shapes, packages):
    """Draw the dots of a dtype, each with its number, and what failed in words."""
    for i, shape in enumerate(shapes):
        N, D, M, structure = parse_shape(shape)
        kind = "" if structure == "full" else f", {structure}"
        head = f"{N:,} samples, {D} features, {M} components{kind}"
        y = place(i, -0.95, len(packages))
        ax.text(0.55, y, head, size=8, weight="bold", va="center")
        for j, package in enumerate(packages):
            y, ratio = place(i, j, len(packages)), found.get((package, shape))
            if ratio is None:
                ax.text(1.1, y, "failed", size=8, color="0.35", va="center")
                continue
            colour = OURS if j == 0 else OTHERS
            ax.plot([1, ratio], [y, y], color=colour, linewidth=1)
            ax.plot(ratio, y, "o", color=colour, markersize=6)
            text = f"{ratio:.{0 if ratio >= 9.95 else 1}f}"
            ax.annotate(
                text,
                (max(ratio, 1.0), y),
                xytext=(7, 0),
                textcoords="offset points",
                size=8,
                va="center",
            )
    ax.axvline(1, color="0.5", linewidth=1)
    ax.set_xscale("log")
    ax.set_xlim(0.5, 300)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.spines[["top", "right", "left"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
