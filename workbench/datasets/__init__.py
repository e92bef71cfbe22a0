"""Names and files, turned into labelled images with stable ids."""

from workbench.datasets.dataset import DataFacts, Dataset

__all__ = ["DataFacts", "Dataset"]
