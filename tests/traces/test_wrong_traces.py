"""Every wrong input is one line that names file, line, column, what was found and expected."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import traces
from phasewatt.errors import BadTrace
from traces.content import BLOCK_BYTES

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
AZURE_2024 = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,1\n"
OWN = "arrival_s,prompt_tokens,output_tokens\n0,1,1\n"
QUALITY = "arrival_s,prompt_tokens,output_tokens,quality.m\n"
TEXT = "arrival_s,prompt_tokens,output_tokens,text\n"
BURST = "Timestamp,Request tokens,Response tokens\n"
SPLITWISE = "arrival_timestamp,batch_size,prompt_size,token_size\n"
MOONCAKE = '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n'
JSON = '{"arrival_s": 0, "prompt_tokens": 1, "output_tokens": 1}\n'
LOCAL = "expected a date and time such as 2023-11-16 18:15:46.6805900"
SECONDS = "expected a finite number of seconds >= 0"
FRACTION = "expected a number in [0, 1], or nothing for unknown"
ONE_OBJECT = "expected one JSON object with each field once"


def refused(path, **options):
    with pytest.raises(BadTrace) as error:
        traces.load(path, **options)
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.fixture
def refusal(tmp_path):
    """Write the content, load it, and give the line of the error without the directory."""

    def refusal(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return refused(path, **options).replace(f"{tmp_path}/", "")

    return refusal


def json_row(**fields):
    row = {"arrival_s": 1, "prompt_tokens": 1, "output_tokens": 1} | fields
    return JSON + json.dumps(row) + "\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "t.csv: found an empty file, expected a trace"),
        (b" \n\n", "t.csv: found an empty file, expected a trace"),
        (gzip.compress(b"", mtime=0), "t.csv: found an empty file, expected a trace"),
        (
            "\n" + AZURE.splitlines()[0] + "\n",
            "t.csv: line 2: found a header without rows, expected at least one row",
        ),
        (
            "arrival_s,prompt_tokens,output_tokens\n\n\n",
            "t.csv: line 1: found a header without rows, expected at least one row",
        ),
        (
            "arrival_s,prompt_tokens,prompt_tokens\n0,1,1\n",
            "t.csv: line 1: found column 'prompt_tokens' twice, expected each column once",
        ),
        (
            "arrival_s,prompt_tokens\n0,1\n",
            "t.csv: line 1: column 'output_tokens': found columns arrival_s, prompt_tokens, "
            "expected 'output_tokens' for the format 'phasewatt'",
        ),
        (
            "num_prefill_tokens,num_decode_tokens,pd_ratio\n3772,54,69.8\n",
            "t.csv: line 1: column 'arrived_at': found columns num_prefill_tokens, "
            "num_decode_tokens, pd_ratio, expected 'arrived_at' for the format 'vidur'",
        ),
        (
            b"arrival_s,prompt_tokens,output_tokens,\xff\n0,1,1,1\n",
            "t.csv: line 1: found b'arrival_s,prompt_tokens,output_tokens,\\xff', expected a "
            "header in UTF-8",
        ),
        (
            OWN.replace("\n", "\r"),
            "t.csv: line 1: found a lone carriage return in the header, expected lines that end "
            "in a line feed",
        ),
        # Arrival times.
        (
            AZURE + "2023-11-16 18:15,1,1\n",
            f"t.csv: line 3: column 'TIMESTAMP': found '2023-11-16 18:15', {LOCAL}",
        ),
        (
            AZURE + "2023-02-30 18:15:50,1,1\n",
            f"t.csv: line 3: column 'TIMESTAMP': found '2023-02-30 18:15:50', {LOCAL}",
        ),
        (
            AZURE + "2023-11-16 18:15:50+00:00,1,1\n",
            f"t.csv: line 3: column 'TIMESTAMP': found '2023-11-16 18:15:50+00:00', {LOCAL}",
        ),
        (
            AZURE_2024 + "2024-05-10 00:00:01,1,1\n",
            "t.csv: line 3: column 'TIMESTAMP': found '2024-05-10 00:00:01', expected a date and "
            "time with offset such as 2024-05-10 00:00:00.009930+00:00",
        ),
        (OWN + "nan,1,1\n", f"t.csv: line 3: column 'arrival_s': found 'nan', {SECONDS}"),
        (OWN + "inf,1,1\n", f"t.csv: line 3: column 'arrival_s': found 'inf', {SECONDS}"),
        (OWN + "1e999,1,1\n", f"t.csv: line 3: column 'arrival_s': found '1e999', {SECONDS}"),
        (OWN + ",1,1\n", f"t.csv: line 3: column 'arrival_s': found '', {SECONDS}"),
        (OWN + "-1,1,1\n", f"t.csv: line 3: column 'arrival_s': found '-1', {SECONDS}"),
        (OWN + "soon,1,1\n", f"t.csv: line 3: column 'arrival_s': found 'soon', {SECONDS}"),
        (
            OWN + "5,1,1\n5,1,1\n4.5,1,1\n",
            "t.csv: line 5: column 'arrival_s': found '4.5' after '5', expected arrival times "
            "that never decrease",
        ),
        (
            AZURE + "2023-11-16 18:15:46.6805899,1,1\n",
            "t.csv: line 3: column 'TIMESTAMP': found '2023-11-16 18:15:46.6805899' after "
            "'2023-11-16 18:15:46.6805900', expected arrival times that never decrease",
        ),
        # Token counts.
        (
            OWN + "1,-3,1\n",
            "t.csv: line 3: column 'prompt_tokens': found '-3', expected an integer >= 1",
        ),
        (
            OWN + "1,0,1\n",
            "t.csv: line 3: column 'prompt_tokens': found '0', expected an integer >= 1",
        ),
        (
            OWN + "1,1,-1\n",
            "t.csv: line 3: column 'output_tokens': found '-1', expected an integer >= 0",
        ),
        (
            OWN + "1,1,2.5\n",
            "t.csv: line 3: column 'output_tokens': found '2.5', expected an integer >= 0",
        ),
        (
            OWN + "1,0x10,1\n",
            "t.csv: line 3: column 'prompt_tokens': found '0x10', expected an integer >= 1",
        ),
        (
            OWN + "1,12345678901234567890,1\n",
            "t.csv: line 3: column 'prompt_tokens': found '12345678901234567890', expected an "
            "integer >= 1",
        ),
        (
            BURST + "1,7,0\n",
            "t.csv: line 2: column 'Response tokens': found '0', expected an integer >= 1 "
            "(BurstGPT marks failed requests by 0; skip bad rows to leave them out)",
        ),
        (
            SPLITWISE + "0,4,7,7\n",
            "t.csv: line 2: column 'batch_size': found '4', expected 1 (a batch of several prompts "
            "cannot be replayed as one query)",
        ),
        # Quality.
        (QUALITY + "0,1,1,1.01\n", f"t.csv: line 2: column 'quality.m': found '1.01', {FRACTION}"),
        (QUALITY + "0,1,1,-0.1\n", f"t.csv: line 2: column 'quality.m': found '-0.1', {FRACTION}"),
        (QUALITY + "0,1,1,good\n", f"t.csv: line 2: column 'quality.m': found 'good', {FRACTION}"),
        # Confidence, and the length of a model's answer.
        (
            QUALITY.replace("quality", "confidence") + "0,1,1,sure\n",
            "t.csv: line 2: column 'confidence.m': found 'sure', expected a number, or nothing for "
            "unknown",
        ),
        (
            QUALITY.replace("quality", "output_tokens") + "0,1,1,2.5\n",
            "t.csv: line 2: column 'output_tokens.m': found '2.5', expected an integer >= 0, or "
            "nothing for unknown",
        ),
        # The shape of rows.
        (OWN + "1,1\n", "t.csv: line 3: found 2 fields, expected 3 fields as in the header"),
        (OWN + "1\n", "t.csv: line 3: found 1 field, expected 3 fields as in the header"),
        (OWN + "1,1,1,1\n", "t.csv: line 3: found 4 fields, expected 3 fields as in the header"),
        (
            (TEXT + "0,1,1,caf").encode() + b"\xe9\n",
            "t.csv: line 2: column 'text': found b'caf\\xe9', expected text in UTF-8",
        ),
        # Lines count as an editor counts them.
        (
            TEXT + '0,1,1,"two\nlines"\n\n1,0,1,c\n',
            "t.csv: line 5: column 'prompt_tokens': found '0', expected an integer >= 1",
        ),
        (
            TEXT + '0,1,1,"two\nlines"\n\n1,1,c\n',
            "t.csv: line 5: found 3 fields, expected 4 fields as in the header",
        ),
        (
            OWN.replace("\n", "\r\n") + "1,0,1\r\n",
            "t.csv: line 3: column 'prompt_tokens': found '0', expected an integer >= 1",
        ),
        # The first of several.
        (
            OWN + "1,1,x\n0,0,0\n1,1\n",
            "t.csv: line 3: column 'output_tokens': found 'x', expected an integer >= 0",
        ),
        (
            OWN + "1,1\n1,1,x\n",
            "t.csv: line 3: found 2 fields, expected 3 fields as in the header",
        ),
    ],
)
def test_a_wrong_csv_file(refusal, content, line):
    assert refusal(content) == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            MOONCAKE + '{"timestamp": 1.5, "input_length": 1, "output_length": "7"}\n',
            "t.jsonl: line 2: column 'output_length': found '7', expected an integer",
        ),
        (
            MOONCAKE + '{"timestamp": -1, "input_length": 1, "output_length": 7}\n',
            "t.jsonl: line 2: column 'timestamp': found -1.0, expected a finite number of "
            "milliseconds >= 0",
        ),
        (
            MOONCAKE + MOONCAKE.replace("[0]", "[1, 2.5]"),
            "t.jsonl: line 2: column 'hash_ids': found [1, 2.5], expected a list of integers or "
            "null",
        ),
        (
            MOONCAKE + MOONCAKE.replace("[0]", "[null]"),
            "t.jsonl: line 2: column 'hash_ids': found [None], expected a list of integers or null",
        ),
        (
            json_row(arrival_s=float("nan")),
            f"t.jsonl: line 2: column 'arrival_s': found nan, {SECONDS}",
        ),
        (
            json_row(arrival_s=None),
            f"t.jsonl: line 2: column 'arrival_s': found nothing, {SECONDS}",
        ),
        (
            json_row(arrival_s="1"),
            "t.jsonl: line 2: column 'arrival_s': found '1', expected a number",
        ),
        (
            JSON + json_row(arrival_s=3) + JSON,
            "t.jsonl: line 4: column 'arrival_s': found 0.0 after 3.0, expected arrival times "
            "that never decrease",
        ),
        (
            json_row(prompt_tokens=0),
            "t.jsonl: line 2: column 'prompt_tokens': found 0, expected an integer >= 1",
        ),
        (
            json_row(prompt_tokens=3.0),
            "t.jsonl: line 2: column 'prompt_tokens': found 3.0, expected an integer",
        ),
        (
            json_row(prompt_tokens=True),
            "t.jsonl: line 2: column 'prompt_tokens': found True, expected an integer",
        ),
        (
            JSON + '{"arrival_s": 1, "prompt_tokens": 1}\n',
            "t.jsonl: line 2: column 'output_tokens': found nothing, expected an integer >= 0",
        ),
        (
            '{"arrival_s": 1, "prompt_tokens": 1}\n',
            "t.jsonl: line 1: column 'output_tokens': found nothing, expected an integer >= 0",
        ),
        (
            json_row(text=7),
            "t.jsonl: line 2: column 'text': found 7, expected a string or null",
        ),
        (
            json_row(**{"quality.m": 2}),
            f"t.jsonl: line 2: column 'quality.m': found 2, {FRACTION}",
        ),
        (
            json_row(**{"quality.m": "high"}),
            "t.jsonl: line 2: column 'quality.m': found 'high', expected a number",
        ),
        (JSON + "[1, 2]\n", f"t.jsonl: line 2: found '[1, 2]', {ONE_OBJECT}"),
        (
            JSON + '{"arrival_s": 1,\n',
            f"t.jsonl: line 2: found '{{\"arrival_s\": 1,', {ONE_OBJECT}",
        ),
        (
            JSON + '\n{"arrival_s": 1, "arrival_s": 2}\n',
            f't.jsonl: line 3: found \'{{"arrival_s": 1, "arrival_s": 2}}\', {ONE_OBJECT}',
        ),
        (
            '[{"arrival_s": 1}]\n',
            f"t.jsonl: line 1: found '[{{\"arrival_s\": 1}}]', {ONE_OBJECT}",
        ),
        (
            JSON.encode() + b'{"text": "caf\xe9"}\n',
            "t.jsonl: line 2: found b'\\xe9\"}', expected text in UTF-8",
        ),
    ],
)
def test_a_wrong_json_lines_file(refusal, content, line):
    assert refusal(content, "t.jsonl") == line


def test_an_unknown_format_lists_the_columns_and_the_formats(refusal):
    known = (
        "azure-2023 (TIMESTAMP, ContextTokens, GeneratedTokens); "
        "azure-2024 (TIMESTAMP, ContextTokens, GeneratedTokens); "
        "burstgpt (Timestamp, Request tokens, Response tokens); "
        "mooncake (timestamp, input_length, output_length); "
        "splitwise-sim (arrival_timestamp, prompt_size, token_size); "
        "vidur (arrived_at, num_prefill_tokens, num_decode_tokens); "
        "phasewatt (arrival_s, prompt_tokens, output_tokens)"
    )
    assert refusal("when,how many\n1,2\n") == (
        "t.csv: line 1: unknown trace format: found columns when, how many; expected those of one "
        f"of {known}"
    )
    assert refusal('{"when": 1}\n', "t.jsonl") == (
        f"t.jsonl: unknown trace format: found columns when; expected those of one of {known}"
    )


def test_a_format_may_be_unknown_or_unfit(refusal):
    assert refusal(OWN, format="burstgtp") == (
        "unknown trace format 'burstgtp' (did you mean 'burstgpt'?); known formats: azure-2023, "
        "azure-2024, burstgpt, mooncake, splitwise-sim, vidur, phasewatt"
    )
    assert refusal(OWN, format="mooncake") == (
        "t.csv: found CSV, expected JSON lines for the format 'mooncake'"
    )
    assert refusal(OWN, format="vidur") == (
        "t.csv: line 1: column 'arrived_at': found columns arrival_s, prompt_tokens, output_tokens "
        "(did you mean 'arrival_s'?), expected 'arrived_at' for the format 'vidur'"
    )


def test_a_name_that_is_neither_a_file_nor_a_shipped_trace():
    assert refused("azure-chat-2023") == (
        "azure-chat-2023: found no such file or shipped trace (did you mean 'azure-conv-2023'?); "
        "shipped traces: azure-conv-2023, azure-code-2023; or synthetic:..."
    )


def test_a_name_too_long_for_any_file():
    assert "found no such file or shipped trace" in refused("x" * 5000)


def test_a_directory(tmp_path):
    assert refused(tmp_path) == f"{tmp_path}: found a directory, expected a trace file"


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compression_that_breaks_off(refusal, codec):
    rows = OWN + "".join(f"{i},{i % 97 + 1},{i % 89}\n" for i in range(200_000))
    packed = pa.compress(rows.encode(), codec=codec, asbytes=True)
    for content in (packed[:60], packed[: len(packed) // 2], packed[:-4]):
        line = refusal(content)
        assert line.startswith("t.csv: in or after line ")
        assert line.endswith(
            f": found a {codec} stream that is damaged or breaks off, expected a whole one"
        )
        assert line == refusal(content, skip_bad_rows=True)


def test_the_line_is_right_in_a_late_block_of_a_compressed_file(refusal):
    n = 3 * BLOCK_BYTES // len("0.5,1,1\n")
    rows = OWN + "0.5,1,1\n" * n + "0.25,1,1\n"
    assert refusal(gzip.compress(rows.encode(), 1), "t.gz") == (
        f"t.gz: line {n + 3}: column 'arrival_s': found '0.25' after '0.5', expected arrival times "
        "that never decrease"
    )


def test_a_quote_that_never_closes_is_no_endless_record(refusal, monkeypatch):
    monkeypatch.setattr("traces.content.LARGEST_RECORD_BYTES", BLOCK_BYTES)
    rows = TEXT + '0,1,1,a\n0,1,1,"b\n' + "0,1,1,c\n" * (2 * BLOCK_BYTES // 8)
    assert refusal(rows) == (
        "t.csv: line 3: found a record of over 4 MiB, expected shorter ones (an unclosed quote?)"
    )


def parquet(**columns):
    given = {"arrival_s": [0.0, 1.0], "prompt_tokens": [1, 2], "output_tokens": [1, 2]} | columns
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table({k: v for k, v in given.items() if v is not None}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            parquet(output_tokens=[1, -1]),
            "t.parquet: row 2: column 'output_tokens': found -1, expected an integer >= 0",
        ),
        (
            parquet(prompt_tokens=[1, None]),
            "t.parquet: row 2: column 'prompt_tokens': found nothing, expected an integer >= 1",
        ),
        (
            parquet(prompt_tokens=[1.0, 2.0]),
            "t.parquet: column 'prompt_tokens': found type double, expected int64",
        ),
        (
            parquet(arrival_s=["0", "1"]),
            "t.parquet: column 'arrival_s': found type string, expected double",
        ),
        (
            parquet(arrival_s=[1.0, 0.0]),
            "t.parquet: row 2: column 'arrival_s': found 0.0 after 1.0, expected arrival times "
            "that never decrease",
        ),
        (
            parquet(output_tokens=None),
            "t.parquet: column 'output_tokens': found columns arrival_s, prompt_tokens, "
            "expected 'output_tokens' for the format 'phasewatt'",
        ),
        (
            parquet(
                arrival_s=pa.array([], pa.float64()),
                prompt_tokens=pa.array([], pa.int64()),
                output_tokens=pa.array([], pa.int64()),
            ),
            "t.parquet: found a Parquet schema without rows, expected at least one row",
        ),
    ],
)
def test_a_wrong_parquet_file(refusal, content, line):
    assert refusal(content, "t.parquet") == line


def test_a_parquet_file_that_names_a_column_twice(refusal):
    sink = pa.BufferOutputStream()
    names = ["arrival_s", "prompt_tokens", "output_tokens", "output_tokens"]
    pyarrow.parquet.write_table(pa.table([[0.0], [1], [1], [2]], names=names), sink)
    assert refusal(sink.getvalue().to_pybytes(), "t.parquet") == (
        "t.parquet: found column 'output_tokens' twice, expected each column once"
    )


def test_parquet_text_that_is_no_utf8(refusal):
    content = parquet(text=["plain", "caf\u00e9"]).replace("caf\u00e9".encode(), b"caf\xe9!")
    line = refusal(content, "t.parquet")
    assert line.startswith("t.parquet: in or after row 1: found data that cannot be decoded, ")


def test_a_name_with_a_line_break_shows_as_its_escape(refusal):
    line = refusal(parquet(output_tokens=None, **{"out\nput": [1, 2]}), "t.parquet")
    assert "found columns arrival_s, prompt_tokens, out\\nput" in line


def test_a_parquet_file_that_breaks_off(refusal):
    line = refusal(parquet()[:-20], "t.parquet")
    assert line.startswith("t.parquet: found a damaged Parquet file, expected a whole one: ")


def test_broken_rows_are_left_out_counted_and_reported_on_demand(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        QUALITY + "0,1,1,0.5\n1,0,1,\n1,1\n2,1,1,7\n5,x,1,\n3,1,0,\n1,1,1,\n2.5,-1,1,\n4,2,2,nan\n"
    )
    trace = traces.load(path, skip_bad_rows=True)
    assert trace.arrival_s.tolist() == [0.0, 3.0, 4.0]
    assert trace.source.skipped_rows == 6
    assert dict(trace.source.skipped) == {
        "column 'prompt_tokens': expected an integer >= 1": 3,
        "row: expected 4 fields as in the header": 1,
        f"column 'quality.m': {FRACTION}": 1,
        "column 'arrival_s': expected arrival times that never decrease": 1,
    }
    assert len(trace) + trace.source.skipped_rows == 9


def test_broken_rows_of_json_lines_are_left_out_too(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("{\n" + JSON + json_row(prompt_tokens=0) + json_row(task=1) + "7\n" + JSON)
    trace = traces.load(path, skip_bad_rows=True)
    assert len(trace) == 4
    assert dict(trace.source.skipped) == {
        f"row: {ONE_OBJECT}": 2,
        "column 'task': expected a string or null": 1,
        "column 'prompt_tokens': expected an integer >= 1": 1,
    }


def test_a_file_without_a_good_row_is_refused_even_so(refusal):
    assert refusal("arrival_s,prompt_tokens,output_tokens\n0,0,1\n1,1\n", skip_bad_rows=True) == (
        "t.csv: found no usable row, expected at least one: 1 x row: expected 3 fields as in the "
        "header; 1 x column 'prompt_tokens': expected an integer >= 1"
    )


def test_good_files_skip_nothing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(OWN)
    assert traces.load(path, skip_bad_rows=True).source.skipped == ()


GOOD = {
    "csv": (QUALITY + '0,1,1,0.5\n"1",2,3,\n2.5,3,4,nan\n').encode(),
    "azure": (AZURE + "2023-11-16 18:15:50.9951690,396,109\n").encode(),
    "jsonl": (JSON + json_row(text="a", **{"quality.m": 0.5})).encode(),
    "mooncake": (MOONCAKE * 3).encode(),
    "gzip": gzip.compress((OWN * 1).encode(), mtime=0),
    "parquet": parquet(text=["a", "caf\u00e9"]),
}


@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
@given(data=st.data())
def test_damage_anywhere_is_read_or_refused_but_never_crashes(tmp_path_factory, good, data):
    place = data.draw(st.integers(0, len(good) - 1))
    damage = data.draw(st.sampled_from([b"", b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"-", b"}"]))
    length = data.draw(st.integers(0, 12))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(good[:place] + damage + good[place + length :])
    for skip_bad_rows in (False, True):
        try:
            trace = traces.load(path, skip_bad_rows=skip_bad_rows)
        except BadTrace as error:
            message = str(error)
        else:
            message = ""
            assert len(trace) >= 1
            assert skip_bad_rows or trace.source.skipped == ()
        assert "\n" not in message
