"""Words say what a command line says, there and back, for any option and any value."""

import shlex

import pytest
import tiny
from any_words import any_words
from hypothesis import given

import simulate
from model.calibration import dump
from phasewatt.errors import BadOption, UserError
from simulate.cli import main
from simulate.words import long_name, word_options

OUTPUTS = {"output", "as_json", "verbose"}


def parsed(line):
    command, *arguments = shlex.split(line)
    assert command == "simulate"
    params = main.make_context("simulate", arguments).params
    return {name: value for name, value in params.items() if name not in OUTPUTS}


def test_words_are_what_the_command_takes_and_the_defaults_are_its_own():
    assert simulate.default_words() == parsed("simulate")
    assert simulate.command_line(simulate.default_words()) == "simulate"


@given(any_words())
def test_a_command_line_read_again_gives_the_same_words(words):
    assert parsed(simulate.command_line(words)) == words


@given(any_words())
def test_words_put_together_from_text_are_those_words(words):
    changes = {}
    for option in word_options():
        value = words[option.name]
        if value is not None:
            text = tuple(map(str, value)) if option.multiple else str(value)
            changes[long_name(option)] = text
    assert simulate.worded(simulate.default_words(), changes) == words


@given(any_words())
def test_a_line_says_nothing_that_can_be_left_out(words):
    changed = {name for name, default in simulate.default_words().items() if words[name] != default}
    arguments = main.make_parser(main.make_context("simulate", []))
    said, _, _ = arguments.parse_args(shlex.split(simulate.command_line(words))[1:])
    assert {name for name, value in said.items() if value is not None} == changed


def test_changes_are_made_in_a_copy_and_one_text_is_one_value():
    words = simulate.default_words()
    changed = simulate.worded(words, {"policy": "fixed:1500", "rate-scale": "2", "by": ["model"]})
    assert words == simulate.default_words()
    assert changed["policies"] == ("fixed:1500",)
    assert changed["rate_scale"] == 2.0
    assert simulate.command_line(changed) == (
        "simulate --rate-scale 2 --policy fixed:1500 --by model"
    )


WRONG = {
    "unknown": ({"rate-scal": "2"}, "no option 'rate-scal'; did you mean 'rate-scale'?"),
    "nothing like it": ({"zzz": "2"}, "no option 'zzz'; expected one of trace, format"),
    "not a number": ({"limit": "many"}, "--limit: 'many' is not a valid integer"),
    "no choice": ({"routing": "up"}, "--routing: 'up' is not one of"),
    "no flag": ({"token-times": "perhaps"}, "--token-times: 'perhaps' is not a valid boolean"),
    "an output": ({"output": "out"}, "no option 'output'"),
}


@pytest.mark.parametrize(("changes", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_change_is_one_line(changes, says):
    with pytest.raises(BadOption) as error:
        simulate.worded(simulate.default_words(), changes)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_words_name_the_inputs_of_a_run(tmp_path):
    (tmp_path / "tiny.json").write_text(dump(tiny.calibration()))
    words = simulate.worded(
        simulate.default_words(),
        {
            "trace": "synthetic:poisson,rate=1,n=30,prompt=100,output=10",
            "calibration": str(tmp_path / "tiny.json"),
            "limit": "20",
            "policy": ["min-energy", "fixed:1500"],
            "baseline": "fixed:1750",
            "draws": "0",
            "warm-up": "5s",
        },
    )
    inputs = simulate.inputs_of_words(words)
    assert len(inputs.trace) == 20
    assert inputs.calibration == tiny.calibration()
    assert inputs.scenario == simulate.Scenario(
        policies=("min-energy", "fixed:1500"),
        baseline="fixed:1750",
        draws=0,
        warm_up=simulate.warmup.WarmUp(5.0),
    )
    with pytest.raises(UserError, match="--trace is missing"):
        simulate.inputs_of_words(simulate.default_words())
