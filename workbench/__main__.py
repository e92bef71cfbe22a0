"""`python -m workbench` and the `workbench` script."""

import os
import sys

from workbench.app import run
from workbench.interrupts import interrupt_again


def main() -> int:
    """Run the command line and return its exit code."""
    # Read by OpenMP when torch loads it. Threads that spin while they wait are slower by a factor
    # of two to eight where the cores are shared with anything else (resnet20(width=8), 2 cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.unraisablehook = interrupt_again
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
