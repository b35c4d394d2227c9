"""Words at random: some options of `simulate` at values that their types take."""

import click
from hypothesis import strategies as st

import simulate
from simulate.words import word_options

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


def values(option):
    """What the type of ``option`` takes, as a strategy."""
    if isinstance(option.type, click.Choice):
        kind = st.sampled_from(list(option.type.choices))
    else:
        kind = {
            "integer": st.integers(),
            "float": st.floats(allow_nan=False),
            "boolean": st.booleans(),
        }.get(option.type.name, TEXTS)
    return st.lists(kind, min_size=1, max_size=3).map(tuple) if option.multiple else kind


@st.composite
def any_words(draw):
    """Words of which some are not at their defaults."""
    words = simulate.default_words()
    for option in draw(st.lists(st.sampled_from(word_options()), unique_by=id)):
        words[option.name] = draw(values(option))
    return words
