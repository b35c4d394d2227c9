"""Series in files: seconds, timestamps, where a run begins, and each wrong line by number."""

import pytest

from phasewatt.errors import BadOption
from simulate.costs.series import read_series


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, begin=None, wraps=False):
        (tmp_path / "p.csv").write_text(text)
        return read_series("--price", "p.csv", begin, wraps)

    return read


def test_seconds_are_those_of_the_run_and_the_last_value_holds_as_long_as_the_one_before(written):
    signal = written("time_s,value\n0,0.1\n3600,0.3\n")
    assert (signal.begins_s, signal.values, signal.end_s) == ((0.0, 3600.0), (0.1, 0.3), 7200.0)
    later = written("time_s,value\n0,0.1\n3600,0.3\n", "30m")
    assert (later.begins_s, later.end_s) == ((-1800.0, 1800.0), 5400.0)


def test_timestamps_begin_with_the_run_unless_another_is_named(written):
    text = "value,timestamp\n80,2025-03-30T00:00+01:00\n90,2025-03-30T03:00+02:00\n"
    assert written(text).begins_s == (0.0, 7200.0)  # two hours: the clocks went forward
    assert written(text, "2025-03-29T23:30Z").begins_s == (-1800.0, 5400.0)
    naive = "timestamp,value\n2025-01-01,1\n2025-01-02,2\n\n"
    assert written(naive, "2025-01-01T12:00").begins_s == (-43200.0, 43200.0)


@pytest.mark.parametrize(
    ("text", "begin", "line"),
    [
        ("", None, "p.csv:1: found columns none; expected time_s or timestamp, and value"),
        ("time,value\n0,1\n", None, "p.csv:1: found columns time, value; expected time_s or"),
        ("time_s,value\n0,1\n", None, "p.csv: found 1 rows; expected 2 or more"),
        ("time_s,value\n0,1\n5\n", None, "p.csv:3: found 1 fields; expected 2"),
        ("time_s,value\n0,1\n0,2\n", None, "p.csv:3: time_s: found '0'; expected later than"),
        ("time_s,value\n0,1\nsoon,2\n", None, "p.csv:3: time_s: found 'soon'; expected seconds"),
        ("time_s,value\n0,1\n1,nan\n", None, "p.csv:3: value: found 'nan'; expected a number"),
        ("timestamp,value\nnoon,1\n", None, "p.csv:2: timestamp: found 'noon'; expected an ISO"),
        (
            "timestamp,value\n2025-01-01,1\n2025-01-02T00:00Z,1\n",
            None,
            "p.csv:3: timestamp: some rows have a time zone; expected all or none",
        ),
        ("time_s,value\n0,1\n1,2\n", "noon", "--price from: found 'noon'; expected a time"),
        (
            "timestamp,value\n2025-01-01,1\n2025-01-02,2\n",
            "2025-01-01T00:00Z",
            "--price from: found '2025-01-01T00:00Z'; expected a time zone as in the file",
        ),
        (
            "timestamp,value\n2025-01-01,1\n2025-01-02,2\n",
            "3h",
            "--price from: found '3h'; expected a timestamp as in the file",
        ),
    ],
)
def test_wrong_files_are_one_line_with_line_and_field(written, text, begin, line):
    with pytest.raises(BadOption) as error:
        written(text, begin)
    assert line in str(error.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(BadOption, match=r"--carbon: nowhere\.csv cannot be read"):
        read_series("--carbon", "nowhere.csv", None, False)
