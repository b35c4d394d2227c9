"""Tables of outcomes: what is read, and one line for what is wrong."""

import gzip

import numpy as np
import pytest

from model.difficulty.features import features_of
from model.difficulty.table import read_table
from model.difficulty.training import train
from phasewatt.errors import BadPredictor
from tests.questions import QUICK, table

GOOD = "id,task,text,right:a,right:b\n1,t,What is it?,1,0\n2,u,Who is it?,0.5,1\n"


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_table_with_text(tmp_path, name):
    found = read_table(written(tmp_path, GOOD, name))
    assert found.ids.tolist() == ["1", "2"]
    assert found.tasks.tolist() == ["t", "u"]
    assert found.models == ("a", "b")
    assert found.outcomes.tolist() == [[1, 0], [0.5, 1]]
    assert found.confidences is None
    assert np.array_equal(found.features.values, features_of(["What is it?", "Who is it?"]).values)


def test_a_table_with_features_and_confidences(tmp_path):
    text = (
        "id,extractor,feature:x,feature:y,right:a,confidence:a\n"
        "1,mine-1,0.5,-3,1,-0.25\n2,mine-1,1e3,0,0,0\n"
    )
    found = read_table(written(tmp_path, text))
    assert found.features.extractor == "mine-1"
    assert found.features.names == ("x", "y")
    assert found.features.values.tolist() == [[0.5, -3], [1000, 0]]
    assert found.confidences.tolist() == [[-0.25], [0]]
    assert found.tasks is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("What is it?", ""), r"line 2: text is missing"),
        (("What is it?", "   "), r"line 2: text is missing"),
        ((",1,0\n", ",1.5,0\n"), r"line 2: right:a is '1.5'; expected 0..1"),
        ((",0.5,1\n", ",0.5,-1\n"), r"line 3: right:b is '-1'; expected 0..1"),
        ((",0.5,1\n", ",nan,1\n"), r"line 3: right:a is 'nan'; expected 0..1"),
        ((",0.5,1\n", ",yes,1\n"), r"line 3: right:a is 'yes'; expected 0..1"),
        ((",0.5,1\n", ",1\n"), r"line 3: 4 fields; expected 5"),
        (("2,u", "1,u"), r"id '1' is there 2 times"),
        (("id,task", "name,task"), r"no column 'id'; found name, task"),
        (("text", "words"), r"neither text nor features"),
        (("right:a,right:b", "a,b"), r"no outcomes; expected columns right:MODEL"),
        (("right:a,right:b", "right:a,right:a"), r"column 'right:a' is there twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, change, complaint):
    path = written(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(BadPredictor, match=complaint) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no column 'id'; found nothing"),
        (b"id,text,right:a\n", "no rows below the header"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"\x1f\x8bxx", "cannot be read"),
        (b"id,extractor,right:a\n1,m,1\n", "no features; expected columns feature:NAME"),
        (b"id,extractor,feature:x,right:a\n1,m,1,1\n2,n,1,1\n", "m and n are mixed"),
        (b"id,extractor,feature:x,right:a\n1,m,inf,1\n", "feature:x is 'inf'; expected a number"),
        (b"id,text,right:a,confidence:a\n1,x,1,0.5\n", "'0.5'; expected at most 0"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, complaint):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(BadPredictor, match=complaint):
        read_table(path)
    with pytest.raises(BadPredictor, match="no such file"):
        read_table(tmp_path / "none.csv")


def test_what_cannot_be_learned_is_refused():
    base = table(80)
    with pytest.raises(BadPredictor, match="40 rows are too few; expected at least 50"):
        train(base.rows(np.arange(40)), QUICK)
    base.outcomes[:, 1] = 1.0
    with pytest.raises(BadPredictor, match="model middle has the same outcome in every row"):
        train(base, QUICK)
    with pytest.raises(BadPredictor, match=r"unknown model 'x'; this table has small"):
        train(table(80), QUICK, [("small", "x")])
