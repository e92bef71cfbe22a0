"""The rows of a comparison that claims name, however much of their settings is written."""

from collections.abc import Mapping, Sequence

from attacks.spec import Spec, defaults, parse
from benchmarks import Record
from benchmarks.replicates import Row
from defenses import DEFENSES
from workbench.errors import UsageError
from workbench.models.architectures import OURS
from workbench.option_texts import between_commas

UNDEFENDED = ("plain", "none")
_OF_DATA = {"channels", "classes", "input_size"}  # arguments that no person writes
_USUAL = {"cifar_stem": False}  # of architectures that are not ours


def find_row(text: str, record: Record, rows: Sequence[Row]) -> Row:
    """The row that a claim names.

    It is the one of that name, or the one that a model of that name is in, or else the one whose
    architecture and defenses are those in the text, ``mlp(width=50), noisy``: settings that are
    not written stand at their defaults or, where no such row is there, anywhere.

    Args:
        text: as it is written, ``architecture, defense, ...``, with ``plain`` for no defense.
        record: the rows' record.
        rows: see `benchmarks.replicates.rows`.

    Raises:
        UsageError: there is no such row, or there are several.
    """
    by_name = {record.models[m]: row for row in rows for m in row.models}
    by_name |= {row.name: row for row in rows}
    if text in by_name:
        return by_name[text]
    for loosely in (False, True):
        found = [row for row in rows if _fits(text, row, loosely=loosely)]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(f"'{row.name}'" for row in found)
            raise UsageError(f"'{text}' can be several rows of the record: {some}")
    raise UsageError(f"'{text}' is not in the record")


def _fits(text: str, row: Row, *, loosely: bool) -> bool:
    """Whether a row has the architecture and the defenses of a text."""
    if row.architecture is None:
        return False
    written = [each for each in between_commas(text) if each not in UNDEFENDED]
    own = [row.architecture, *row.defenses]
    return len(written) == len(own) and all(
        _means(mine, its, loosely=loosely) for mine, its in zip(written, own, strict=True)
    )


def _means(written: str, own: str, *, loosely: bool) -> bool:
    """Whether a spec means another: what is not written is at its default or, loosely, anywhere."""
    if written == own:
        return True
    try:
        mine, its = parse(written), parse(own)
    except ValueError:  # such as an architecture from a file
        return False
    if mine.name != its.name:
        return False
    usual = _defaults(its)
    whole = {**usual, **its.settings}
    return {**(whole if loosely else usual), **mine.settings} == whole


def _defaults(spec: Spec) -> Mapping[str, object]:
    """The settings of a defense or an architecture that nobody has to write."""
    if spec.name in DEFENSES:
        return defaults(DEFENSES[spec.name])
    if spec.name in OURS:
        usual = defaults(OURS[spec.name][1])
        return {key: value for key, value in usual.items() if key not in _OF_DATA}
    return _USUAL
