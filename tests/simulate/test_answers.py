"""What is known of answers: from the trace, from a table by identifier or by length, from text."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from phasewatt.errors import BadOption, BadPolicy, BadPredictor
from simulate.answers import answers_of
from simulate.prepare import queries_of
from simulate.quality import How, quality_of_queries
from simulate.scenario import Scenario
from traces import Trace

MODELS = ("small", "large")
TABLE = """id,extractor,feature:words,right:small,right:large,confidence:small,confidence:large
a,made-up,3,0,1,-2,-1
b,made-up,9,1,1,-0.5,-0.1
c,made-up,30,0,0.5,-3,-0.2
"""


def trace(**columns):
    base = tiny.trace([0.0, 1.0, 2.0], [10, 2000, 300], [5, 5, 5])
    return Trace("tiny", base.arrival_s, base.prompt_tokens, base.output_tokens, **columns)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "outcomes.csv"
    path.write_text(TABLE)
    return str(path)


def scenario(**more):
    return Scenario((), **more)


def test_outcomes_of_the_trace_are_measured():
    known = trace(
        quality={"small": [0, 1, np.nan], "other": [1, 1, 1]},
        confidence={"small": [-1, -2, -3]},
        answer_tokens={"small": [7, np.nan, 9]},
    )
    answers = answers_of(known, scenario(), MODELS)
    assert set(answers.quality) == {"small"}
    assert answers.assumed == ()
    queries = queries_of(known, Scenario(()))
    own = {model: answers.answered_by(model, queries).lengths for model in MODELS}
    assert own["small"].output_tokens.tolist() == [7, 5, 9]
    assert own["large"].output_tokens.tolist() == [5, 5, 5]
    how, quality = quality_of_queries(MODELS, np.array([0, 0, 0]), answers)
    assert how is How.MEASURED
    assert quality[:2].tolist() == [0, 1]
    assert np.isnan(quality[2])
    how, quality = quality_of_queries(("large",), np.array([0, 0, 0]), answers)
    assert (how, quality) == (How.UNKNOWN, None)


def test_a_model_may_answer_as_well_as_another():
    known = trace(quality={"other": [1, 0, 1]}, confidence={"other": [-1, -2, -3]})
    answers = answers_of(known, scenario(quality_of=("large=other",)), MODELS)
    assert answers.quality["large"].tolist() == [1, 0, 1]
    assert answers.assumed == ("assumed: large answers as well as other",)
    assert quality_of_queries(MODELS, np.array([1, 1, 1]), answers)[0] is How.ASSUMED


def test_a_table_is_joined_by_query_id(table):
    known = trace(query_id=["c", "nobody", "a"])
    answers = answers_of(known, scenario(quality_from=table), MODELS)
    assert answers.quality["large"][[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(answers.quality["large"][1])
    assert answers.confidence["small"][[0, 2]].tolist() == [-3.0, -2.0]
    assert "by query_id, are those of 67% of the queries" in answers.assumed[-1]
    assert answers.joined is None


def test_a_table_is_dealt_by_length_otherwise(table):
    answers = answers_of(trace(), scenario(quality_from=table), MODELS)
    assert "dealt to queries by length" in answers.assumed[-1]
    assert set(answers.quality["large"].tolist()) <= {1.0, 0.5}
    assert answers.column("words").shape == (3,)
    many = tiny.trace(np.arange(4000.0), np.arange(1, 4001), np.ones(4000, int))
    rows = [f"q{i},made-up,{i},{int(i >= 2000)},1" for i in range(4000)]
    header = "id,extractor,feature:words,right:small,right:large\n"
    Path(table).write_text(header + "\n".join(rows))
    dealt = answers_of(many, scenario(quality_from=table), MODELS)
    assert dealt.quality["small"][:1900].max() == 0
    assert dealt.quality["small"][2100:].min() == 1
    again = answers_of(many, scenario(quality_from=table), MODELS)
    assert np.array_equal(dealt.column("words"), again.column("words"))
    other = answers_of(many, scenario(quality_from=table, seed=1), MODELS)
    assert not np.array_equal(dealt.column("words"), other.column("words"))


def test_text_is_read_when_it_is_asked_for():
    answers = answers_of(trace(text=["Why?", "Who is Ada Lovelace?", "Hm."]), scenario(), MODELS)
    assert answers.has_text
    assert answers.column("causal_question_score").tolist() == [100.0, 0.0, 0.0]
    assert answers.predicted(MODELS) is None
    some = answers_of(trace(text=["Why?", None, ""]), scenario(), MODELS)
    with pytest.raises(BadPolicy, match="text is missing for 2 of 3 queries"):
        some.column("words")


@pytest.mark.parametrize(
    ("more", "error", "line"),
    [
        ({"quality_of": ("large",)}, BadOption, "found 'large'; expected MODEL=NAME"),
        ({"quality_of": ("huge=a",)}, BadOption, "unknown model 'huge'; expected one of small, l"),
        ({"quality_from": "nowhere.csv"}, BadPredictor, "nowhere.csv: no such file"),
        ({"predictor": "nowhere"}, BadPredictor, "nowhere: no such predictor"),
    ],
)
def test_what_cannot_be_used(more, error, line):
    with pytest.raises(error, match=line):
        answers_of(trace(), scenario(**more), MODELS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TABLE.replace("0.5,-3", "1.5,-3"), "right:large is '1.5'; expected 0..1"),
        (TABLE.replace("small", "tiny").replace("large", "vast"), "found outcomes of tiny, vast; "),
    ],
)
def test_a_table_that_cannot_be_used(table, text, line):
    Path(table).write_text(text)
    with pytest.raises((BadOption, BadPredictor), match=line):
        answers_of(trace(), scenario(quality_from=table), MODELS)
