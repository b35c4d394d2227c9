"""A query's text taken apart once: stem and options, words, sentences.

In: one text. Out: a :class:`Reading` that every feature shares. Only regular expressions; nothing
here depends on a language model.
"""

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*")
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++(?=\s|$)|\n+")
_OPTION = re.compile(r"^[ \t]*\(?([A-Z])[.:)][ \t]*(.*)$", re.MULTILINE)
_ENDING = re.compile(r"\n(?:Answer|Step-By-Step Reasoning|Choices):\s*\Z", re.IGNORECASE)
_CHOICES = re.compile(r"^[ \t]*(?:Choices|Options):[ \t]*\n", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """What a text says and how it is built.

    ``stem`` is the text before its options, ``options`` are their texts; ``words`` holds the
    lower-case words and numbers of both, ``stem_words`` those of the stem as they are written.
    ``sentences`` counts the stem's (at least 1).
    """

    text: str
    stem: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    stem_words: tuple[str, ...]
    sentences: int


def read(text: str) -> Reading:
    """Take ``text`` apart; a closing "Answer:" is not part of the question."""
    text = text.strip()
    heading = _CHOICES.search(text)
    if heading is not None:
        before = text[: heading.start()].rstrip("\n")
        text = before + "\n" + text[heading.end() :]
    text = _ENDING.sub("", text).rstrip()
    stem, options = _options(text)
    stem_words = tuple(_WORD.findall(stem))
    option_words = [word for option in options for word in _WORD.findall(option)]
    return Reading(
        text=text,
        stem=stem,
        options=options,
        words=tuple(word.lower() for word in (*stem_words, *option_words)),
        stem_words=stem_words,
        sentences=sum(1 for part in _SENTENCE_END.split(stem) if part.strip()) or 1,
    )


def words_of(text: str) -> list[str]:
    """Return the words and numbers of ``text`` as they are written."""
    return _WORD.findall(text)


def _options(text: str) -> tuple[str, tuple[str, ...]]:
    """Split off options: lines lettered A, B, ... in order, at least two of them."""
    found = list(_OPTION.finditer(text))
    while found and found[0][1] != "A":
        found.pop(0)
    letters = "".join(match[1] for match in found)
    if len(found) < 2 or letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(found)]:
        return text, ()
    ends = [match.start() for match in found[1:]] + [len(text)]
    options = (text[m.start(2) : end].strip() for m, end in zip(found, ends, strict=True))
    return text[: found[0].start()].strip(), tuple(options)
