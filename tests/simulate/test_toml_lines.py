"""Each key of a TOML file is found in the line where it stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasewatt.errors import BadOption
from simulate.toml_lines import parse_toml

VALUES = (
    "1",
    "true",
    '"text # not a comment"',
    "'[not.a.table]'",
    "[1, 2]",
    '[\n  "a", # why\n\n  "b = c",\n]',
    '"""\nk0 = 1\n[t0]\n"""',
    "'''a\n\n'''",
    "{x = 1, y = 'z'}",
)
"""How a value may be written, in one line or in several, with what looks like something else."""


@st.composite
def documents(draw):
    """A document, and the line and text of the statement that says each key."""
    rows, places, table, tables = [], {}, (), 0
    for number in range(draw(st.integers(0, 8))):
        rows += draw(st.sampled_from(([], [""], ["# k0 = 1"], ["  ", "# [t0]"])))
        if draw(st.booleans()):
            name = f"t{tables}"
            tables += 1
            table = (name,)
            places[table] = (len(rows) + 1, f"[{name}]  # a table")
            rows.append(f"[{name}]  # a table")
        key = f"k{number}"
        text = f"{key} = {draw(st.sampled_from(VALUES))}"
        places[(*table, key)] = (len(rows) + 1, text)
        rows += text.split("\n")
    return "\n".join(rows) + draw(st.sampled_from(("", "\n", "\n\n# end"))), places


@given(documents(), st.booleans())
def test_each_key_is_found_where_it_was_written(document, windows):
    text, places = document
    values, found = parse_toml(text.replace("\n", "\r\n") if windows else text, "f")
    assert values == tomllib.loads(text)
    said = {key: (place.line, place.text) for key, place in found.items() if key in places}
    assert said == places


def test_keys_in_nested_and_dotted_tables_and_in_lists_of_tables():
    _, found = parse_toml('a.b = 1\na.c = {d = 2}\n[x.y]\nz = 3\n[["q r"]]\ns = 4\n', "f")
    lines = {key: place.line for key, place in found.items()}
    assert lines == {
        ("a",): 1,
        ("a", "b"): 1,
        ("a", "c"): 2,
        ("a", "c", "d"): 2,
        ("x",): 3,
        ("x", "y"): 3,
        ("x", "y", "z"): 4,
        ("q r",): 5,
        ("q r", "s"): 6,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1\nb = \n", "f: line 2, column 5: not TOML: Invalid value"),
        ("a = 1\na = 2\n", "f: line 2, column 6: not TOML: Cannot overwrite a value"),
        ("a = 1\nb = [1,\n", "f: line 2: not TOML: "),
        ("\n\nb = [1,", "f: line 3: not TOML: "),
        ("just words\n", "f: line 1, column 6: not TOML: "),
        ("a = " + "[" * 5000, "f: not TOML that can be read: nested too deeply"),
    ],
)
def test_what_is_no_toml_is_one_line_that_names_its_line(text, says):
    with pytest.raises(BadOption) as error:
        parse_toml(text, "f")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
