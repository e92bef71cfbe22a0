"""Puts a report together: which parts there are, and the HTML file they become."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from benchmarks import Record
from workbench.drawing.charts import Chart, words
from workbench.drawing.looks import COLOURS
from workbench.drawing.marks import svg
from workbench.drawing.panels import panel_drawing, swatch
from workbench.report import summary
from workbench.report.attack_charts import (
    belief_chart,
    change_chart,
    probe_chart,
    robust_chart,
    steps_chart,
    threshold_chart,
)
from workbench.report.attention_views import attention_chart, attention_tables, undefined_note
from workbench.report.class_views import worst_classes
from workbench.report.confidence_views import calibration_tables, reliability_chart
from workbench.report.corruption_charts import (
    heat_chart,
    ratio_chart,
    severity_chart,
    shape_table,
)
from workbench.report.exhibitions import Exhibition
from workbench.report.galleries import galleries
from workbench.report.provenance import Provenance
from workbench.report.rows import Row, rows_of
from workbench.report.tables import (
    Table,
    attack_tables,
    corruption_table,
    heat_table,
    overview,
    probe_table,
)
from workbench.tables import short_spec

SHAPES = (
    "How error rises over severity, named by rules on the drop from clean images; below the name, "
    "the drop at the highest severity. “unclear”: fewer than half the resamples of the images get "
    "the same name. Two names: replicates differ."
)
CALIBRATION = (
    "ECE: how far accuracy is from confidence, over 15 bins (0 is best; chance alone keeps it "
    "above). Brier score: squared distance of the probabilities from the truth, 0 to 2. AURC: mean "
    "error of the answers that are kept if the least confident are rejected, however many."
)
CLASSES = (
    "The ten classes with the highest error on average over the models, and what they are mostly "
    "mistaken for, in % of the answers to images of the class."
)
MOST_NAMED = 6  # models a warning names one by one


@dataclass(frozen=True)
class Block:
    """A piece of a part: a chart, or tables under a heading."""

    chart: Chart | None = None
    title: str = ""
    note: str = ""
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Part:
    """A section of the report."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """All that a report shows.

    Attributes:
        rows: see `workbench.report.rows`.
        parts: the sections between comparison and images.
    """

    record: Record
    comparison: Mapping[str, Any]
    rows: tuple[Row, ...]
    parts: tuple[Part, ...]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every figure, in order."""
        return tuple(b.chart for part in self.parts for b in part.blocks if b.chart is not None)


def report_of(record: Record, comparison: Mapping[str, Any]) -> Report:
    """Decide what a record has to show; what there is nothing of is left out."""
    rows = rows_of(record, comparison)
    corrupted, classes = corruption_table(comparison, rows), worst_classes(record, rows)
    shape = shape_table(record, rows)
    shapes = (shape,) if shape else ()
    attacks = tuple(attack_tables(comparison, rows))
    parts = (
        Part(
            "attacks",
            "Under attack",
            _blocks(
                robust_chart(comparison, rows),
                change_chart(comparison, rows),
                belief_chart(record, comparison, rows),
                threshold_chart(comparison, rows),
                steps_chart(record, rows),
                Block(title="Each attack in numbers", tables=attacks),
            ),
        ),
        Part(
            "corruptions",
            "Under corruptions",
            _blocks(
                severity_chart(record, rows),
                Block(title="Shapes of the curves", note=SHAPES, tables=shapes),
                heat_chart(record, rows),
                ratio_chart(record, rows),
                Block(title="Families and means", tables=(corrupted,) if corrupted else ()),
            ),
        ),
        Part(
            "probes",
            "Under probes",
            _blocks(probe_chart(comparison, rows), _probes(comparison, rows)),
        ),
        Part("attention", "Attention", _attention(record, rows)),
        Part(
            "confidence",
            "Confidence",
            _blocks(
                reliability_chart(record, rows),
                Block(
                    title="Calibration and failure prediction",
                    note=CALIBRATION,
                    tables=calibration_tables(record, rows),
                ),
            ),
        ),
        Part(
            "classes",
            "Classes",
            _blocks(
                Block(title="Worst classes", note=CLASSES, tables=(classes,) if classes else ())
            ),
        ),
    )
    return Report(record, comparison, rows, tuple(part for part in parts if part.blocks))


