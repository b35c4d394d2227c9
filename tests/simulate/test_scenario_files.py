"""A scenario file says what a command line says; a result says which made it."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import tiny
from any_words import any_words
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import simulate
import traces
from model.calibration import dump
from simulate.cli import main
from simulate.scenario_file import file_options, tables

RECIPE = "synthetic:poisson,rate=1,n=20,prompt=100,output=5"

SCENARIO = f"""\
# What a person would write.
trace = "{RECIPE}"
calibration = "tiny.json"
draws = 0
slo = {{ttft = "1s", tpot = 0.05}}
replicas = 2
policy = [
  "fixed:1500",
  "min-energy",
]

[sweep]
prefill-mhz = [1000, 2000]
decode-mhz = "1000:2000:500"
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A directory with a calibration and a scenario, where commands run."""
    (tmp_path / "tiny.json").write_text(dump(tiny.calibration()))
    (tmp_path / "s.toml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


def refusal(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("error: ").strip()


LINE = (
    "--trace",
    RECIPE,
    *("--calibration", "tiny.json", "--draws", "0", "--slo", "ttft=1s,tpot=0.05"),
    *("--replicas", "2", "--policy", "fixed:1500", "--policy", "min-energy"),
)


def test_a_file_is_the_command_line_that_it_says(desk):
    assert run("--scenario", "s.toml", "--json").stdout == run(*LINE, "--json").stdout


def test_the_command_line_wins_over_the_file(desk):
    document = json.loads(run("--scenario", "s.toml", "--policy", "fixed:1250", "--json").stdout)
    assert document["words"]["policy"] == ["fixed:1250"]
    assert document["words"]["replicas"] == "2"


def test_a_table_says_what_only_its_command_takes(desk):
    (desk / "s.toml").write_text(SCENARIO + 'policy = "min-edp"\n')
    file = simulate.read_scenario_file(Path("s.toml"))
    swept = file.defaults_of(tables()["sweep"])
    assert (swept["prefill_mhz"], swept["decode_mhz"]) == ("1000,2000", "1000:2000:500")
    assert swept["policies"] == ("min-edp",)
    assert swept["replicas"] == "2"
    assert simulate.words_of(file)["policies"] == ("fixed:1500", "min-energy")
    ran = json.loads(run("sweep", "--scenario", "s.toml", "--jobs", "1", "--json").stdout)
    assert ran["axes"] == {"prefill-mhz": [1000, 2000], "decode-mhz": [1000, 1500, 2000]}
    assert [mark["policy"] for mark in ran["marks"]] == ["min-edp"]


def test_paths_are_seen_from_the_file(desk, monkeypatch):
    (desk / "own.py").write_text(
        (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().split("```")[1][len("python") :]
    )
    (desk / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n1,1,1\n")
    (desk / "s.toml").write_text(
        'trace = "t.csv"\ndraws = 0\npolicy = "single:tiny+own.py:Even:1500"\n'
        'group = ["a=tiny@tiny.json:1", "b=tiny@tiny.json:1,gpus=1"]\noutput = "out"\n'
    )
    (desk / "away").mkdir()
    monkeypatch.chdir(desk / "away")
    words = simulate.words_of(simulate.read_scenario_file(Path("../s.toml")))
    assert words["trace"] == "../t.csv"
    assert words["policies"] == ("single:tiny+../own.py:Even:1500",)
    assert words["groups"] == ("a=tiny@../tiny.json:1", "b=tiny@../tiny.json:1,gpus=1")
    assert words["calibration"] == "h100-sxm"
    run("--scenario", "../s.toml", "--policy", "fixed:1500")
    assert (desk / "out" / "summary.json").exists()
    (desk / "s.toml").write_text('trace = "synthetic:poisson,rate=1,n=5,lengths=t.csv"\n')
    words = simulate.words_of(simulate.read_scenario_file(Path("../s.toml")))
    assert words["trace"] == "synthetic:poisson,rate=1,n=5,lengths=../t.csv"
    # A file of that name where the command runs is not the one that the scenario names.
    (desk / "away" / "gone.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    (desk / "s.toml").write_text('trace = "gone.csv"\n')
    assert "../gone.csv: found no such file" in refusal("--scenario", "../s.toml")


WRONG = {
    "a misspelt key": ("draws", "drows", 'line 4: found "drows", which is no option; did you'),
    "a key of a command": ("draws = 0", 'prefill-mhz = "1"', "belongs into the table [sweep]"),
    "a key in the wrong table": (
        "prefill-mhz",
        "by",
        "in [sweep]; it belongs before all tables",
    ),
    "a misspelt table": ("[sweep]", "[sweeep]", 'line 12: found "sweeep", which is no option; did'),
    "a table of no command": ("[sweep]", "[reproduce]", "line 12: found"),
    "no number": ("draws = 0", 'draws = "x"', 'line 4: draws: found "x"; expected a whole number'),
    "a fraction": ("draws = 0", "draws = 0.5", "line 4: draws: found 0.5; expected a whole number"),
    "a truth": ("draws = 0", "draws = true", "line 4: draws: found true; expected a whole"),
    "no truth": ("draws = 0", "token-times = 1", "token-times: found 1; expected true or false"),
    "no choice": ("draws = 0", 'routing = "x"', "expected one of round-robin, least-outstanding,"),
    "a date": ("draws = 0", "model = 2026-11-01", 'line 4: model: found "2026-11-01"; expected'),
    "a null": ("draws = 0", r'output = "\u0000"', "line 4: output: found"),
    "nothing": ("draws = 0", "by = []", "line 4: by: found []; expected text"),
    "an empty table": ("draws = 0", "window = {}", "line 4: window: found {}; expected text"),
    "about the command line": ("draws = 0", 'scenario = "x"', 'line 4: found "scenario", which'),
    "out of range": ("draws = 0", "draws = -1", "line 4: --draws: found -1; expected 0 or more"),
    "no time": ('"1s"', '"soon"', "line 5: --slo ttft: found 'soon'; expected a time"),
    "a limit": ("draws = 0", "limit = 0", "line 4: limit: found 0, expected a number of queries"),
    "a factor": ("draws = 0", "rate-scale = -1", "line 4: rate scale: found -1"),
    "no policy": ("min-energy", "min-enrgy", "line 9: policy: unknown policy 'min-enrgy'"),
    "no trace": (RECIPE, "gone.csv", "line 2: trace: gone.csv: found no such file"),
    "no calibration": ("tiny.json", "none.json", "line 3: calibration: none.json: no such"),
    "a table within one": ("[sweep]", "[foo.bar]", 'line 12: found "foo", which is no option'),
    "a list of tables": ("[sweep]", "[[sweep]]", 'line 12: found "sweep", which is no option'),
    "a number for a name": (
        "draws = 0",
        "model = 7",
        "line 4: model: calibration tiny has no model",
    ),
    "a part of a text": (
        "draws = 0",
        'baseline = "fixed:x"',
        "line 4: baseline: policy fixed: fou",
    ),
    "no toml": ("draws = 0", "draws 0", "line 4, column 7: not TOML"),
}


@pytest.mark.parametrize("command", [("--scenario",), ("scenario", "check")], ids=["run", "check"])
@pytest.mark.parametrize(("old", "new", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_line_that_names_its_line(desk, command, old, new, says):
    assert old in SCENARIO
    (desk / "s.toml").write_text(SCENARIO.replace(old, new, 1))
    said = refusal(*command, "s.toml")
    assert said.startswith("s.toml: line ")
    assert says in said


def test_the_scenario_that_the_docs_show_is_right(desk):
    page = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    (desk / "shown.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    run("scenario", "check", "shown.toml")
    file = simulate.read_scenario_file(Path("shown.toml"))
    swept = file.defaults_of(tables()["sweep"])
    assert swept["grids"] == ("replicas=1:2", "rate-scale=1,2")
    assert swept["latency"] == "ttft_p95"


def test_what_the_command_line_says_is_not_blamed_on_the_file(desk):
    (desk / "s.toml").write_text(SCENARIO.replace("draws = 0", 'min-dwell = "1"\nby = "found"'))
    said = refusal("--scenario", "s.toml", "--draws", "-1", "--by", "model")
    assert said == "--draws: found -1; expected 0 or more"
    said = refusal("--scenario", "s.toml", "--limit", "0", "--by", "model")
    assert said == "limit: found 0, expected a number of queries >= 1"


def test_a_file_that_cannot_be_read(desk):
    assert refusal("--scenario", "gone.toml").startswith("gone.toml: no such scenario file; `simul")
    assert refusal("--scenario", ".") == ".: cannot be read: Is a directory"
    (desk / "s.toml").write_bytes(b"\xff")
    assert refusal("--scenario", "s.toml") == "s.toml: cannot be read: not UTF-8 text"


def test_a_group_without_a_command_prints_its_help(desk):
    done = CliRunner().invoke(main, ["scenario"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: ")
    assert "\n  init   Write one," in done.stderr


def test_check_says_what_a_file_says(desk):
    assert run("scenario", "check", "s.toml").stdout.splitlines() == [
        "s.toml is right. It says:",
        f"  simulate --trace {RECIPE} --calibration tiny.json --replicas 2 --slo ttft=1s,tpot=0.05"
        " --policy fixed:1500 --policy min-energy --draws 0",
        f"20 requests of {RECIPE}; replicas that serve: 2.",
    ]
    checked = json.loads(run("scenario", "check", "s.toml", "--json").stdout)
    assert checked["words"]["draws"] == 0
    (desk / "s.toml").write_text("limit = 5\n")
    assert "names no trace" in run("scenario", "check", "s.toml").stdout


@given(any_words())
def test_words_written_into_a_file_are_read_back(tmp_path_factory, words):
    path = tmp_path_factory.getbasetemp() / "words.toml"
    path.write_text(simulate.scenario_text(words), encoding="utf-8", newline="")
    assert simulate.words_of(simulate.read_scenario_file(path)) == words


def test_the_defaults_shown_in_a_fresh_file_are_the_defaults(tmp_path):
    text = simulate.scenario_text(simulate.default_words())
    assert tomllib.loads(text) == {"sweep": {}} | {table: {} for table in tables()}
    shown = re.sub(r"^# ([a-z-]+ = )", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "s.toml"
    kept = [
        row
        for row in shown.split("\n")
        if not re.search(r' = (\[?"[^"]*[A-Z|][^"]*"\]?|[A-Z]+)$', row)
    ]
    path.write_text("\n".join(kept))
    words = simulate.words_of(simulate.read_scenario_file(path))
    assert words == simulate.default_words()
    assert sum(" = " in row for row in kept) > 20


def test_every_option_has_its_line_and_its_help(desk):
    text = simulate.scenario_text(simulate.default_words())
    for table, command in (("", main), *tables().items()):
        place = text[text.index(f"[{table}]") :] if table else text
        for name, option in file_options(command).items():
            if table == "" or name not in file_options(main):
                assert re.search(rf"^# {name} = .", place, re.MULTILINE), (table, name)
                assert option.help.split()[0] in place


def test_init_turns_a_command_line_into_a_file_and_overwrites_none(desk):
    (desk / "sub").mkdir()
    run("scenario", "init", *LINE, "-o", "sub/new.toml")
    assert 'calibration = "../tiny.json"' in (desk / "sub" / "new.toml").read_text()
    assert run("--scenario", "sub/new.toml", "--json").stdout == run(*LINE, "--json").stdout
    said = refusal("scenario", "init", *LINE, "-o", "sub/new.toml")
    assert said.startswith("sub/new.toml: is there already")
    assert run("scenario", "init", *LINE).stdout == simulate.scenario_text(
        simulate.words_of(simulate.read_scenario_file(Path("s.toml")))
    )


def test_the_scenario_of_a_result_makes_the_same_result(desk):
    run(*LINE, "--warm-up", "2s", "-o", "out")
    run("scenario", "init", "--from", "out", "-o", "again.toml")
    run("--scenario", "again.toml", "-o", "again")
    for name in ("summary.json", "requests.parquet", "power.parquet"):
        assert (desk / "out" / name).read_bytes() == (desk / "again" / name).read_bytes()
    summary = json.loads((desk / "out" / "summary.json").read_text())
    run(*shlex.split(summary["command"])[1:], "-o", "third")
    assert json.loads((desk / "third" / "summary.json").read_text()) == summary


def test_a_result_says_the_versions_and_the_inputs_that_made_it(desk):
    summary = json.loads(run("--scenario", "s.toml", "--json").stdout)
    assert summary["schema_version"] == 2
    assert set(summary["versions"]) == {"phasewatt", "python", "numpy", "scipy", "simpy"}
    assert summary["calibration"]["digest"] == tiny.calibration().digest
    assert summary["trace"]["digest"] == traces.digest(traces.load(RECIPE))
    without = simulate.summary(
        simulate.compare(
            traces.load(RECIPE), tiny.calibration(), simulate.Scenario(("fixed:1500",), draws=0)
        )
    )
    assert without["words"] is None
    assert without["command"] is None


NO_SUMMARY = {
    "no json": ("{", "not JSON; expected a summary"),
    "an older one": ('{"schema_version": 1}', "holds no words"),
    "none": ('{"words": null}', "holds no words"),
    "an unknown word": ('{"words": {"drows": 1}}', "words: drows: no option 'drows'; did you mean"),
    "a wrong word": ('{"words": {"draws": "x"}}', "words: draws: --draws: 'x' is not a valid"),
    "no word": ('{"words": {"draws": null}}', "words: draws: found null; expected a whole number"),
}


@pytest.mark.parametrize(("text", "says"), NO_SUMMARY.values(), ids=NO_SUMMARY)
def test_what_is_no_summary_is_one_line(desk, text, says):
    (desk / "summary.json").write_text(text)
    said = refusal("scenario", "init", "--from", ".")
    assert said.startswith("summary.json: ")
    assert says in said
    assert "gone: cannot be read" in refusal("scenario", "init", "--from", "gone")


@given(st.data())
def test_the_digest_of_a_trace_changes_with_each_of_its_columns(data):
    trace = traces.Trace(
        "a",
        [0.0, 1.0],
        [1, 2],
        [3, 4],
        task=["x", None],
        quality={"m": [0.5, 1.0]},
        priority=[1, 2],
        block_hashes=[[1, 2], [3]],
    )
    same = trace.renamed("b", traces.Source("other", "", "user"))
    assert traces.digest(same) == traces.digest(trace)
    changes = {
        "arrival_s": [0.0, 1.5],
        "prompt_tokens": [1, 3],
        "output_tokens": [3, 5],
        "task": ["", "x"],
        "query_id": ["x", None],
        "quality": {"n": [0.5, 1.0]},
        "priority": None,
        "block_hashes": [[1], [2, 3]],
    }
    name = data.draw(st.sampled_from(sorted(changes)))
    columns = {
        column: getattr(trace, column)
        for column in ("name", "arrival_s", "prompt_tokens", "output_tokens", *changes)
    }
    assert traces.digest(traces.Trace(**columns)) == traces.digest(trace)
    assert traces.digest(traces.Trace(**(columns | {name: changes[name]}))) != traces.digest(trace)
