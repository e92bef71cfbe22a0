"""`python -m workbench` and the `workbench` script."""

import sys

from workbench.app import run


def main() -> int:
    """Run the command line and return its exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
