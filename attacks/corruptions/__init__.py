"""The common corruptions of ImageNet-C: batched, seeded per image, on any device.

Source: Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019. A new corruption is one `Corruption` in the file of its family.
"""

from attacks.corruptions import blur, digital, extra, noise, weather
from attacks.corruptions.corrupt import corrupt
from attacks.corruptions.corruption import (
    SEVERITIES,
    SIZES,
    SMALLEST,
    Corruption,
    strength_size,
)

_FAMILIES = (noise, blur, weather, digital, extra)

CORRUPTIONS: dict[str, Corruption] = {
    corruption.name: corruption for family in _FAMILIES for corruption in family.CORRUPTIONS
}
"""Every corruption by its published name, in the order of the literature."""

STANDARD = tuple(name for name, each in CORRUPTIONS.items() if each.family != "extra")
"""The 15 that mCE is the mean over."""

EXTRA = tuple(name for name, each in CORRUPTIONS.items() if each.family == "extra")
"""The 4 that were published for validation."""

GROUPS: dict[str, tuple[str, ...]] = {
    "standard": STANDARD,
    "extra": EXTRA,
    "all": tuple(CORRUPTIONS),
} | {
    family: tuple(name for name in STANDARD if CORRUPTIONS[name].family == family)
    for family in ("noise", "blur", "weather", "digital")
}
"""What stands for several corruptions: the groups of the literature, and the families."""

__all__ = [
    "CORRUPTIONS",
    "EXTRA",
    "GROUPS",
    "SEVERITIES",
    "SIZES",
    "SMALLEST",
    "STANDARD",
    "Corruption",
    "corrupt",
    "strength_size",
]
