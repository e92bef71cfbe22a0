"""Names and files, turned into labelled images with stable ids."""

from workbench.datasets.classes import Alignment, align, fit, select
from workbench.datasets.dataset import DataFacts, Dataset
from workbench.datasets.load import datasets, load_dataset

__all__ = [
    "Alignment",
    "DataFacts",
    "Dataset",
    "align",
    "datasets",
    "fit",
    "load_dataset",
    "select",
]
