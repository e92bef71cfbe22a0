"""The page of a report: what is in it, for whom it can be read, and what it says."""

import base64
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from measuring_case import conditions
from PIL import Image
from report_case import HOSTILE, broken, entry, measured, reported

from attacks.probes import resolve
from benchmarks import Condition, Record
from benchmarks.suite import Probed
from workbench.report.page import render
from workbench.report.provenance import provenance

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """What a page is made of: every tag with its attributes, and the text inside each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.unclosed: list[str] = []
        self.feed(html)
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    @property
    def words(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("style", "script"))


def page_of(record: Record, title: str = "A report") -> Page:
    origin = provenance(record, [record.path], "workbench report record.h5")
    return Page(render(reported(record), origin, title, None))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    names = ["blue", "red", "green", "grey"]
    return measured(tmp_path_factory.mktemp("record"), baseline="one", class_names=names)


@pytest.fixture(scope="module")
def page(record: Record) -> Page:
    return page_of(record)


def test_it_is_whole_and_has_every_section(page: Page) -> None:
    assert page.html.startswith("<!DOCTYPE html>")
    assert not page.unclosed
    sections = {"summary", "comparison", "attacks", "corruptions", "confidence", "classes"}
    assert sections | {"images", "warnings", "provenance"} <= set(page.ids)
    charts = {"robust-accuracy", "pixel-change", "pixels-over-threshold", "severity-curves"}
    assert charts | {"corruption-heat", "family-ratios", "reliability"} <= set(page.ids)


def test_it_asks_for_nothing_from_anywhere(page: Page) -> None:
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "data", "action", "poster", "srcset", "xlink:href"):
                assert value.startswith(("data:", "#")), (tag, name, value[:80])
    styles = " ".join(text for tag, text in page.texts if tag in ("style", "script"))
    assert "http" not in styles
    assert "@import" not in styles
    assert "url(" not in styles
    (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
    script = re.search(r"<script>(.*?)</script>", page.html, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_screen_reader_finds_its_way(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("main")) == len(page.all("nav")) == len(page.all("header")) == 1
    assert not [name for name, count in Counter(page.ids).items() if count > 1]
    links = [each["href"][1:] for each in page.all("a")]
    assert set(links) <= set(page.ids)
    labels = [each["aria-labelledby"] for _, each in page.tags if "aria-labelledby" in each]
    assert set(labels) <= set(page.ids)


def test_pictures_and_tables_say_what_they_are(page: Page) -> None:
    assert page.all("img")
    assert all(each["alt"] for each in page.all("img"))
    charts = [each for each in page.all("figure") if each.get("role") == "img"]
    assert charts
    assert all(re.search(r"\d", each["aria-label"]) for each in charts)
    assert all(each["aria-hidden"] == "true" for each in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table")) > 4
    assert all(each["scope"] in ("row", "col") for each in page.all("th"))


def test_names_from_a_record_are_only_text(tmp_path: Path) -> None:
    models = [entry(HOSTILE), entry("</style></script><img src=x onerror=alert(1)>", 9.0)]
    names = [HOSTILE, "<b>", "{{ 7 * 7 }}", "{% raw %}"]
    page = page_of(measured(tmp_path, models, class_names=names), title=HOSTILE)
    assert not page.unclosed
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("b")
    assert all("onerror" not in each for _, each in page.tags)
    assert all(each["src"].startswith("data:image/png;base64,") for each in page.all("img"))
    assert ("h1", HOSTILE) in page.texts
    assert "{{ 7 * 7 }}" in page.words


def test_attacks_alone(tmp_path: Path) -> None:
    page = page_of(measured(tmp_path, corruptions=()))
    assert "attacks" in page.ids
    assert not {"corruptions", "severity-curves", "corruption-heat"} & set(page.ids)
    assert "corruption" not in page.words.partition("Provenance")[0].lower()


def test_corruptions_alone_without_kept_images(tmp_path: Path) -> None:
    page = page_of(measured(tmp_path, attacks=(), save_images=0))
    assert "corruptions" in page.ids
    assert not {"attacks", "images", "attack-steps"} & set(page.ids)
    assert not page.all("img")
    assert "attack" not in page.words.partition("Provenance")[0].lower()


def test_probes_have_a_figure_and_a_table(tmp_path: Path) -> None:
    bound = [resolve("gaussian-noise(std=0.25)"), resolve("rotation(angle=180)")]
    probes = [Probed(each.spec, each.probe) for each in bound]
    record = measured(tmp_path, attacks=[], corruptions=(), probes=probes)
    page = page_of(record)
    assert "probes" in page.ids
    assert not {"attacks", "corruptions"} & set(page.ids)
    error = record.aggregates["probe_error"][0, 0]
    assert f"{100 * error:.1f}\u00a0%" in page.html
    assert "untouched and under 2 probes" in " ".join(text for _, text in page.texts)


def test_corrupted_images_without_clean_ones(tmp_path: Path) -> None:
    page = page_of(measured(tmp_path, attacks=(), clean=False))
    assert {"corruptions", "severity-curves"} <= set(page.ids)
    assert "classes" not in page.ids
    assert "untouched" not in page.words


def test_one_model_is_compared_with_nobody(tmp_path: Path) -> None:
    page = page_of(measured(tmp_path, [entry("only")]))
    assert "One model, only, was measured on 40 images" in page.words
    assert "family-ratios" not in page.ids
    assert "Holm" not in page.words
    assert "worst for" not in page.words
    assert "better" not in {text for tag, text in page.texts if tag == "span"}


def test_twenty_models_and_a_thousand_classes(tmp_path: Path) -> None:
    models = [entry(f"model-{n}", 3.0 + n / 4, 1000) for n in range(20)]
    names = [f"class {k}" for k in range(1000)]
    settings = {"attacks": conditions()[:1], "corruptions": ("fog",), "images": 20}
    page = page_of(measured(tmp_path, models, class_names=names, **settings))
    assert len(page.html) < 3e6
    assert {f"model-{n}" for n in range(20)} <= {text for tag, text in page.texts if tag == "th"}
    assert "classes" in page.ids


def test_what_failed_is_told_first(tmp_path: Path) -> None:
    record = measured(tmp_path, attacks=[Condition("broken", broken)], corruptions=("fog",))
    page = page_of(record)
    assert "4 parts of the run failed" in page.words
    assert "this attack is broken" in page.words.partition("Warnings")[2]
    assert "robust-accuracy" not in page.ids


def test_warnings_are_told_once_with_all_they_are_about(page: Page, record: Record) -> None:
    told = [text for tag, text in page.texts if tag == "li"]
    messages = {str(caution["message"]) for caution in record.cautions}
    assert messages
    for message in messages:
        written = f"{message[0].upper()}{message[1:]}".rstrip(".") + "."
        assert told.count(written) == 1


def test_the_summary_says_what_the_numbers_say(record: Record, page: Page) -> None:
    words = page.words.replace("\u00a0", " ")
    assert "2 models were measured on 40 images: untouched, under 3 attacks" in words
    errors = (record.corrupted["right"] == 0).mean(axis=(-1, -2))
    mce = 100 * (errors[1] / errors[0]).mean()
    best, worst = ("two", "one") if mce < 100 else ("one", "two")
    if mce != pytest.approx(100):
        assert f"mCE is best for {best}" in words
        assert f"and worst for {worst}" in words
        assert f"{mce:.1f} %" in words
    hardest = errors.mean(axis=0)
    title = ("Gaussian noise", "Fog", "Contrast")[int(hardest.argmax())]
    told = re.search(rf"The hardest corruption is {title} \(([\d.]+) % mean error", words)
    assert told
    assert float(told.group(1)) == pytest.approx(100 * hardest.max(), abs=0.0501)
    assert "40 images are few" in words
    assert "Each model was trained once" in words


def test_a_difference_is_called_shown_only_where_the_test_says_so(tmp_path: Path) -> None:
    same = page_of(measured(tmp_path / "same", [entry("a"), entry("b", 4.01)], attacks=()))
    assert "The difference is shown" not in same.words
    assert "20.0\u00a0% for all of them" in same.words  # clean error: every fifth label is wrong


def test_models_trained_on_test_corruptions_are_marked(tmp_path: Path) -> None:
    training = {"seed": 0, "trained_on_corruptions": ["fog"]}
    page = page_of(measured(tmp_path, [entry("a"), entry("seen", 9.0, training=training)]))
    named = [text for tag, text in page.texts if tag == "th" and text.startswith("seen")]
    assert named.count("seen\u00a0†") >= 3  # in every table that has a row of it
    assert "seen: trained on test corruptions (fog)" in page.words
    assert "was trained on corruptions of this very test" in page.words


def test_kept_images_are_in_the_page_pixel_by_pixel(record: Record, page: Page) -> None:
    kept = record.images(0, 0)
    pictures = [each["src"].partition(",")[2] for each in page.all("img")]
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as image:
        shown = np.asarray(image.convert("L"))
    grey = np.rint(np.clip(kept.original[0].mean(axis=0), 0, 1) * 255)  # two channels: their mean
    assert np.abs(shown - grey).max() <= 1


def test_the_same_record_gives_the_same_page(record: Record, page: Page) -> None:
    assert page_of(record).html == page.html


@pytest.mark.parametrize("edit", [lambda text: text.replace("e", "é"), lambda text: "模型" + text])
def test_names_of_other_scripts_stay(edit: Callable[[str], str], tmp_path: Path) -> None:
    name = edit("resnet")
    assert name in page_of(measured(tmp_path, [entry(name)], attacks=())).words


def test_provenance_tells_digests_and_how_to_repeat(record: Record, page: Page) -> None:
    assert "digest of one" in page.words
    assert str(record.config["examples"]["digest"]) in page.words  # type: ignore[index]
    assert f"workbench verify {record.path}" in page.words
    assert "its command is not known" in page.words
