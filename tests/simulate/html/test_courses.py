"""Power and clock over time add up to what a slow sum over every interval says."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulate.html.course import bin_width_s, read_courses

INTERVAL = st.tuples(
    st.floats(0.001, 30.0), st.floats(0.0, 900.0), st.one_of(st.none(), st.floats(300.0, 2000.0))
)


def overlap_s(start_s, end_s, low_s, high_s):
    return max(min(end_s, high_s) - max(start_s, low_s), 0.0)


def slow(rows, width_s, bins):
    power, clock = np.zeros(bins), np.zeros(bins)
    seen = np.zeros(bins)
    for start_s, duration_s, power_w, sm_mhz in rows:
        for index in range(bins):
            inside = overlap_s(
                start_s, start_s + duration_s, index * width_s, (index + 1) * width_s
            )
            power[index] += power_w * inside
            if sm_mhz is not None:
                clock[index] += sm_mhz * inside
                seen[index] += inside
    return power, clock, seen


def write(path, rows_of):
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for policy, rows in rows_of:
            start_s, duration_s, power_w, sm_mhz = zip(*rows, strict=True)
            columns = [pa.repeat(policy, len(rows)), start_s, duration_s, power_w, sm_mhz]
            writer.write_table(pa.table(columns, schema=SCHEMA))


SCHEMA = pa.schema(
    [("policy", pa.string())]
    + [(name, pa.float64()) for name in ("start_s", "duration_s", "power_w", "sm_mhz")]
)


def timelines(replicas):
    """Rows of replicas whose intervals follow each other, all cut off at one end."""
    end_s = min(sum(each[0] for each in replica) for replica in replicas)
    rows = []
    for replica in replicas:
        start_s = 0.0
        for duration_s, power_w, sm_mhz in replica:
            if start_s < end_s:
                rows.append((start_s, min(duration_s, end_s - start_s), power_w, sm_mhz))
            start_s += duration_s
    return rows, end_s


@given(
    replicas=st.lists(st.lists(INTERVAL, min_size=1, max_size=8), min_size=1, max_size=3),
    width_s=st.sampled_from([0.5, 1.0, 5.0]),
)
def test_bins_hold_what_a_slow_sum_says(replicas, width_s, tmp_path_factory):
    rows, end_s = timelines(replicas)
    path = tmp_path_factory.mktemp("course") / "power.parquet"
    write(path, [("other", [(0.0, 1.0, 5.0, None)]), ("this", rows)])
    other, course = read_courses(path, ["other", "this"], [1.0, end_s], width_s)
    bins = course.power_w.size
    joules, cycles, seen_s = slow(rows, width_s, bins)
    reached_s = np.minimum((np.arange(bins) + 1) * width_s, end_s) - np.arange(bins) * width_s
    np.testing.assert_allclose(course.power_w * reached_s, joules, atol=1e-6)
    clocked = seen_s > 1e-5
    sm_mhz = cycles[clocked] / seen_s[clocked]
    np.testing.assert_allclose(course.sm_mhz[clocked], sm_mhz, rtol=1e-3)
    assert np.all(np.isnan(course.sm_mhz[seen_s == 0]))
    assert course.energy_j == pytest.approx(sum(row[1] * row[2] for row in rows))
    assert other.energy_j == 5.0


@pytest.mark.parametrize(
    ("end_s", "width_s"), [(3500.0, 1.0), (60.0, 1.0), (4001.0, 2.0), (100_000.0, 50.0)]
)
def test_bins_are_a_second_wide_where_that_fits(end_s, width_s):
    assert bin_width_s(end_s, 4000) == width_s


@pytest.mark.parametrize("end_s", [0.003, 0.7, 12.0, 59.0])
def test_short_runs_have_enough_bins(end_s):
    assert 20 <= end_s / bin_width_s(end_s, 4000) <= 60
