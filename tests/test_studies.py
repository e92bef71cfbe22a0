"""`workbench study`: from a folder of files to steps that run once, and what is said when not."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from cli_case import refused, workbench
from study_case import NETS, STUDY, quadrants, toy

from workbench.app import app
from workbench.console import Console
from workbench.errors import Interrupted
from workbench.run_directory import RunDirectory
from workbench.studies.definitions import read_study, studies
from workbench.studies.filling import fill_values
from workbench.studies.running import Planned, filled_files, planned_steps, run_steps, write_files


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "nothing"))


# --- from the command line -------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_runs_its_steps_once_and_keeps_what_they_print() -> None:
    toy()
    quadrants()
    first = workbench("study", "toy")
    assert first.code == 0, first.err
    assert "Study toy, scale small: images 8, seeds 0" in first.err
    run = Path("runs/study-toy-small")
    table = (run / "printed" / "tables.txt").read_text(encoding="utf-8")
    assert table.startswith("\nStudy toy, scale small")
    assert "mlp(width=8), noisy" in table
    assert table in first.out
    assert not (run / "report.html").exists()  # that step is another scale's
    assert tomllib.loads((run / "nets.toml").read_text(encoding="utf-8"))["limit"] == 8

    written = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.suffix == ".h5"}
    again = workbench("study", "toy", "--json")
    assert again.code == 0, again.err
    assert [step["name"] for step in again.document["steps"]] == ["nets", "tables"]
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert again.err.count("finished before") == 2

    refused(workbench("study", "toy", "--set", "images=9"), "another configuration", "images")
    quiet = workbench("study", "toy", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, f"{run}\n", "")


@pytest.mark.slow
def test_a_scale_and_a_change_of_it_reach_the_suite_and_the_steps() -> None:
    toy()
    quadrants("elsewhere")
    result = workbench(
        "study", "toy", "--scale", "large", "--set", "images=10", "--data", "elsewhere", "-o", "o"
    )
    assert result.code == 0, result.err
    suite = tomllib.loads(Path("o/nets.toml").read_text(encoding="utf-8"))
    assert (suite["limit"], suite["models"][0]["seeds"]) == (10, [0, 1])
    title = "Study toy, scale large: images 10, seeds 0 + 1"
    assert title in Path("o/report.html").read_text(encoding="utf-8")
    assert len(list(Path("o/nets/models").iterdir())) == 4


def test_a_scales_own_text_may_name_data_and_the_title_leaves_paths_out() -> None:
    """Another data set at another scale, and a checkpoint that only one of them makes."""
    quadrants()
    text = STUDY.replace('"seconds"', '"seconds"\nsource = "$quadrants"\nstart = "$out/a.pt"', 1)
    folder = toy(text.replace("compare $out/nets", "attack $start --data $source", 1))
    plan = workbench("study", folder, "--output", "run", "--dry-run", "--json").document
    assert plan["steps"][1]["arguments"] == [
        *("attack", "run/a.pt", "--data", "data/quadrants.npz")
    ]
    assert plan["title"] == "Study toy, scale small: images 8, seeds 0"


def test_what_a_suite_says_of_threads_holds_unless_the_study_is_told_otherwise() -> None:
    toy(STUDY.replace("--threads 1", "--dry-run"), f"threads = 0\n{NETS}")  # so that it is seen
    quadrants()
    refused(workbench("study", "toy"), "--threads")
    told = workbench("study", "toy", "--threads", "1", "-o", "o")
    assert "step 2 of 2" in told.err


def test_missing_data_are_said_with_the_places_that_were_looked_into() -> None:
    toy()
    Path("data").mkdir()
    result = workbench("study", "toy")
    refused(result, "bright quadrants", "quadrants.npz or quadrants.zip", "data", "--data DIR")
    assert not Path("runs").exists()
    refused(workbench("study", "toy", "--data", "no"), "--data no: there is no such folder")


def test_a_dry_run_shows_the_steps_and_what_is_missing_and_writes_nothing() -> None:
    toy()
    result = workbench("study", "toy", "--dry-run")
    assert result.code == 0
    assert "Missing: bright quadrants" in result.out
    assert "workbench compare runs/study-toy-small/nets" in result.out
    assert not Path("runs").exists()
    document = workbench("study", "toy", "--scale", "large", "--dry-run", "--json").document
    assert [step["name"] for step in document["steps"]] == ["nets", "tables", "page"]
    assert document["data"] == {"quadrants": None}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["toyy"], "Unknown study 'toyy'"),
        (["no/such"], "a study is a folder with study.toml"),
        (["toy", "--scale", "smal"], "Did you mean 'small'?"),
        (["toy", "--set", "image=3"], "Did you mean 'images'?"),
        (["toy", "--set", "images"], "write NAME=VALUE"),
    ],
)
def test_what_there_is_not_is_refused_by_name(arguments: list[str], told: str) -> None:
    toy()
    quadrants()
    refused(workbench("study", *arguments), told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("page =", "pages =", "Unknown setting 'pages'. Did you mean 'page'?"),
        ('places = ["', 'places = "', "not valid TOML"),
        ('places = ["quadrants.npz", "quadrants.zip"]', "places = 3", "places is a list"),
        ('what = "bright', 'package = 3\nwhat = "bright', "package is a text"),
        ('what = "bright', 'name = 3\nwhat = "bright', "name is a text"),
        ("[data.quadrants]", "[data.out]", "$out is the workbench's own"),
        ("[data.quadrants]", "[data.images]", "images is a name of data already"),
        ("[data.quadrants]", "[data.bright-ones]", "letters, digits and underscores"),
        ("page = ", "told = [[1]]\npage = ", "told is a list"),
        ("page = ", "page = 3 #", "page is a text"),
        ("images = 8", "images = 1979-05-27", "images is a text, a number"),
        ("images = 8", "images = {a = 1}", "images is a text, a number"),
        ("images = 8", "images = nan", "images is a text, a number"),
        ("[[steps]]", "[[step]]", "Did you mean 'steps'?"),
        ('name = "tables"', 'name = "nets"', "'nets' and 'nets' need names that tell them apart"),
        ("run = ", "runs = ", "Unknown setting 'runs'. Did you mean 'run'?"),
        ('scales = ["large"]', 'scales = ["larger"]', "Did you mean 'large'?"),
        ('scales = ["large"]', "scales = 3", "scales is a list"),
        ("compare $out/nets", "compare $oud/nets", "Did you mean '$out'?"),
        ("compare $out/nets", "compare 'nets", "no command line"),
    ],
)
def test_a_mistake_in_a_study_is_told_before_anything_runs(old: str, new: str, told: str) -> None:
    assert old in STUDY
    toy(STUDY.replace(old, new))
    quadrants()
    refused(workbench("study", "toy"), told)


@pytest.mark.parametrize("steps", ["3", "[3]", "'abc'"])
def test_steps_that_are_none_are_refused(steps: str) -> None:
    toy(f"# What?\nsteps = {steps}\n[scales.small]\n")
    refused(workbench("study", "toy"), "toy/study.toml", "step")


@pytest.mark.parametrize("value", ["1979-05-27", "{a=1}", "[[{}]]", "inf"])
def test_a_value_that_no_command_line_has_is_refused(value: str) -> None:
    toy()
    quadrants()
    refused(workbench("study", "toy", "--set", f"images={value}"), "images is a text, a number")


def test_a_file_that_would_take_the_place_of_one_of_the_run_is_refused() -> None:
    (toy() / "config.json").write_text("{}", encoding="utf-8")
    quadrants()
    refused(workbench("study", "toy"), "config.json", "rename it")


def test_a_quiet_study_keeps_what_its_steps_print_and_says_its_path_alone() -> None:
    text = STUDY.replace("benchmark --suite $out/nets.toml --output $out/nets --threads 1", "x")
    text = text.replace('"x"', '"list suites"').replace("compare $out/nets", "list studies")
    toy(f"{text}[[claims]]\nsays = 'Noise helps'\nuntestable = 'no weights'\n")
    quadrants()
    quiet = workbench("study", "toy", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "runs/study-toy-small\n", "")
    loud = workbench("study", "toy", "-o", "o")
    assert "Study toy" in loud.err
    assert "Noise helps" in loud.out
    for name in ("nets.txt", "tables.txt", "claims.txt"):
        kept = [Path(run, "printed", name) for run in ("runs/study-toy-small", "o")]
        assert kept[0].read_bytes() == kept[1].read_bytes() != b""


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        (b"limit = '$image'", "Did you mean '$images'?"),
        (b"limit = '\xe9'", "not valid TOML"),
        (b"limit = $images +", "not valid TOML"),
    ],
)
def test_a_mistake_in_a_suite_is_told_before_anything_runs(suite: bytes, told: str) -> None:
    (toy() / "nets.toml").write_bytes(suite)
    quadrants()
    for more in ((), ("--dry-run",)):
        refused(workbench("study", "toy", *more), "nets.toml", told)
    assert not Path("runs").exists()


def test_a_study_may_be_mended_while_its_run_goes_on() -> None:
    """The claims are read anew, and a step whose suite or command has changed is run again."""
    steps = STUDY.replace(
        "benchmark --suite $out/nets.toml --output $out/nets", "list suites standard"
    )
    steps = steps.replace("--threads 1", "").replace("compare $out/nets", "compare nothing")
    toy(steps)
    quadrants()
    assert "nothing" in workbench("study", "toy").err
    toy(steps.replace("compare nothing", "list attacks"), NETS + "# more\n")
    mended = workbench("study", "toy")
    assert (mended.code, mended.err.count("finished before")) == (0, 0)
    toy(steps.replace("compare nothing", "list attacks") + "# done\n", NETS + "# more\n")
    again = workbench("study", "toy")
    assert (again.code, again.err.count("finished before")) == (0, 2)


@pytest.mark.slow
def test_an_error_in_a_step_names_the_step_and_leaves_the_others_done() -> None:
    toy(STUDY.replace("compare $out/nets", "compare $out/nets --baseline nobody"))
    quadrants()
    result = workbench("study", "toy")
    assert result.code == 2
    assert "That was step 2 of 2, tables" in result.err
    assert "nobody" in result.err[result.err.index("error:") :]
    done = json.loads(Path("runs/study-toy-small/steps.json").read_text(encoding="utf-8"))
    assert list(done) == ["nets"]


def test_studies_are_listed_with_a_line_each() -> None:
    listed = workbench("list", "studies", "--json").document["names"]
    assert listed.keys() == studies().keys()
    for name, summary in listed.items():
        shown = workbench("list", "studies", name)
        assert shown.code == 0
        assert shown.out.startswith(f"# {summary}")


# --- steps -----------------------------------------------------------------------------------


def steps_of(path: Path, codes: dict[str, int], files: str = "x") -> tuple[list[str], list[int]]:
    """Run steps that end with given codes; which were run, and what is known of each."""
    path.mkdir(exist_ok=True)
    ran: list[str] = []

    def run_verb(arguments: Sequence[str]) -> int:
        ran.append(arguments[0])
        return codes[arguments[0]]

    steps = [Planned(name, [name]) for name in codes]
    run = RunDirectory(path, resumed=False, command="workbench study x")
    ended = run_steps(steps, run, "title", files, run_verb, Console("quiet", silent=True))
    return ran, [step["code"] for step in ended]


def test_a_step_that_failed_in_part_is_tried_again_and_the_others_are_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert steps_of(run, {"a": 0, "b": 1, "c": 0}) == (["a", "b", "c"], [0, 1, 0])
    assert steps_of(run, {"a": 0, "b": 0, "c": 0}) == (["b"], [0, 0, 0])
    assert steps_of(run, {"a": 0, "b": 0, "c": 0}) == ([], [0, 0, 0])
    assert steps_of(run, {"a": 0, "b": 0}, files="others")[0] == ["a", "b"]
    assert steps_of(run, {"a": 0, "b": 0}, files="others")[0] == []
    (run / "steps.json").write_text("{", encoding="utf-8")
    assert steps_of(run, {"a": 0, "b": 0, "c": 0}) == (["a", "b", "c"], [0, 0, 0])


def test_ctrl_c_in_a_step_stops_the_study_and_that_step_is_run_again(tmp_path: Path) -> None:
    """A verb that says nothing of Ctrl-C itself ends with code 130, by typer."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted, match="In step 2 of 3, b: Interrupted"):
        steps_of(run, {"a": 0, "b": 130, "c": 0})
    assert steps_of(run, {"a": 0, "b": 0, "c": 0})[0] == ["b", "c"]


