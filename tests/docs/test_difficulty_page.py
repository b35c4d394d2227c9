"""What docs/difficulty.md says in its prose is what the shipped results say, and the goals hold."""

from pathlib import Path

import pytest

from calibrate.difficulty.results import results_of
from model.difficulty.features import DEFAULT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "difficulty.md"
LLAMAS = ("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
PAIRS = (LLAMAS[0:3:2], LLAMAS[1:3], LLAMAS[2:4])


@pytest.fixture(scope="module")
def cascades():
    return results_of("cascades", DEFAULT, [], None, 0, 0)


@pytest.fixture(scope="module")
def routellm():
    return results_of("routellm", DEFAULT, [], None, 0, 0)


def right(study, method, model, view="pooled"):
    wanted = (method, model, view)
    return next(r for r in study["right"] if (r["method"], r["model"], r["view"]) == wanted)


def gain(study, method, pair, view="pooled"):
    wanted = (method, *pair, view)
    keys = ("method", "small", "large", "view")
    return next(row for row in study["gain"] if tuple(row[key] for key in keys) == wanted)


def row_of(name):
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize(("model", "goal"), list(zip(LLAMAS, (0.62, 0.66, 0.71), strict=False)))
def test_auc_of_right(cascades, model, goal):
    ours = right(cascades, "ours + task", model)
    unseen = right(cascades, "ours", model, "unseen")
    identity = right(cascades, "task identity", model)
    figures = ours["auc"], identity["auc"], ours["auc_within"], unseen["auc_within"]
    assert ours["auc"] >= goal
    assert row_of(f'AUC of "{model}') == [f"{goal:.2f}", *(f"{each:.3f}" for each in figures)]


def test_calibration(cascades):
    def worst(view, *methods):
        return max(
            right(cascades, method, model, view)["calibration_error"]
            for method in methods
            for model in LLAMAS
        )

    ours, identity = worst("pooled", "ours", "ours + task"), worst("pooled", "task identity")
    unseen = worst("unseen", "ours")
    assert ours <= 0.03
    cells = row_of("worst calibration error")
    assert cells == ["at most 0.03", f"{ours:.3f}", f"{identity:.3f}", "", f"{unseen:.3f}"]
    assert f"off by up to\n{unseen:.2f}" in PAGE.read_text()


def test_routing_goals(cascades, routellm):
    text = gain(cascades, "ours", PAIRS[2])["apgr"]
    unseen = gain(cascades, "ours", PAIRS[2], "unseen")["apgr"]
    sure = gain(cascades, "ours + task + confidence", PAIRS[2])["apgr"]
    identity = f"{gain(cascades, 'task identity', PAIRS[2])['apgr']:.3f}"
    assert text >= 0.62
    assert sure >= 0.74
    cells = row_of("APGR, 8B to 70B, text alone")
    assert cells == ["0.62", f"{text:.3f}", identity, "", f"{unseen:.3f}"]
    cells = row_of("APGR, 8B to 70B, text, task")
    assert cells == ["0.74", f"{sure:.3f}", identity, "", ""]
    few = routellm["few_labels"]
    mean = sum(few["apgr"]) / len(few["apgr"])
    assert few["labels"] == 1500
    assert mean >= 0.62
    assert row_of("APGR of `routellm`")[1] == f"{mean:.3f}"


def test_the_first_lines_say_how_little_is_known_of_unseen_tasks(cascades):
    found = [right(cascades, "ours", model, "unseen")["auc_within"] for model in LLAMAS]
    said = f"is {min(found):.2f} to {max(found):.2f}, where 0.5 is chance"
    assert said in PAGE.read_text()
    assert PAGE.read_text().index(said) < 300


def test_the_share_that_is_the_task(cascades):
    def share(model):
        ours, task = (
            right(cascades, name, model)["auc"] for name in ("ours + task", "task identity")
        )
        return (task - 0.5) / (ours - 0.5)

    assert share(LLAMAS[0]) == pytest.approx(0.25, abs=0.05)
    assert share(LLAMAS[3]) == pytest.approx(0.75, abs=0.05)


def test_length_only_is_beaten_beyond_doubt(cascades, routellm):
    for study in (cascades, routellm):
        assert all(row["interval"][0] > 0 for row in study["over_length"])


def test_a_plain_regression_is_never_better_within_tasks_nor_in_routing(cascades, routellm):
    for study in (cascades, routellm):
        for ours, plain in (
            ("ours", "plain regression"),
            ("ours + task", "plain regression + task"),
        ):
            for model in study["models"]:
                rows = [right(study, method, model) for method in (ours, plain)]
                assert rows[0]["auc_within"] >= rows[1]["auc_within"]
            for pair in {(row["small"], row["large"]) for row in study["gain"]}:
                rows = [gain(study, method, pair) for method in (ours, plain)]
                assert rows[0]["apgr"] >= rows[1]["apgr"]


def test_confidence_tells_more_than_text_from_8b_to_70b(cascades):
    sure = gain(cascades, "small's confidence", PAIRS[2])["apgr"]
    assert sure > gain(cascades, "ours + task", PAIRS[2])["apgr"]


def test_what_words_and_entities_are_worth(cascades):
    without, spacy, minilm = (
        results_of(name, DEFAULT, [], None, 0, 0)
        for name in ("cascades-no-words", "cascades-spacy", "cascades-minilm")
    )
    said = " ".join(PAGE.read_text().split())
    ours = [row for row in cascades["right"] if row["method"].startswith("ours")]

    def lead(row, other, key):
        return row[key] - right(other, row["method"], row["model"], row["view"])[key]

    moved = [abs(lead(row, spacy, key)) for row in ours for key in ("auc", "auc_within")]
    assert f"moves no AUC by more than {max(moved):.3f}" in said
    known = [row for row in ours if row["method"] == "ours + task"]
    added = [lead(row, without, "auc") for row in known[:3]]
    assert f"words add {min(added):.3f} to {max(added):.3f}" in said
    taken = [-lead(row, without, "auc_within") for row in ours if row["view"] == "pooled"]
    assert f"take up to {max(taken):.3f}" in said
    within = [-lead(row, minilm, "auc_within") for row in known]
    assert f"add {within[3]:.3f} and {within[4]:.3f} within tasks" in said
    assert max(within[:3]) < 0.005
    assert max(-lead(row, minilm, "auc") for row in known[:3]) < 0.005
    for method in ("ours", "ours + task"):
        assert gain(minilm, method, PAIRS[2])["apgr"] <= gain(cascades, method, PAIRS[2])["apgr"]
    rule = [right(spacy, "paper's rule", model)["auc"] for model in LLAMAS]
    assert f"either: {min(rule):.2f} to {max(rule):.2f}." in said


def test_no_oracle_is_beaten(cascades, routellm):
    for study in (cascades, routellm):
        for row in study["gain"]:
            best = gain(study, "oracle", (row["small"], row["large"]), row["view"])
            assert row["apgr"] <= best["apgr"]
