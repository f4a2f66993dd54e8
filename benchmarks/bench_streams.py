"""Peak memory and time of a fit to a file that is larger than the memory it may take.

    python benchmarks/bench_streams.py
    python benchmarks/bench_streams.py --gigabytes 1 --folder /tmp

A file of standard normal numbers, float64 in rows of 16, is written to the folder,
mapped by `numpy.memmap`, fitted with two iterations of EM from the start by k-means,
scored and labelled, in a process of its own. Peak memory is what is resident of the
whole process, with Python, torch and the pages of the map. The file is removed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from common import add_save, save

FEATURES = 16
METHODS = ("fit", "score", "predict")


def measure(path, n_components):
    """Return the peak of resident megabytes, and seconds, of each method."""
    from sklearn_keops_gmm import KeOpsGaussianMixture

    warnings.simplefilter("ignore")
    X = np.memmap(path, dtype=np.float64, mode="r").reshape(-1, FEATURES)
    model = KeOpsGaussianMixture(
        n_components, max_iter=2, tol=0.0, random_state=0, device="cpu"
    )
    found = {}
    for method in METHODS:
        Path("/proc/self/clear_refs").write_text("5")
        begin, wall = process_time(), perf_counter()
        getattr(model, method)(X)
        spent = process_time() - begin, perf_counter() - wall
        found[method] = peak(), *spent
    return found


def peak():
    """Return the peak of the resident memory of this process, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("VmHWM")


def write(path, gigabytes):
    """Write rows of random numbers; return how many."""
    generator = np.random.default_rng(0)
    n_rows, block = int(gigabytes * 1e9) // (8 * FEATURES), 2**18
    with path.open("wb") as file:
        for start in range(0, n_rows, block):
            rows = min(block, n_rows - start)
            generator.normal(size=(rows, FEATURES)).tofile(file)
    return n_rows


def main():
    """Run the benchmark, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    add_save(parser)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.components)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "samples"
        n_rows = write(path, arguments.gigabytes)
        size = path.stat().st_size / 1e6
        print(f"{n_rows} x {FEATURES}, {size:.0f} MB, M = {arguments.components}")
        command = [sys.executable, __file__, "--measure", str(path)]
        command += ["--components", str(arguments.components)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    for method, (memory, cpu, wall) in found.items():
        print(f"{method:<8} peak {memory:5.0f} MB  {cpu:6.1f} s cpu  {wall:6.1f} s")
    columns = "peak megabytes, processor seconds, wall-clock seconds"
    save(arguments.save, rows=n_rows, megabytes=size, columns=columns, methods=found)


if __name__ == "__main__":
    sys.exit(main())
