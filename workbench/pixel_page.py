"""A page that is drawn on in pixels, from its upper left corner."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PixelPage:
    """Texts, lines and images on a figure, each where it is asked for, to the pixel.

    All share one pair of axes: making a pair takes as long as drawing an image does.
    """

    def __init__(self, figure: "Figure", width: float, height: float) -> None:
        figure.set_size_inches(width / figure.dpi, height / figure.dpi)
        figure.suppressComposite = True  # an image in a PDF or SVG can be taken out of it
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.figure, self.width, self.height = figure, width, height

    def write(self, x: float, y: float, text: str, **settings: Any) -> None:
        """Write a text, never as mathematics; ``settings`` are those of matplotlib's."""
        place = x / self.width, 1 - y / self.height
        self.figure.text(*place, text, parse_math=False, **settings)

    def rule(self, start: tuple[float, float], end: tuple[float, float], **settings: Any) -> None:
        """Draw a straight line."""
        from matplotlib.lines import Line2D

        (left, high), (right, low) = start, end
        self.axes.add_line(Line2D((left, right), (high, low), **settings))

    def show(
        self,
        place: tuple[float, float],
        size: tuple[float, float],
        picture: NDArray[np.uint8],
        *,
        smooth: bool,
    ) -> None:
        """Show an image, uint8 (H, W) or (H, W, 3).

        Args:
            place: its upper left corner.
            size: its width and height on the page.
            picture: the image.
            smooth: whether pixels may be mixed where there is no room for each; else they are
                squares.
        """
        (left, top), (width, height) = place, size
        self.axes.imshow(
            # As RGB, because matplotlib's colour maps are one level off for some greys.
            np.dstack([picture] * 3) if picture.ndim == 2 else picture,
            extent=(left, left + width, top + height, top),
            aspect="auto",
            interpolation="antialiased" if smooth else "nearest",
        )

    def frame(self, place: tuple[float, float], size: tuple[float, float], **settings: Any) -> None:
        """Draw the outline of a box from its upper left corner."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle(place, *size, fill=False, **settings))
