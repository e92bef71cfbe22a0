"""`--judge` on the command line: from a checkpoint to tables, JSON, pictures and reports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_case import ARCH, CLASSES, learnt, refused, task, workbench, write_checkpoint, write_data
from PIL import Image

from benchmarks import read_record
from workbench.errors import UsageError
from workbench.figures import Case, draw_panel
from workbench.judges import wanted_judge
from workbench.models import build


def write_judge(path: Path, scale: float = 1.5, columns: list[int] | None = None) -> Path:
    """The learnt network with its last layer scaled: another model of the same answers."""
    weights = dict(learnt())
    for name in list(weights)[-2:]:
        weights[name] = weights[name][columns or range(CLASSES)] * scale
    torch.save(weights, path)
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`net.pt`, `judge.pt` and `data.npz` in the current directory."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz")
    write_checkpoint(tmp_path / "net.pt")
    write_judge(tmp_path / "judge.pt")


def attack(*arguments: object, verb: str = "attack") -> Any:
    return workbench(verb, "net.pt", *ARCH, "--data", "data.npz", "-a", "fgsm(eps=0.5)", *arguments)


def test_a_judge_of_the_same_answers_believes_all_and_everything_says_so() -> None:
    result = attack("--judge", "judge.pt", "--output", "run", "--json")
    assert result.code == 0, result.err
    (found,) = result.document["results"]
    assert found["judge"] == "judge"
    assert found["succeeded"] == found["judged_successes"] == found["believed"] > 0
    assert found["believed_rate"] == 1.0
    people = attack("--judge", "judge.pt", "--output", "run")
    assert "read by judge:" in people.out
    assert f"{found['believed']}/{found['succeeded']} = 100.0%" in people.out
    assert len(list(Path("run/images").glob("*.png"))) == 1
    shown = workbench("show", "run", "--json").document
    assert shown["judge"]["name"] == "judge"
    assert shown["results"][0]["believed"] == found["believed"]
    assert "judge of attacks: judge" in workbench("show", "run").out
    compared = workbench("compare", "run")
    assert "believed by judge" in " ".join(compared.out.split())
    assert "neither way is better" in compared.out
    exported = workbench("export", "run")
    assert "believed_rate,1.0," in exported.out
    verified = workbench("verify", "run", "--json").document
    read = [each for each in verified["findings"] if each["claim"].startswith("what the judge")]
    assert verified["holds"]
    assert {each["verdict"] for each in read} == {"holds"}


def test_a_report_draws_what_is_believed() -> None:
    assert attack("--judge", "judge.pt", "--output", "run").code == 0
    result = workbench("report", "run", "--output", "report.html")
    assert result.code == 0, result.err
    page = Path("report.html").read_text()
    for text in ("Believability", "a model that was not attacked", "judge (judge)", "judge: "):
        assert text in page


def test_benchmark_and_a_suite_take_a_judge() -> None:
    Path("mine.toml").write_text(
        'attack = ["fgsm"]\neps = "1/2"\njudge = "judge.pt"\n[[models]]\ncheckpoint = "net.pt"\n'
    )
    common = (*ARCH, "--data", "data.npz", "--json")
    by_suite = workbench("benchmark", "--suite", "mine.toml", *common)
    assert by_suite.code == 0, by_suite.err
    by_flags = workbench(
        *("benchmark", "net.pt", "--corruptions", "none", "-a", "fgsm", "--eps", "1/2"),
        *("--judge", "judge.pt", *common),
    )
    for result in (by_suite, by_flags):
        assert result.document["results"][0]["believed_rate"] == 1.0
    told = workbench(
        "benchmark", "--suite", "mine.toml", *common[:-1], "--dry-run", "--output", "new"
    )
    assert "judge: judge" in told.out


def test_merged_runs_of_one_judge_keep_it_and_of_two_are_refused() -> None:
    write_judge(Path("other.pt"), 3.0)
    assert attack("--judge", "judge.pt", "--output", "a").code == 0
    second = ("--data", "data.npz", "-a", "pgd(eps=0.5)", *ARCH)
    assert workbench("attack", "net.pt", *second, "--judge", "judge.pt", "-o", "b").code == 0
    assert workbench("attack", "net.pt", *second, "--judge", "other.pt", "-o", "c").code == 0
    merged = workbench("merge", "a", "b", "--output", "both.h5")
    assert merged.code == 0, merged.err
    record = read_record(Path("both.h5"))
    assert record.judge == "judge"
    assert len(record.attacks) == 2
    assert (record.aggregates["believed_rate"] == 1).all()
    assert workbench("verify", "both.h5").code == 0
    refused(workbench("merge", "a", "c", "--output", "no.h5"), "judged by judge", "by other")


def test_another_judge_is_another_run() -> None:
    write_judge(Path("other.pt"), 3.0)
    assert attack("--judge", "judge.pt", "--output", "run").code == 0
    refused(attack("--judge", "other.pt", "--output", "run"), "run")
    refused(attack("--output", "run"), "run")
    again = attack("--judge", "judge.pt", "--output", "run", "--dry-run", "--json").document
    assert again["cells"] == again["finished"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--judge", "net.pt"), ("net.pt", "attacked itself")),
        (("--judge", "copy.pt"), ("The judge, copy, is net",)),
        (("--judge", "gone.pt"), ("gone.pt",)),
        (("--judge", "turned.pt"), ("turned has", "near chance", "--force")),
        (("--judge", "wide.pt"), ("wide",)),
        (("--judge-options", "arch=mlp"), ("--judge",)),
        (("--judge", "judge.pt", "--judge-options", "arc=mlp"), ("arc", "arch")),
        (("--judge", "judge.pt", "--judge-options", "bgr=perhaps"), ("true or false",)),
        (("--judge", "judge.pt", "--judge-options", "arch"), ("arch=VALUE",)),
        (("--judge", "judge.pt", "--judge-options", "arch=mlp(width=9)"), ("judge.pt",)),
    ],
)
def test_what_cannot_judge_is_refused(arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    write_checkpoint(Path("copy.pt"))
    write_judge(Path("turned.pt"), columns=[1, 2, 3, 0])
    network = build("mlp(width=16)", channels=1, classes=CLASSES, input_size=(12, 12))
    torch.save(network.state_dict(), "wide.pt")  # of images of another size
    refused(attack(*arguments), *parts)
    assert not Path("runs").exists()


def test_a_judge_near_chance_judges_where_it_is_forced_to() -> None:
    write_judge(Path("turned.pt"), columns=[1, 2, 3, 0])
    result = attack("--judge", "turned.pt", "--force", "--json")
    assert result.code == 0, result.err
    (found,) = result.document["results"]
    assert found["judge_wrong_before_rate"] == 1.0


def test_a_judge_that_numbers_the_classes_otherwise_is_refused() -> None:
    images, labels = task(24, seed=2)
    for label, image, number in zip(labels, images, range(24), strict=True):
        folder = Path("data", "abcd"[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    write_judge(Path("turned.pt"), columns=[3, 0, 1, 2])
    common = ("attack", "net.pt", *ARCH, "--data", "data", "-a", "fgsm(eps=0.5)")
    options = "arch=mlp(width=16), class-names=d,a,b,c, channels=1"
    result = workbench(*common, "--channels", 1, "--judge", "turned.pt", "--judge-options", options)
    refused(result, "turned numbers the classes", "it cannot judge")


def test_a_judge_has_flags_of_its_own_or_those_of_the_models() -> None:
    base: dict[str, Any] = {
        **dict.fromkeys(("arch", "mean", "std", "input_size", "channels", "num_classes")),
        **dict.fromkeys(("class_names", "probabilities", "judge_options")),
        **dict.fromkeys(("cifar_stem", "bgr", "scale255", "trust"), False),
        "judge": "b/net.pt",
    }
    shared = {**base, "arch": "resnet20", "mean": "0.5"}
    models = [("a/net.pt", "net")]
    judge = wanted_judge(shared, models, ["fgsm"])
    assert judge is not None
    assert (judge.name, judge.options.arch, judge.options.mean) == ("b/net", "resnet20", (0.5,))
    said = "arch=mlp(width=16, depth=2), mean=0.1,0.2,0.3, input-size=12, bgr=true"
    own = wanted_judge({**shared, "judge_options": said}, models, ["fgsm"])
    assert own is not None
    assert own.options.arch == "mlp(width=16, depth=2)"
    assert (own.options.mean, own.options.std) == ((0.1, 0.2, 0.3), None)
    assert (own.options.input_size, own.options.bgr) == (12, True)
    alone = wanted_judge({**shared, "judge_options": ""}, models, ["fgsm"])
    assert alone is not None
    assert (alone.options.arch, alone.options.mean) == (None, None)
    assert wanted_judge({**base, "judge": None}, models, ["fgsm"]) is None
    with pytest.raises(UsageError, match="reads what attacks make"):
        wanted_judge(base, models, None)


def test_a_panel_says_what_the_judge_reads_in_the_result() -> None:
    image = np.zeros((1, 8, 8), np.float32)
    cases = [
        Case(image, image, ("3", 0.9), ("5", 0.91), judged=("3", 0.6)),
        Case(image, image, ("3", 0.9), ("5", 0.91)),
    ]
    figure = draw_panel(cases)
    texts = [text.get_text() for text in figure.texts]
    assert "judge: 3" in texts
    assert "60 %" in texts
    assert "Judge: what a model" in " ".join(texts)
    assert "Judge" not in " ".join(text.get_text() for text in draw_panel(cases[1:]).texts)