# --- ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", studies())
def test_every_step_of_our_studies_is_a_command_that_can_be_read(name: str) -> None:
    study = read_study(name)
    root = typer.main.get_command(app)
    commands, parent = root.commands, typer.Context(root)  # type: ignore[attr-defined]
    assert {"check", "small", "gpu", "full"} == set(study.scales)
    for scale, settings in study.scales.items():
        out = Path(f"out-{scale}")
        out.mkdir()
        data = {need.key: need.key for need in study.needs if scale in need.scales}
        known = {**data, "out": str(out), "scale": scale, "title": "T"}
        values = {**fill_values(settings, known, scale), **known}
        steps = planned_steps(study, scale, values)
        write_files(study, out, filled_files(study, steps, values))
        for step in steps:
            verb, *arguments = step.arguments
            commands[verb].make_context(verb, arguments, obj=step.arguments, parent=parent)
        names = [step.name for step in study.steps if scale in step.scales]
        assert len(names) == len(set(names))


def test_a_file_is_filled_in_only_where_a_step_names_it() -> None:
    text = STUDY.replace("images = 12\n", "images = 12\nepochs = 3\n")
    step = 'run = "compare $out/nets"'
    toy(text.replace(step, 'run = "compare $out/nets --config $out/more.toml"', 1))
    Path("toy/more.toml").write_text('[compare]\nsort = "$epochs"\n', encoding="utf-8")
    quadrants()
    refused(workbench("study", "toy", "--dry-run"), "Unknown name", "$epochs")
    assert workbench("study", "toy", "--scale", "large", "--dry-run").code == 0
    toy(text)
    assert workbench("study", "toy", "--dry-run").code == 0
