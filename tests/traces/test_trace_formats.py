"""Each format is recognised by its content and read whole, plain and compressed."""

import gzip
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import traces
from traces.content import BLOCK_BYTES

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:50.9951690,879,0
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 01:00:01.000001+01:00,76,15
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,GPT-4,1087,230,1317,API log
"""
BURSTGPT_SESSIONS = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "3,s1,0.7,ChatGPT,4,1,5,Conversation log\n"
    "9,s2,0.9,ChatGPT,7,2,9,Conversation log\n"
)
MOONCAKE = """{"timestamp": 250, "input_length": 513, "output_length": 3, "hash_ids": [0, 7]}
{"timestamp": 1750, "input_length": 20, "output_length": 9, "hash_ids": [8]}
"""
SPLITWISE = """request_id,request_type,application_id,\
arrival_timestamp,batch_size,prompt_size,token_size
0,2,0,0.025,1,1498,17
1,2,0,0.75,1,110,27
"""
VIDUR = """arrived_at,num_prefill_tokens,num_decode_tokens
0.0,4808,10
0.052,3180,8
"""


@pytest.fixture
def read(tmp_path):
    def read(content, name="trace.csv", **options):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return traces.load(path, **options)

    return read


@pytest.mark.parametrize(
    ("content", "format", "arrival_s", "prompt", "output"),
    [
        (AZURE_2023, "azure-2023", [0, 4.314579, 4.314579], [374, 396, 879], [44, 109, 0]),
        (AZURE_2024, "azure-2024", [0, 0.99007, 0.990071], [2162, 2399, 76], [5, 6, 15]),
        (BURSTGPT, "burstgpt", [0, 40.5], [472, 1087], [18, 230]),
        (BURSTGPT_SESSIONS, "burstgpt", [0, 6], [4, 7], [1, 2]),
        (MOONCAKE, "mooncake", [0.25, 1.75], [513, 20], [3, 9]),
        (SPLITWISE, "splitwise-sim", [0.025, 0.75], [1498, 110], [17, 27]),
        (VIDUR, "vidur", [0, 0.052], [4808, 3180], [10, 8]),
    ],
)
def test_a_public_format_is_recognised_and_read(read, content, format, arrival_s, prompt, output):
    by_content = read(content)
    for trace in (by_content, read(content, format=format)):
        assert trace.arrival_s.tolist() == arrival_s
        assert trace.prompt_tokens.tolist() == prompt
        assert trace.output_tokens.tolist() == output
        assert trace.name == "trace.csv"
    assert by_content.source == read(content, format=format).source
    assert format in traces.known_formats()


def test_optional_columns_of_public_formats(read):
    assert read(BURSTGPT).task.to_pylist() == ["Conversation log", "API log"]
    assert read(BURSTGPT).session is None
    assert read(BURSTGPT_SESSIONS).session.to_pylist() == ["s1", "s2"]
    assert read(SPLITWISE).query_id.to_pylist() == ["0", "1"]
    assert read(MOONCAKE).block_hashes.to_pylist() == [[0, 7], [8]]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n" + text.replace("\n", "\n\n") + "\n",
    ],
    ids=["crlf", "no last newline", "byte order mark", "blank lines"],
)
@pytest.mark.parametrize("content", [AZURE_2023, MOONCAKE], ids=["csv", "jsonl"])
def test_line_ends_and_marks_do_not_matter(read, content, edit):
    plain, edited = read(content), read(edit(content), "edited")
    assert np.array_equal(plain.arrival_s, edited.arrival_s)
    assert np.array_equal(plain.output_tokens, edited.output_tokens)


def _zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("pack", [gzip.compress, _zstd], ids=["gz", "zst"])
def test_compression_is_told_by_the_first_bytes_not_the_name(read, pack):
    assert len(read(pack(VIDUR.encode()), "vidur.csv")) == 2


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content in (VIDUR.encode(), gzip.compress(VIDUR.encode())):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        assert len(traces.load(pipe)) == 2
        writer.join()


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@st.composite
def own_tables(draw):
    n = draw(st.integers(1, 12))

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    gaps = column(st.floats(0, 1e6, allow_subnormal=False))
    table = {
        "arrival_s": pa.array(np.cumsum(gaps)),
        "prompt_tokens": pa.array(column(st.integers(1, 10**9))),
        "output_tokens": pa.array(column(st.integers(0, 10**9))),
    }
    for name in draw(st.sets(st.sampled_from(["query_id", "text", "task", "session"]))):
        # CSV knows no NUL, and reads a lone carriage return as the end of a line.
        plain = words.map(lambda word: word.replace("\0", "0").replace("\r", "r"))
        table[name] = pa.array(column(st.none() | plain), pa.string())
    for model in draw(st.sets(st.sampled_from(["small", "large-7b"]))):
        table[f"quality.{model}"] = pa.array(column(st.none() | st.floats(0, 1)), pa.float64())
    return pa.table(table)


def _csv(table):
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def _jsonl(table):
    rows = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(table):
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _plain(data):
    return data


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("pack", [_plain, gzip.compress, _zstd], ids=["plain", "gz", "zst"])
@pytest.mark.parametrize("write", [_csv, _jsonl, _parquet], ids=["csv", "jsonl", "parquet"])
@given(table=own_tables())
def test_our_own_schema_comes_back_as_it_was_written(tmp_path_factory, write, pack, table):
    path = tmp_path_factory.getbasetemp() / "own"
    path.write_bytes(pack(write(table)))
    trace = traces.load(path)
    assert trace.source.kind == "user"
    for name in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert getattr(trace, name).tolist() == table.column(name).to_pylist()
    for name in ("query_id", "text", "task", "session"):
        wanted = table.column(name).to_pylist() if name in table.column_names else [None]
        found = getattr(trace, name)
        assert (found is None) == all(value is None for value in wanted)
        assert found is None or found.to_pylist() == wanted
    models = [name for name in table.column_names if name.startswith("quality.")]
    assert [f"quality.{model}" for model in trace.quality] == sorted(
        name for name in models if write is not _jsonl or table.column(name).null_count < len(table)
    )
    for model, found in trace.quality.items():
        wanted = table.column(f"quality.{model}").to_pylist()
        assert [None if np.isnan(value) else value for value in found] == wanted


def test_answers_of_each_model_come_with_confidence_and_length(read):
    trace = read(
        "arrival_s,prompt_tokens,output_tokens,quality.m,confidence.m,output_tokens.m\n"
        "0,1,2,1,-0.25,7\n0,1,2,,,\n"
    )
    assert trace.output_tokens.tolist() == [2, 2]
    for column, known in (("quality", 1.0), ("confidence", -0.25), ("answer_tokens", 7.0)):
        (found,) = getattr(trace, column).values()
        assert found[0] == known
        assert np.isnan(found[1])


def test_fields_may_come_and_go_between_json_lines_and_blocks(read):
    row = '{"arrival_s": 1, "prompt_tokens": 2, "output_tokens": 3}\n'
    many = BLOCK_BYTES // len(row) + 1
    late = '{"arrival_s":1,"prompt_tokens":2,"output_tokens":3,"task":"qa","quality.m":1}\n'
    trace = read(row * many + late + row, "own.jsonl")
    assert len(trace) == many + 2
    assert trace.task.null_count == many + 1
    assert trace.task[many].as_py() == "qa"
    assert trace.quality["m"][many] == 1.0
    assert np.isnan(trace.quality["m"]).sum() == many + 1


def test_records_and_quotes_may_straddle_blocks(read):
    prompt = 'he said ""no""\n' + "x" * 1000 + ",\n"
    n = 3 * BLOCK_BYTES // len(prompt)
    rows = "".join(f'{i},"{prompt}",2,3\n' for i in range(n))
    trace = read("arrival_s,text,prompt_tokens,output_tokens\n" + rows)
    assert len(trace) == n
    assert set(trace.text.to_pylist()) == {prompt.replace('""', '"')}


def test_a_text_longer_than_the_csv_module_takes(read):
    text = "word\n" * 100_000
    rows = f'0,"{text}",2,3\n\n1,"b",2,3,4\n'
    trace = read("arrival_s,text,prompt_tokens,output_tokens\n" + rows, skip_bad_rows=True)
    assert trace.text.to_pylist() == [text]
    assert trace.source.skipped == (("row: expected 4 fields as in the header", 1),)


def test_parquet_takes_dictionaries_lists_and_narrow_integers(read):
    table = pa.table(
        {
            "arrival_s": pa.array([0, 1], pa.int32()),
            "prompt_tokens": pa.array([1, 2], pa.uint16()),
            "output_tokens": pa.array([0, 2], pa.int8()),
            "task": pa.array(["a", "a"]).dictionary_encode(),
            "quality.m": pa.array([0, 1], pa.int8()),
            "block_hashes": pa.array([[1], [2, 3]], pa.large_list(pa.int32())),
        }
    )
    trace = read(_parquet(table), "own.parquet")
    assert trace.task.to_pylist() == ["a", "a"]
    assert trace.quality["m"].tolist() == [0.0, 1.0]
    assert trace.block_hashes.to_pylist() == [[1], [2, 3]]


def test_reading_needs_neither_pandas_nor_the_rest_of_the_house():
    heavy = "pandas", "scipy", "simpy", "model", "simulate", "policies", "calibrate"
    load = "import sys, traces; traces.load('azure-code-2023')"
    code = f"{load}; print(set({heavy}) & {{*sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
