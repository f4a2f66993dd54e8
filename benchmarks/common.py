"""What the benchmarks share: the machine that figures belong to, and their files."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from threadpoolctl import threadpool_info


def describe_machine():
    """Return the versions and the machine that figures belong to."""
    packages = ("sklearn-keops-gmm", "scikit-learn", "pykeops", "torch", "numpy")
    blas = [
        f"{info['internal_api']} {info['version']} ({info.get('architecture', '')}, "
        f"{info['num_threads']} threads)"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "machine": f"{processor_name()}, {os.cpu_count()} cores",
        "blas": ", ".join(blas),
        "torch threads": torch.get_num_threads(),
        "CUDA": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor_name():
    """Return the name of the processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def add_save(parser):
    """Let a command line say where to save what was measured."""
    parser.add_argument("--save", type=Path, metavar="FILE", help="write JSON there")


def save(file, **content):
    """Write what was measured, and on what machine, if a file was named."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": describe_machine()} | content
        file.write_text(json.dumps(content, indent=1) + "\n")
