"""Axes say which values an option takes, in any of the ways that one may write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasewatt.errors import BadOption
from simulate.sweep.axes import clock_axis, parse_axes

READ = {
    "a range": (["replicas=1:4"], "replicas", [1, 2, 3, 4]),
    "a range with a step": (["limit=10:35:10"], "limit", [10, 20, 30]),
    "a range of fractions": (["rate-scale=0.1:0.3:0.1"], "rate-scale", [0.1, 0.2, 0.3]),
    "a list": (["rate-scale=0.5,1,2"], "rate-scale", [0.5, 1.0, 2.0]),
    "ranges in a list": (["replicas=1:3,8,16"], "replicas", [1, 2, 3, 8, 16]),
    "words among numbers": (["replicas=auto,2"], "replicas", ["auto", "2"]),
    "twice the same": (["replicas=2,1,2"], "replicas", [2, 1]),
    "again": (["policy=min-edp", "policy=fixed:1500"], "policy", ["min-edp", "fixed:1500"]),
    "values with commas": (
        ["slo=ttft=1s,tpot=50ms; ttft=2s"],
        "slo",
        ["ttft=1s,tpot=50ms", "ttft=2s"],
    ),
    "one value with commas": (["slo=ttft=1s,tpot=50ms"], "slo", ["ttft=1s,tpot=50ms"]),
    "one policy with commas": (
        ["policy=phase-aware:prefill=1,decode=2;"],
        "policy",
        ["phase-aware:prefill=1,decode=2"],
    ),
    "no range": (["window=0:600,600:1200"], "window", ["0:600", "600:1200"]),
    "flags": (["beyond-measured=false,true"], "beyond-measured", [False, True]),
    "clocks": (["decode-mhz=1000:1500:250"], "decode-mhz", [1000.0, 1250.0, 1500.0]),
    "groups": (
        ["group=a=tiny:1&b=tiny:2,engine=hand;a=tiny:3"],
        "group",
        ["a=tiny:1&b=tiny:2,engine=hand", "a=tiny:3"],
    ),
}


@pytest.mark.parametrize(("grids", "name", "values"), READ.values(), ids=READ)
def test_axes_are_read(grids, name, values):
    (axis,) = parse_axes(grids)
    assert (axis.name, list(axis.values)) == (name, values)


def test_what_may_be_repeated_is_said_several_times_at_once():
    (axis,) = parse_axes(["group=a=tiny:1&b=tiny:2;a=tiny:3"])
    assert axis.texts == (("a=tiny:1", "b=tiny:2"), ("a=tiny:3",))


WRONG = {
    "no values": ("replicas", "--grid: found 'replicas'; expected NAME=VALUES"),
    "empty": ("replicas=", "--grid: found 'replicas='; expected NAME=VALUES"),
    "an empty value": ("replicas=1,,2", "--grid replicas: found an empty value in '1,,2'"),
    "no option": ("replica=1", "--grid: no option 'replica'; did you mean 'replicas'?"),
    "no number": ("rate-scale=1,x", "--rate-scale: 'x' is not a valid float"),
    "no choice": ("routing=fast", "--routing: 'fast' is not one of"),
    "backwards": ("replicas=4:1", "--grid replicas: found '4:1'; expected A:B[:STEP]"),
    "no step": ("limit=1:4:0", "--grid limit: found '1:4:0'; expected A:B[:STEP]"),
    "too many": ("limit=1:1000000", "expected at most 100,000 values; these are 1,000,000"),
    "output": ("output=a,b", "--grid: no option 'output'"),
    "seed": ("seed=1,2", "--grid seed: cannot be an axis: --seed is what --seeds sets"),
    "by": ("by=model", "--grid by: cannot be an axis: --by breaks one run down"),
    "clocks without step": ("decode-mhz=1:2", "--grid decode-mhz: found '1:2'; expected A:B:STEP"),
    "no clock": ("decode-mhz=fast", "--grid decode-mhz: found 'fast'; expected MHz, more than 0"),
}


@pytest.mark.parametrize(("grid", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_axis_is_one_line(grid, says):
    with pytest.raises(BadOption) as error:
        parse_axes([grid])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 9))
def test_a_range_counts_as_python_does(low, more, step):
    (axis,) = parse_axes([f"replicas={low}:{low + more}:{step}"])
    assert list(axis.values) == list(range(low, low + more + 1, step))


def test_clocks_are_read_as_their_own_options_write_them():
    assert clock_axis("prefill-mhz", "900,1200").values == (900.0, 1200.0)
    with pytest.raises(BadOption, match="--prefill-mhz: found '1:2'; expected A:B:STEP or A,B,C"):
        clock_axis("prefill-mhz", "1:2")
