"""From names and files to frozen classifiers of images in [0, 1]."""

from workbench.models.architectures import architectures, build, timm_names
from workbench.models.checkpoints import read_checkpoint, save_checkpoint
from workbench.models.classifier import Classifier, check_images
from workbench.models.loading import LoadedModel, load_model, require_gradient, select_columns
from workbench.models.metadata import CheckpointMetadata
from workbench.models.options import ModelOptions
from workbench.models.sanity import Examination, examine, near_chance

__all__ = [
    "CheckpointMetadata",
    "Classifier",
    "Examination",
    "LoadedModel",
    "ModelOptions",
    "architectures",
    "build",
    "check_images",
    "examine",
    "load_model",
    "near_chance",
    "read_checkpoint",
    "require_gradient",
    "save_checkpoint",
    "select_columns",
    "timm_names",
]
