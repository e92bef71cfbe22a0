"""Learning curves as a picture: error at the left, loss and learning rate at the right."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import durable
from workbench.figures import ruler, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = ("learning-curve.png", "learning-curve.svg")

DPI = 200
WIDTH, HEIGHT = 6.75, 2.5  # inches: two columns of a paper
LINE, MARGIN = 0.135, 0.08  # inches: a line of text, and what stays free at the edges
FONT, LARGE = 7.5, 9.0  # points
INK, FAINT = "#1a1a1a", "#808080"
TRAINING, HELD_OUT = "#0072b2", "#d55e00"  # Okabe & Ito 2008: told apart by all, and in grey
FEW = 12  # epochs up to which each is a dot
STEEP = 30  # largest by smallest loss from which on a logarithmic axis shows more

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """One training.

    Attributes:
        history: its epochs, as `benchmarks.history` takes them.
        kept: the number of the epoch whose weights are kept.
    """

    history: Sequence[Entry]
    kept: int

    @property
    def epochs(self) -> NDArray[np.float64]:
        """The numbers of the epochs, from 1."""
        return self.column("epoch")

    def column(self, name: str) -> NDArray[np.float64]:
        """One value an epoch, NaN where nothing was measured."""
        values = [entry[name] for entry in self.history]
        return np.array([math.nan if value is None else value for value in values], np.float64)


def save_learning_curve(folder: Path, curves: Sequence[Curve], title: str) -> None:
    """Write the pictures `PICTURES` into a folder, each whole or not at all.

    The same curves give the same bytes.

    Args:
        folder: it exists.
        curves: of one training, or of replicates, which are drawn thin below their mean.
        title: a heading; long ones are wrapped.

    Raises:
        OSError: one cannot be written.
    """
    from matplotlib import rc_context

    figure = draw_learning_curve(curves, title)
    settings: Any = {"svg.hashsalt": "workbench"}  # identifiers do not change from run to run
    for name in PICTURES:
        suffix = name.rpartition(".")[2]
        dated = {"Date": None} if suffix == "svg" else {}
        with (
            durable.atomically(folder / name) as temporary,
            rc_context(settings),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(temporary, format=suffix, dpi=DPI, metadata=dated)


def draw_learning_curve(curves: Sequence[Curve], title: str) -> "Figure":
    """Lay out the figure of `save_learning_curve`; no global state of matplotlib's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=DPI, facecolor="white")
    room = (WIDTH - 2 * MARGIN) * DPI
    heading = wrapped(title, room, 3, ruler(figure)(LARGE)) if title else []
    above = MARGIN + (len(heading) * 1.3 + 2.2) * LINE
    height = HEIGHT + above
    figure.set_size_inches(WIDTH, height)
    for number, text in enumerate(heading):
        figure.text(
            0.5, 1 - (MARGIN + number * 1.3 * LINE) / height, text, fontsize=LARGE, color=INK,
            ha="center", va="top", fontweight="bold", parse_math=False,
        )  # fmt: skip

    def panel(left: float, right: float) -> "Axes":
        bottom, top = 0.42, HEIGHT - 0.05
        box = (left / WIDTH, bottom / height, (right - left) / WIDTH, (top - bottom) / height)
        return figure.add_axes(box)

    errors, losses = panel(0.55, 3.1), panel(3.8, 6.05)
    rates = losses.twinx()
    losses.set_zorder(rates.get_zorder() + 1)  # the curves over the rate
    losses.patch.set_visible(False)
    marks = _draw_errors(errors, curves) + _draw_losses(losses, rates, curves)
    shown = {mark.get_label(): mark for mark in marks}
    figure.legend(
        handles=list(shown.values()),
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - (above - 1.9 * LINE) / height),
        ncols=len(shown),
        frameon=False,
        fontsize=FONT,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0,
    )
    return figure


