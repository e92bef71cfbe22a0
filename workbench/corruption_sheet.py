"""One image under every corruption at every severity, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.console import Console
from workbench.contact_sheet import FORMATS, save_sheet
from workbench.corrupting import Request
from workbench.corruptions import check_images, make_recipes, parse_corruptions, parse_severities
from workbench.datasets import Dataset, load_dataset
from workbench.datasets.photographs import SUFFIXES, read_header
from workbench.devices import resolve_device
from workbench.errors import UsageError
from workbench.plugins import add_plugins

LARGEST = 224  # larger photographs are cut to this unless --input-size says otherwise


def draw_sheet(request: Request, path: Path, console: Console) -> None:
    """Draw the first image of the data, or an image file, corrupted in every way asked for.

    Raises:
        UsageError: there is no such image, or it is too small.
        OSError: the picture cannot be written.
    """
    add_plugins(["corruptions"], console)
    names = parse_corruptions(request.corruptions)
    severities = parse_severities(request.severities)
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--sheet {path}: the picture is a {', '.join(FORMATS)} file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--sheet {path}: there is no folder {path.parent}; create it first.")
    data = first_image(request, console)
    recipes = make_recipes(
        names,
        severities,
        seed=request.seed,
        strengths=request.strengths,
        exact=request.exact,
        textures=request.frost_textures,
        jpeg85=request.jpeg_85,
        device=resolve_device(request.device, request.threads),
    )
    check_images(recipes, data)
    image, ids = data.images(slice(0, 1)), data.ids(slice(0, 1))
    sheet: dict[str, list[Tensor]] = {name: [] for name in names}
    with console.progress(len(recipes), unit="images", description="corrupting") as progress:
        for recipe in recipes:
            sheet[recipe.corruption.name].append(recipe.pixels(image, ids)[0].cpu())
            progress.advance(1)
    save_sheet(path, (image[0] * 255).round().to(torch.uint8), sheet, severities, data.name)
    console.show(f"sheet: {path}")
    console.document(_document(path, data, {"corruptions": names, "severities": severities}))
    console.essential(str(path))


def first_image(request: Request, console: Console) -> Dataset:
    """The image to draw: an image file, which needs no label, or the first of the data."""
    options: dict[str, Any] = {
        "split": request.split,
        "download": request.download,
        "label": request.label,
        "classes": request.classes,
        "input_size": request.input_size,
        "channels": request.channels,
    }
    path = Path(request.data).expanduser()
    if path.suffix.lower() in SUFFIXES and path.is_file():
        options["label"] = "0"
        header = read_header(path)
        if request.input_size is None and min(header.width, header.height) > LARGEST:
            options["input_size"] = LARGEST
            console.note(
                f"{path.name} is {header.width}x{header.height}; its centre is drawn, "
                f"{LARGEST}x{LARGEST} as ImageNet is evaluated (--input-size)."
            )
    return load_dataset(request.data, **options)


def _document(path: Path, data: Dataset, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"sheet": str(path), "data": data.name, "size": list(data.size), **asked}
