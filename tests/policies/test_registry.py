"""How a policy is named: built in, from a file, from an installed package; and each wrong name."""

from importlib.metadata import EntryPoint

import pytest
from governed import TYPICAL, setting

from model.work import Phase
from phasewatt.errors import BadPolicy
from policies import known_governors, make_governor, parse_policy, require_known
from policies import registry as registry_module
from policies.governor import min_energy

BUILT_IN = (
    "max-frequency, fixed, power-cap, phase-aware, min-energy, min-edp, min-ed2p, race-to-idle, "
    "phase-aware-amortised, composition-aware, slo-aware, feedback, fleet-cap, oracle, greenllm, "
    "voltana, pools"
)

GOOD = """
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Slow:
    argument: str
    setting: object
    cap_w: float | None = None
    idle_mhz: float | None = None

    @property
    def name(self):
        return f"slow:{self.argument}"

    def request_mhz(self, phase, work):
        return np.full(work.shape, 1000.0)


def made_by_a_function(argument, setting):
    return Slow(argument, setting)


class TakesNothing:
    pass


class NoGovernor:
    def __init__(self, argument, setting):
        self.name = "no"
        self.cap_w = None


class Breaks:
    def __init__(self, argument, setting):
        raise ZeroDivisionError("mine")


NUMBER = 3
"""


@pytest.fixture
def policy_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def refused(text, tmp_path=None):
    with pytest.raises(BadPolicy) as error:
        make_governor(text, setting())
    line = str(error.value)
    assert "\n" not in line
    return line if tmp_path is None else line.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("phase-awear", "; did you mean phase-aware?"),
        ("max_frequency", "; did you mean max-frequency?"),
        ("min-energie:3", "; did you mean min-energy?"),
        ("zzz", ""),
    ],
)
def test_an_unknown_name(name, hint):
    assert refused(name) == (f"unknown policy {name.partition(':')[0]!r}; known: {BUILT_IN}{hint}")


@pytest.mark.parametrize("name", ["Slow", "made_by_a_function"])
def test_a_policy_from_a_file(policy_file, name):
    governor = make_governor(f"{policy_file}:{name}:with:colons", setting())
    assert governor.name == "slow:with:colons"
    assert governor.request_mhz(Phase.DECODE, TYPICAL[Phase.DECODE]).tolist() == [1000.0]
    assert make_governor(f"{policy_file}:{name}", setting()).name == "slow:"


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        ("", "policy mine.py: expected mine.py:NAME, the name of a class in that file"),
        (":", "policy mine.py: expected mine.py:NAME, the name of a class in that file"),
        (
            ":TakesNothing",
            "policy mine.py:TakesNothing: cannot be called with (argument, setting): too many "
            "positional arguments",
        ),
        (
            ":NoGovernor",
            "policy mine.py:NoGovernor: is not a governor: lacks idle_mhz, request_mhz",
        ),
    ],
)
def test_a_file_that_cannot_be_used(policy_file, tmp_path, rest, line):
    assert refused(f"{policy_file}{rest}", tmp_path) == line


@pytest.mark.parametrize("name", ["Missing", "NUMBER"])
def test_a_file_lists_what_it_has(policy_file, tmp_path, name):
    line = refused(f"{policy_file}:{name}", tmp_path)
    assert line.startswith(f"policy mine.py: has no {name!r}; it has ")
    assert "Slow, made_by_a_function, TakesNothing, NoGovernor, Breaks" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "SyntaxError: "),
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named "),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("x = '\0'\n", ""),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path, text, said):
    path = tmp_path / "broken.py"
    path.write_text(text)
    line = refused(f"{path}:Any", tmp_path)
    assert line.startswith(f"policy broken.py: cannot be imported: {said}")


def test_a_file_that_is_not_there(tmp_path):
    assert refused(f"{tmp_path}/gone.py:Any", tmp_path) == "policy gone.py:Any: no such file"
    (tmp_path / "folder.py").mkdir()
    assert refused(f"{tmp_path}/folder.py:Any", tmp_path) == "policy folder.py:Any: no such file"


def test_what_a_user_s_own_code_raises_shows_where(policy_file):
    with pytest.raises(ZeroDivisionError, match="mine"):
        make_governor(f"{policy_file}:Breaks", setting())


@pytest.fixture
def installed(monkeypatch):
    def install(**points):
        group = registry_module.ENTRY_POINT_GROUP
        monkeypatch.setattr(
            registry_module,
            "entry_points",
            lambda group: [EntryPoint(name, value, group) for name, value in points.items()],
        )
        assert group == "phasewatt.governors"

    return install


def test_a_policy_from_an_installed_package(installed):
    installed(greedy="policies.governor:min_energy", fixed="policies.governor:min_edp")
    assert known_governors() == (*BUILT_IN.split(", "), "greedy")
    assert make_governor("greedy", setting()) == min_energy("", setting())
    # What is built in cannot be replaced by a package.
    assert make_governor("fixed:1500", setting()).name == "fixed:1500"
    assert refused("greedi").endswith("pools, greedy; did you mean greedy?")


def test_a_package_that_cannot_be_used(installed):
    installed(gone="no_such_module_at_all:f", short="policies.governor:held_mhz", odd="math:sqrt")
    assert refused("gone").startswith(
        "policy gone: cannot be imported: ModuleNotFoundError: No module named "
    )
    assert refused("short").startswith(
        "policy short: cannot be called with (argument, setting): missing a required argument"
    )
    assert refused("odd").startswith("policy odd: cannot be called with (argument, setting): ")


@pytest.mark.parametrize(
    ("text", "selection", "governor"),
    [
        ("phase-aware", None, "phase-aware"),
        ("single:m", "single:m", "max-frequency"),
        ("single:m+fixed:1380", "single:m", "fixed:1380"),
        (" fixed:1380 + single:m ", "single:m", "fixed:1380"),
        ("phase-aware:prefill=1,decode=2", None, "phase-aware:prefill=1,decode=2"),
        ("cascade:threshold=-0.5,text+min-edp", "cascade:threshold=-0.5,text", "min-edp"),
    ],
)
def test_a_selection_and_a_governor(text, selection, governor):
    spec = parse_policy(text)
    assert (spec.text, spec.selection, spec.governor) == (text, selection, governor)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "policy '': found an empty part; expected SELECTION+GOVERNOR"),
        ("a+", "policy 'a+': found an empty part; expected SELECTION+GOVERNOR"),
        (
            "fixed:1+min-edp",
            "policy 'fixed:1+min-edp': found 0 selections and 2 governors; expected at most one "
            "of each",
        ),
        (
            "single:a+single:b",
            "policy 'single:a+single:b': found 2 selections and 0 governors; expected at most one "
            "of each",
        ),
    ],
)
def test_wrong_combinations(text, line):
    with pytest.raises(BadPolicy) as error:
        parse_policy(text)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "text", [*BUILT_IN.split(", "), "fixed:99", "gone.py:Any", "random:0.3+min-edp"]
)
def test_names_are_known_without_what_governors_are_made_from(text):
    require_known(parse_policy(text))


def test_an_unknown_name_is_refused_in_the_same_words():
    with pytest.raises(BadPolicy) as error:
        require_known(parse_policy("min-edps"))
    assert str(error.value) == refused("min-edps")