def _draw_errors(axes: "Axes", curves: Sequence[Curve]) -> list[Any]:
    """Error in percent, the kept epochs marked; returns what the legend shows."""
    lines = _pair(axes, curves, "error", 100)
    _dress(axes, curves, "error (%)")
    axes.set_ylim(bottom=0)
    best = []
    for curve in curves:
        entry = curve.history[curve.kept - 1]
        kept = entry["error"] if entry["validation_error"] is None else entry["validation_error"]
        best += axes.plot(
            [entry["epoch"]], [100 * kept], linestyle="none", marker="o", zorder=4, clip_on=False,
            markersize=6 if len(curves) == 1 else 4, markerfacecolor="none",
            markeredgecolor=INK, markeredgewidth=0.9, label="epoch that is kept",
        )  # fmt: skip
    return lines + best


def _draw_losses(axes: "Axes", rates: "Axes", curves: Sequence[Curve]) -> list[Any]:
    """Loss, and the learning rate behind it on an axis of its own."""
    lines = _pair(axes, curves, "loss", 1)
    _dress(axes, curves, "loss (nats)")
    values = np.concatenate(
        [curve.column(name) for curve in curves for name in ("loss", "validation_loss")]
    )
    values = values[np.isfinite(values)]
    longest = max(curves, key=lambda curve: len(curve.history))
    if len(longest.history) > 1 and values.max() > STEEP * values.min() > 0:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, values.min()))
    rate = longest.column("lr")
    lines += rates.plot(
        longest.epochs, rate, color=FAINT, linewidth=0.8, linestyle=(0, (1, 1.5)),
        marker="x" if len(rate) == 1 else "", markersize=4, label="learning rate",
    )  # fmt: skip
    _dress(rates, curves, "learning rate", color=FAINT)
    rates.set_ylim(0, 1.12 * rate.max())  # apart from the first loss, which is often the highest
    rates.spines["right"].set_visible(True)
    return lines


def _pair(axes: "Axes", curves: Sequence[Curve], name: str, factor: float) -> list[Any]:
    """A measure in training and on the held-out images; of replicates the mean over each."""
    drawn: list[Any] = []
    for column, color, label in (
        (name, TRAINING, "training"),
        (f"validation_{name}", HELD_OUT, "held out"),
    ):
        given = [curve for curve in curves if np.isfinite(curve.column(column)).any()]
        if not given:
            continue
        style: dict[str, Any] = {
            "color": color,
            "linestyle": "-" if column != name else (0, (4, 1.2)),
            "marker": "." if max(len(curve.history) for curve in given) <= FEW else "",
            "markersize": 4 if len(curves) == 1 else 5,
        }
        if len(curves) == 1:
            values = factor * given[0].column(column)
            drawn += axes.plot(given[0].epochs, values, linewidth=1.3, label=label, **style)
            continue
        for curve in given:
            thin = style | {"marker": "" if len(curve.history) > 1 else ".", "markersize": 3}
            values = factor * curve.column(column)
            axes.plot(curve.epochs, values, linewidth=0.6, alpha=0.45, **thin)
        epochs = given[0].epochs
        mean = factor * np.mean([curve.column(column) for curve in given], axis=0)
        drawn += axes.plot(
            epochs, mean, linewidth=1.5, label=f"{label} (mean of {len(given)} seeds)", **style
        )
    return drawn


def _dress(axes: "Axes", curves: Sequence[Curve], label: str, color: str = INK) -> None:
    """Labels, ticks and frame."""
    from matplotlib.ticker import MaxNLocator

    last = max(len(curve.history) for curve in curves)
    axes.set_xlim(0.5 if last == 1 else 1 - 0.02 * (last - 1), 1.5 if last == 1 else 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=FONT, color=INK, labelpad=3)
    axes.set_ylabel(label, fontsize=FONT, color=color, labelpad=4)
    axes.tick_params(labelsize=FONT, width=0.6, length=3, color=color, labelcolor=color)
    axes.tick_params(axis="x", color=INK, labelcolor=INK)
    axes.yaxis.get_offset_text().set(size=FONT, color=color)
    if color == INK:
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.5)
        axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(linewidth=0.6, color=FAINT)
        spine.set_visible(side in ("left", "bottom"))
