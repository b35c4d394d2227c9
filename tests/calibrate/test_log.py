import errno
import json
import os
from dataclasses import replace

import pytest
from campaigns import SWEEP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twins import DECODE, PREFILL, twin

from calibrate import log as log_module
from calibrate.log import (
    SCHEMA,
    SCHEMA_VERSION,
    BadLog,
    Header,
    Idle,
    Log,
    Measured,
    Moments,
    Skipped,
    Software,
    appending,
    read_log,
)
from calibrate.measure import measure, measure_idle
from calibrate.sweep import Cell, Strategy
from phasewatt.errors import Unwritable


@pytest.fixture(scope="module")
def lines():
    gpu, bench, sampler = twin()
    sampler.start()
    header = Header(
        schema=SCHEMA,
        schema_version=SCHEMA_VERSION,
        phasewatt="0.1.0",
        date="2026-11-24",
        command="calibrate run",
        sweep=SWEEP,
        strategy=Strategy.LOCK,
        strategy_reason="as asked",
        gpu=gpu.identity(),
        clocks=gpu.clock_range(),
        power_limit=gpu.power_limit(),
        modes=gpu.modes(),
        software={"phasewatt": "0.1.0"},
    )
    gpu.lock_sm_clock(1200)
    found = measure(bench, gpu, sampler, gpu.clock, DECODE, 1200)
    nameless = replace(found, memory_mhz=float("nan"))
    return (
        header,
        Idle("before", measure_idle(sampler, gpu.clock), Moments(0.0, 3.5, 31.0)),
        Measured(Cell(DECODE, 1200), found, Moments(3.5, 12.0, 44.0)),
        Software({"attention": "flash"}, Moments(12.0, 12.0, 44.0)),
        Measured(Cell(DECODE, gemm_ratio=4.0), nameless, Moments(12.0, 20.5, 44.0)),
        Skipped(Cell(PREFILL), "memory", "does not fit", Moments(20.5, 21.0, 44.0)),
    )


def written(path, lines):
    with appending(path) as (found, appender):
        assert found is None
        for line in lines:
            appender.append(line)
    return path.read_bytes()


def same(found, lines):
    header, *records = lines
    return repr(found) == repr(Log(header, tuple(records)))


def test_what_was_written_is_read_back(tmp_path, lines):
    path = tmp_path / "run.jsonl"
    text = written(path, lines)
    log = read_log(path)
    assert same(log, lines)
    assert log.spent_s == pytest.approx(21.0)
    assert log.software == {"phasewatt": "0.1.0", "attention": "flash"}
    assert [len(each) for each in (log.measured, log.idle, log.skipped)] == [2, 1, 1]
    for line in text.decode().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["record"]


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_log_cut_anywhere_keeps_its_whole_lines_and_goes_on(data, tmp_path, lines):
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    text = written(path, lines)
    cut = data.draw(st.integers(0, len(text)))
    path.write_bytes(text[:cut])
    whole = text[:cut].count(b"\n")
    with appending(path) as (found, appender):
        assert found is None if whole == 0 else same(found, lines[:whole])
        for line in lines[whole:]:
            appender.append(line)
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"gpu,model\nh100,8b\n", "line 1: not the log of a run"),
        (b"no line break", "not the log of a run"),
        (b'{"schema": "other"}\n', "line 1: not the log of a run"),
        (b'{"schema": "phasewatt-run", "schema_version": 9}\n', "schema_version is 9; this"),
        (b'{"schema": "phasewatt-run", "schema_version": 1}\n', "line 1: field phasewatt: Field"),
    ],
)
def test_a_file_that_is_no_log_is_refused_and_left_as_it_is(tmp_path, text, line):
    path = tmp_path / "run.jsonl"
    path.write_bytes(text)
    with pytest.raises(BadLog, match=line), appending(path):
        pass
    assert path.read_bytes() == text


def test_a_broken_line_in_the_middle_is_named(tmp_path, lines):
    path = tmp_path / "run.jsonl"
    first, second, *rest = written(path, lines).splitlines(keepends=True)
    broken = second.replace(b'"power_w": ', b'"power_w": "x')
    path.write_bytes(b"".join([first, broken, *rest]))
    with pytest.raises(BadLog, match=r"run\.jsonl: line 2: "):
        read_log(path)


def test_one_process_at_a_time_writes(tmp_path, lines):
    path = tmp_path / "run.jsonl"
    with appending(path) as (_, appender):
        appender.append(lines[0])
        with pytest.raises(BadLog, match="another run writes this log"), appending(path):
            pass


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, lines, monkeypatch):
    path = tmp_path / "run.jsonl"

    def full(handle, data):
        monkeypatch.undo()
        os.write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill():
        with appending(path) as (_, appender):
            for line in lines[:3]:
                appender.append(line)
            monkeypatch.setattr(log_module.os, "write", full)
            appender.append(lines[3])

    with pytest.raises(Unwritable, match=r"No space left on device; make room and run the same"):
        fill()
    assert same(read_log(path), lines[:3])


def test_no_empty_file_is_left_where_nothing_was_measured(tmp_path):
    path = tmp_path / "run.jsonl"
    with appending(path):
        pass
    assert not path.exists()
    with pytest.raises(BadLog, match="cannot be read"):
        read_log(path)
    with pytest.raises(Unwritable, match="cannot write here"), appending(tmp_path / "no" / "x"):
        pass
