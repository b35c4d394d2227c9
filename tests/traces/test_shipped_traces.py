"""The traces that come with the package are the published ones."""

import csv
import gzip
from datetime import datetime

import numpy as np
import pytest

import traces
from traces.shipped import SHIPPED

FACTS = {
    # name: queries, prompt tokens, output tokens, last arrival
    "azure-conv-2023": (19_366, 22_361_870, 4_088_665, 3501.721937),
    "azure-code-2023": (8_819, 18_059_974, 245_896, 3435.948056),
}


def test_their_names_are_known():
    assert set(traces.known_traces()) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_shipped_trace_has_the_published_content(name):
    n, prompt_tokens, output_tokens, last_s = FACTS[name]
    trace = traces.load(name)
    assert len(trace) == n
    assert trace.prompt_tokens.sum() == prompt_tokens
    assert trace.output_tokens.sum() == output_tokens
    assert trace.arrival_s[0] == 0.0
    assert trace.arrival_s[-1] == trace.duration_s == pytest.approx(last_s, abs=1e-9)
    assert trace.name == name
    assert trace.source.kind == "measured"
    assert trace.source.licence == "CC-BY-4.0"
    assert trace.source.skipped_rows == 0


@pytest.mark.parametrize("name", FACTS)
def test_a_shipped_trace_equals_a_plain_reading_of_its_file(name):
    with gzip.open(SHIPPED[name].path, "rt") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
    trace = traces.load(name)
    # datetime stops at microseconds, the file at tenths of them.
    seconds = [(each - times[0]).total_seconds() for each in times]
    assert np.allclose(trace.arrival_s, seconds, rtol=0, atol=1.01e-6)
    assert trace.prompt_tokens.tolist() == [int(row["ContextTokens"]) for row in rows]
    assert trace.output_tokens.tolist() == [int(row["GeneratedTokens"]) for row in rows]


@pytest.mark.parametrize("shipped", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_file_carries_no_time_of_packing(shipped):
    header = shipped.path.read_bytes()[:10]
    assert header[3] == 0
    assert header[4:8] == bytes(4)


def test_licence_and_attribution_lie_beside_the_files():
    folder = SHIPPED["azure-conv-2023"].path.parent
    assert "Attribution 4.0 International" in (folder / "LICENSE.CC-BY-4.0").read_text("utf-8-sig")
    assert "Splitwise" in (folder / "README.md").read_text("utf-8")