def render(
    report: Report,
    origin: Provenance,
    title: str,
    made: datetime | None,
    shown_besides: Sequence[Exhibition] = (),
) -> str:
    """The HTML page: one file with all it needs in it.

    Args:
        report: see `report_of`.
        origin: where the numbers come from.
        title: the heading.
        made: when, which it says; None: nothing is said. All else depends on the record alone.
        shown_besides: exhibits of other runs, which become parts of their own.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from workbench import __version__

    record, rows = report.record, report.rows
    shown = galleries(record, rows)
    told = _warnings(record)
    contents = [("summary", "Summary"), ("comparison", "Comparison")]
    contents += [(part.id, part.title) for part in report.parts]
    contents += [(each.id, each.title) for each in shown_besides]
    contents += [("images", "Images")] if shown else []
    contents += [("warnings", "Warnings")] if told else []
    contents += [("provenance", "Provenance")]
    here = files("workbench.report")
    script = here.joinpath("page.js").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(here.joinpath("page.html.jinja").read_text("utf-8"))
    return template.render(
        title=title,
        version=__version__,
        made=made.isoformat(" ", "minutes") if made else "",
        css=Markup(here.joinpath("page.css").read_text("utf-8")),
        js=Markup(script),
        # The page may run this script alone, and may ask for nothing from any place.
        js_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        colours=len(COLOURS),
        rows=rows,
        swatches=[Markup(svg(swatch(row.place), page=True)) for row in rows],
        measured=summary.what_was_measured(record, rows, origin.data),
        findings=summary.findings(record, report.comparison, rows),
        cautions=summary.cautions(record, rows),
        contents=contents,
        overview=overview(report.comparison, rows),
        parts=[_part(part, rows) for part in report.parts],
        exhibitions=shown_besides,
        galleries=shown,
        warnings=told,
        provenance=origin,
    )


def _probes(comparison: Mapping[str, Any], rows: Sequence[Row]) -> Block:
    table = probe_table(comparison, rows)
    return Block(title="Each probe in numbers", tables=(table,) if table else ())


def _attention(record: Record, rows: Sequence[Row]) -> tuple[Block, ...]:
    if not record.attention:
        return ()
    tables = attention_tables(record, rows)
    numbers = Block(title="How far it moves", note=undefined_note(record), tables=tables)
    return _blocks(attention_chart(record, rows), numbers)


def _blocks(*given: Chart | Block | None) -> tuple[Block, ...]:
    blocks = (Block(each) if isinstance(each, Chart) else each for each in given if each)
    return tuple(block for block in blocks if block.chart or block.tables)


def _part(part: Part, rows: Sequence[Row]) -> dict[str, Any]:
    """A part as the template takes it."""
    return {
        "id": part.id,
        "title": part.title,
        "blocks": [_block(block, rows) for block in part.blocks],
    }


def _block(block: Block, rows: Sequence[Row]) -> dict[str, Any]:
    chart = block.chart
    if chart is None:
        return {"chart": None, "heat": None, "title": block.title, "note": block.note,
                "tables": block.tables}  # fmt: skip
    told: dict[str, Any] = {"name": chart.name, "title": chart.title, "note": chart.note}
    if chart.heat is not None:
        told["table"] = heat_table(chart.heat, rows)
        return {"chart": None, "heat": told, "tables": ()}
    told |= {
        "legend": chart.has_legend,
        "narrow": chart.narrow,
        "panels": [
            {
                "title": panel.title,
                "words": words(panel, rows),
                "svg": svg(panel_drawing(panel, rows, narrow=chart.narrow), page=True),
            }
            for panel in chart.panels
        ],
    }
    return {"chart": told, "heat": None, "tables": ()}


def _warnings(record: Record) -> list[dict[str, str]]:
    """Failures first, then cautions; each text once, with what it is about."""
    grouped: dict[str, list[str]] = {}
    for failure in record.failures:
        images = f"images {failure['start']} to {int(str(failure['stop'])) - 1}"
        what = _sentence(f"failed: {' '.join(str(failure['reason']).split())}")
        grouped.setdefault(what, []).append(f"{_where(failure)} ({images})")
    for caution in record.cautions:
        grouped.setdefault(_sentence(str(caution["message"])), []).append(_where(caution))
    return [{"what": what, "where": _some(where)} for what, where in grouped.items()]


def _where(entry: Mapping[str, Any]) -> str:
    """The model and the condition of a caution or failure."""
    if entry.get("attack"):
        return f"{entry['model']} under {short_spec(str(entry['attack']))}"
    if entry.get("corruption"):
        return f"{entry['model']} under {entry['corruption']} {entry['severity']}"
    if entry.get("probe"):
        return f"{entry['model']} under {entry['probe']}"
    return f"{entry['model']} on clean images"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _some(places: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(places))
    more = len(distinct) - MOST_NAMED
    return "; ".join(distinct[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
