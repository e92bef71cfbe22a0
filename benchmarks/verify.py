"""Checks every claim of a record: its checksums, its sums, and its images against the models."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from attacks.attacked import Ended
from benchmarks import columns, durable
from benchmarks.baselines import BASELINES, Baseline, baseline_of
from benchmarks.findings import CLOSE, FAILS, HOLDS, SAME_MODEL, UNCHECKED, Finding
from benchmarks.reading import Record, read_blocks, read_record
from benchmarks.record_numbers import record_numbers
from benchmarks.verify_images import image_findings, reading_findings
from benchmarks.verify_sample import Again, Sample, draw_sample, sample_findings

_DIAGONAL = 2**0.5  # of the image, in its sides: no centre of mass moves farther

GetModel = Callable[[Mapping[str, object]], tuple[nn.Module, str]]
GetData = Callable[[Mapping[str, object]], Again]


def verify(
    path: Path,
    get_model: GetModel,
    *,
    get_data: GetData | None = None,
    batch_size: int | None = None,
) -> list[Finding]:
    """Check every claim of the record at ``path``.

    The whole file is read against its SHA-256 and the checksums of its blocks, and so are the
    cells in a folder beside it; every aggregate is computed anew from the per-image columns; the
    columns are checked against each other; every kept image is measured anew and given, in
    float32, to its model. Where the data can be loaded again, a sample of the clean, of the
    corrupted and of the probed images is classified anew too.

    Args:
        path: the record.
        get_model: gives the module of a model's description, as stored in the record's
            configuration, and its digest.
        get_data: gives the data of a record's configuration; it may raise ValueError or OSError if
            they are not to be had. None: nothing is claimed of data that are not in the record.
        batch_size: images per forward; None to choose by image size.

    Raises:
        ValueError: if the record is too damaged to be read (that it is damaged is then known).
        OSError: if it cannot be opened.
    """
    record = read_record(path)
    findings = [*_checksums(Path(path)), *_aggregates(record), *_consistency(record)]
    described = record.config["models"]
    if not isinstance(described, list) or len(described) != len(record.models):
        raise ValueError(f"{path} is damaged: its configuration describes other models")
    data, sample = _data(record, get_data)
    findings += [*data, *_corruptions(record), *_probes(record)]
    findings += _judge_findings(record, get_model, batch_size)
    for m, entry in enumerate(described):
        findings += _model_findings(record, m, entry, get_model, sample, batch_size)
    return findings


def _data(record: Record, get_data: GetData | None) -> tuple[list[Finding], Sample | None]:
    """Whether the data are there, and a sample of them."""
    if get_data is None:
        return [], None
    claim = "the data are those that were measured"
    try:
        again = get_data(record.config)
    except (ValueError, OSError, KeyError) as error:
        detail = f"they cannot be loaded: {' '.join(str(error).split())}"
        return [Finding(claim, UNCHECKED, detail)], None
    try:
        sample = draw_sample(record, again)
    except (ValueError, OSError) as error:
        return [Finding(claim, FAILS, " ".join(str(error).split()))], None
    detail = f"digest {again.examples.digest[:12]}; a sample of {len(sample.rows)} images"
    return [Finding(claim, HOLDS, detail)], sample


def _checksums(path: Path) -> list[Finding]:
    """Whether the file, and the cells that it was merged from, are as they were written."""
    claim = "the file is as it was written"
    try:
        blocks = f"{read_blocks(path)} datasets read, each block against its checksum"
    except OSError as error:
        return [Finding(claim, FAILS, " ".join(str(error).split()))]
    if durable.stored_checksum(path) is None:
        name = durable.checksum_path(path).name
        return [Finding(claim, UNCHECKED, f"{name} is not beside it; {blocks}"), *_cells(path)]
    return [Finding(claim, HOLDS, f"SHA-256 of the whole file; {blocks}"), *_cells(path)]


def _cells(path: Path) -> list[Finding]:
    folder = path.parent / "cells"
    if not folder.is_dir():
        return []
    files = sorted(folder.glob("*.h5"))
    bad = [file.name for file in files if not _holds(file)]
    claim = "the finished cells beside it are as they were written"
    if bad:
        detail = f"{len(bad)} of {len(files)} are damaged: {', '.join(bad[:3])}"
        return [Finding(claim, FAILS, detail)]
    return [Finding(claim, HOLDS, f"SHA-256 of {len(files)} files")]


def _holds(file: Path) -> bool:
    return durable.stored_checksum(file) == durable.sha256_file(file)


def _aggregates(record: Record) -> list[Finding]:
    """Whether each stored aggregate is what the per-image columns come to."""
    expected = record_numbers(record)
    wrong = sorted(set(record.aggregates) - set(expected))
    wrong += [
        f"{name} of {model}"
        for m, model in enumerate(record.models)
        for name, values in expected.items()
        if not _agrees(record.aggregates.get(name), values, m)
    ]
    claim = "the aggregates follow from the per-image data"
    if wrong:
        return [Finding(claim, FAILS, f"differ: {', '.join(wrong)}")]
    return [Finding(claim, HOLDS, f"{len(record.aggregates)} tables computed anew")]


def _agrees(stored: columns.Array | None, computed: columns.Array, m: int) -> bool:
    return (
        stored is not None
        and stored.shape == computed.shape
        and np.allclose(
            stored[m].astype(np.float64), computed[m], rtol=1e-9, atol=1e-12, equal_nan=True
        )
    )


def _consistency(record: Record) -> list[Finding]:
    """Whether the columns can be true together."""
    clean, found = record.clean, record.attacked
    finished = found["attacked"] != 255
    given = found["attacked"] == 1
    labels = np.broadcast_to(clean["label"][:, None], given.shape)
    prediction, target = found["prediction"], found["target"]
    aimed = np.where(target < 0, prediction != labels, prediction == target)
    sure = found["confidence"] >= np.nan_to_num(found["goal_confidence"])[..., None].astype("f4")
    passes = (found["steps"] >= 0) & (found["forwards"] >= 0) & (found["backwards"] >= 0)
    rules = {
        "right means that the clean prediction is the label": np.where(
            clean["right"] == 255, True, (clean["prediction"] == clean["label"]) == clean["right"]
        ),
        "only images that are right were attacked": ~given | (clean["right"] == 1)[:, None],
        "misclassified means that the prediction is not the label": ~finished
        | ((prediction != labels) == found["misclassified"]),
        "a success has the wrong class, or its target, at the confidence asked for": ~given
        | ((aimed & sure) == (found["success"] == 1)),
        "images that were not attacked are unchanged": ~finished
        | given
        | ((found["success"] == 0) & (found["steps"] == 0) & (found["linf"] == 0)),
        "counts are counts and ends are known": ~given
        | (passes & (found["l0"] >= 0) & (found["ended"] <= max(Ended))),
    }
    if record.judged:
        rules |= _judged_rules(record)
    rules["rank, loss and Brier score go with the prediction"] = _answers_fit(record)
    for made, what, labels in (
        (record.corrupted, "corrupted", clean["label"][:, None, None]),
        (record.probed, "probed", clean["label"][:, None]),
    ):
        if made:
            rules |= _made_rules(made, what, labels)
    if record.attention:
        rules |= _attention_rules(record)
    return [
        Finding(claim, HOLDS, f"on all {holds.size} entries")
        if holds.all()
        else Finding(claim, FAILS, f"not on {int((~holds).sum())} of {holds.size} entries")
        for claim, holds in rules.items()
        if holds.size
    ]


def _answers_fit(record: Record) -> NDArray[np.bool_]:
    """Whether rank, loss and Brier score can be those of the predicted class and its confidence.

    With p the probability of the label and c the confidence: the rank is 0 where the prediction is
    the label, and then p = c, else p <= c; the Brier score is (1 - p)² and the squares of the other
    probabilities, whose sum is 1 - p.
    """
    fits = []
    for group, labels in (
        (record.clean, record.clean["label"]),
        (record.attacked, record.clean["label"][:, None]),
        (record.corrupted, record.clean["label"][:, None, None]),
        (record.probed, record.clean["label"][:, None]),
    ):
        if not group:
            continue
        right = group["prediction"] == labels
        own, sure = np.exp(-group["loss"].astype(np.float64)), group["confidence"]
        least = (1 - own) ** 2
        fit = (group["rank"] == 0) == right
        fit &= np.where(right, np.abs(own - sure) <= CLOSE, own <= sure + CLOSE)
        fit &= (group["brier"] >= least - CLOSE) & (group["brier"] <= 2 * least + CLOSE)
        fits.append((fit | (group["prediction"] < 0)).ravel())
    return np.concatenate(fits)


def _judged_rules(record: Record) -> dict[str, NDArray[np.bool_]]:
    given, judged = record.attacked["attacked"] == 1, record.judged
    read = judged["prediction"] >= 0
    there = read.copy()
    for before in ("", "clean_"):
        sure = judged[f"{before}confidence"]
        there &= (judged[f"{before}prediction"] >= 0) & (sure > 0) & (sure <= 1)
    nothing = (judged["clean_prediction"] == -1) & np.isnan(judged["confidence"])
    nothing &= np.isnan(judged["clean_confidence"])
    rules = {"what the judge reads is there, original and result": np.where(read, there, nothing)}
    if record.config.get("joined") is None:  # a record that was joined need not have a judge
        rules["the judge has read what was attacked, and nothing else"] = read == given
    else:
        rules["the judge has read nothing but what was attacked"] = ~read | given
    return rules


def _made_rules(
    found: Mapping[str, columns.Array], what: str, labels: columns.Array
) -> dict[str, NDArray[np.bool_]]:
    """Of images that were ``corrupted`` or ``probed``."""
    finished = found["right"] != 255
    known = (found["prediction"] >= 0) & (found["confidence"] > 0) & (found["confidence"] <= 1)
    none = (found["prediction"] == -1) & np.isnan(found["confidence"])
    return {
        f"right on a {what} image means that the prediction is the label": ~finished
        | ((found["prediction"] == labels) == found["right"]),
        f"what finished of the {what} images is there, and nothing else": np.where(
            finished, known, none
        ),
    }


def _attention_rules(record: Record) -> dict[str, NDArray[np.bool_]]:
    found = record.attention
    shares, shifts, ranks = (
        found[name] for name in ("kept_mass", "centre_shift", "rank_correlation")
    )
    with_map = (shares >= 0) & (shares <= 1 + CLOSE) & (shifts >= 0) & (shifts <= _DIAGONAL + CLOSE)
    without = np.isnan(shares) & np.isnan(shifts) & np.isnan(ranks)
    return {
        "attention is measured on corrupted images of finished cells alone": (
            (found["defined"] == 255) | (record.corrupted["right"] != 255)
        ),
        "drift of attention is there where both maps have mass, and nowhere else": np.where(
            found["defined"] == 1, with_map & ~(np.abs(ranks) > 1), without
        ),
    }


def _corruptions(record: Record) -> list[Finding]:
    """What can be said of corrupted images, which a record does not hold."""
    if not record.corrupted:
        return []
    axes, listed = record.axes, record.config["corruptions"]
    entries = [each for each in (listed if isinstance(listed, list) else ()) if _named(each)]
    told = {(each["corruption"], each["severity"]) for each in entries}
    same = {name for name, _ in told} == set(axes.corruptions)
    same &= {severity for _, severity in told} == set(axes.severities)
    # A joined record need not have every corruption at every severity; what it has is told.
    measured = (record.corrupted["right"] != 255).any(axis=(0, 3))
    same &= all((axes.corruptions[k], axes.severities[s]) in told for k, s in np.argwhere(measured))
    detail = f"{len(axes.corruptions)} corruptions at {len(axes.severities)} severities"
    findings = [
        Finding("the corruptions are those of the configuration", HOLDS if same else FAILS, detail)
    ]
    baseline = baseline_of(record.config)
    if isinstance(baseline, Baseline):
        claim = f"the errors of {baseline.name}, the baseline, are those published"
        published = BASELINES.get(baseline.name)
        verdict = UNCHECKED if published is None else HOLDS if published == baseline else FAILS
        findings.append(Finding(claim, verdict, baseline.source))
    return findings + _unkept(record, "corrupted")


def _probes(record: Record) -> list[Finding]:
    """What can be said of probed images, which a record does not hold either."""
    if not record.probed:
        return []
    listed = record.config.get("probes")
    told = [each.get("spec") for each in (listed if isinstance(listed, list) else ())]
    verdict = HOLDS if told == list(record.probes) else FAILS
    claim, detail = "the probes are those of the configuration", f"{len(record.probes)} probes"
    return [Finding(claim, verdict, detail), *_unkept(record, "probed")]


def _unkept(record: Record, what: str) -> list[Finding]:
    detail = f"{what} images are not kept: at most a sample of them is made and classified anew"
    return [
        Finding(f"the predictions on {what} images", UNCHECKED, detail, model)
        for model in record.models
    ]


def _named(entry: object) -> bool:
    return isinstance(entry, Mapping) and {"corruption", "severity"} <= set(entry)


def _model_findings(
    record: Record,
    m: int,
    entry: Mapping[str, object],
    get_model: GetModel,
    sample: Sample | None,
    batch_size: int | None,
) -> list[Finding]:
    name = record.models[m]
    kept = [(a, record.images(m, a)) for a in range(len(record.attacks))]
    kept = [(a, images) for a, images in kept if len(images.rows)]
    findings = []
    for a, attack in enumerate(record.attacks):
        attacked = int((record.attacked["attacked"][m, a] == 1).sum())
        there = sum(len(images.rows) for b, images in kept if a == b)
        if there < attacked:
            findings.append(
                Finding(
                    "every attacked image is kept",
                    UNCHECKED,
                    f"{there} of {attacked} are; only these are measured and classified anew",
                    name,
                    attack,
                )
            )
    if not kept and sample is None:
        return findings
    loading, module = _loaded(entry, name, get_model)
    findings.append(loading)
    if module is None:
        return findings
    if sample is not None:
        findings += sample_findings(record, m, sample, module, batch_size)
    for a, images in kept:
        findings += image_findings(record, m, a, images, module, batch_size)
    return findings


def _judge_findings(record: Record, get_model: GetModel, batch_size: int | None) -> list[Finding]:
    """What the judge reads in the kept images, original and result, read anew."""
    entry = record.config.get("judge")
    if not record.judged or not isinstance(entry, Mapping):
        return []
    kept = [
        (m, a, images)
        for m in range(len(record.models))
        for a in range(len(record.attacks))
        if len((images := record.images(m, a)).rows)
    ]
    name = f"{record.judge} (judge)"
    if not kept:
        detail = "no image of an attack is kept: nothing is read anew"
        return [Finding("what the judge reads", UNCHECKED, detail, name)]
    loading, module = _loaded(entry, name, get_model)
    if module is None:
        return [loading]
    found = [
        finding
        for m, a, images in kept
        for finding in reading_findings(record, m, a, images, module, batch_size)
    ]
    return [loading, *found]


def _loaded(
    entry: Mapping[str, object], name: str, get_model: GetModel
) -> tuple[Finding, nn.Module | None]:
    """A model of the record, if it can be had and is the one that was measured."""
    try:
        description = entry["description"]
        if not isinstance(description, Mapping):
            raise ValueError("the record does not describe it")
        module, digest = get_model(description)
    except (OSError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())
        return Finding(SAME_MODEL, UNCHECKED, f"it cannot be loaded: {detail}", name), None
    if digest != entry["digest"]:
        detail = f"its digest is {digest[:12]}, the record's {str(entry['digest'])[:12]}"
        return Finding(SAME_MODEL, FAILS, detail, name), None
    return Finding(SAME_MODEL, HOLDS, f"digest {digest[:12]}", name), module
