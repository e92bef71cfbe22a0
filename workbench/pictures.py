"""From kept images to PNG panels: one for each model and attack."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import Record
from workbench.figures import Case, save_panel
from workbench.run_directory import slug
from workbench.tables import short_spec


def draw_pictures(
    record: Record, folder: Path, class_names: Sequence[str] | None, count: int
) -> tuple[Path, ...]:
    """Draw up to ``count`` kept images of each model under each attack; returns the files.

    Raises:
        OSError: a file cannot be written.
    """
    files = []
    stems = _stems(record.models)
    for m, model in enumerate(record.models):
        for a, attack in enumerate(record.attacks):
            cases = list(_cases(record, m, a, class_names, count))
            if cases:
                folder.mkdir(parents=True, exist_ok=True)
                name = attack.partition("(")[0]
                file = folder / f"{stems[m]}-{a + 1}-{slug(name)}.png"
                title = f"{model} under {short_spec(attack)}"
                title += f", judged by {record.judge}" if any(each.judged for each in cases) else ""
                save_panel(file, cases, title=title)
                files.append(file)
    return tuple(files)


def _stems(models: Sequence[str]) -> list[str]:
    """What the files of each model begin with; no two are alike, on any file system.

    >>> _stems(["a(b)", "a, b", "A b", "c"])
    ['a-b', 'a-b-2', 'A-b-3', 'c']
    """
    stems: list[str] = []
    taken: set[str] = set()
    for place, model in enumerate(models, 1):
        stem = slug(model, limit=100)
        while stem.casefold() in taken:
            stem = f"{stem}-{place}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _cases(
    record: Record, m: int, a: int, class_names: Sequence[str] | None, count: int
) -> Iterator[Case]:
    def name(index: int) -> str:
        return class_names[index] if class_names else str(index)

    clean, attacked = record.clean, record.attacked
    kept = record.images(m, a)
    for place, row in enumerate(kept.rows[:count].tolist()):
        before = name(clean["prediction"][m, row]), float(clean["confidence"][m, row])
        after = name(attacked["prediction"][m, a, row]), float(attacked["confidence"][m, a, row])
        read = None
        if record.judged and record.judged["prediction"][m, a, row] >= 0:
            said = (record.judged[each][m, a, row] for each in ("prediction", "confidence"))
            prediction, confidence = said
            read = name(int(prediction)), float(confidence)
        yield Case(
            kept.original[place],
            kept.result[place],
            before,
            after,
            truth=name(clean["label"][m, row]),
            steps=int(attacked["steps"][m, a, row]),
            success=bool(attacked["success"][m, a, row]),
            judged=read,
        )
