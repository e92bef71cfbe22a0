"""Peak memory of corrupting many 32x32 images: 10,000 in one run, 50,000 in another.

Each run is a process of its own that streams images from a file, corrupts them with all of the 15
corruptions at severity 3 and writes a CIFAR-C set. Printed is each one's peak resident memory.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COUNTS = (10_000, 50_000)


def peak(count: int, folder: Path) -> float:
    """Peak resident memory in MB of `workbench corrupt` over ``count`` images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    source = folder / f"{count}.npz"
    np.savez(source, images=images, labels=rng.integers(0, 10, count))
    command = [
        sys.executable, "-m", "workbench", "corrupt", str(source), "--layout", "cifar-c",
        "--output", str(folder / f"out-{count}"), "--quiet",
    ]  # fmt: skip
    code = f"import subprocess, resource; subprocess.run({command!r}, check=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {count: peak(count, Path(folder)) for count in COUNTS}
    for count, megabytes in found.items():
        print(f"{count:6d} images of 32x32, 15 corruptions x 5 severities: peak {megabytes:.0f} MB")
    few, many = found.values()
    print(f"difference: {many - few:.0f} MB")


if __name__ == "__main__":
    main()
