"""Perturb images, measure what breaks, train something that breaks less: the application.

Importing this package loads neither torch nor anything else that is slow; `workbench.models` and
`workbench.datasets` do.
"""


def __getattr__(name: str) -> str:
    """The version as ``__version__``, looked up when asked for: the look-up takes 30 ms."""
    if name != "__version__":
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("adversarial-workbench")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
