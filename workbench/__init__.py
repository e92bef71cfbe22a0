"""Perturb images, measure what breaks, train something that breaks less: the application.

Importing this package loads neither torch nor anything else that is slow; `workbench.models` and
`workbench.datasets` do.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("adversarial-workbench")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
