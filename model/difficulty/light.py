"""Light features of a query: what regular expressions and counting can say, about 0.2 ms each.

In: a :class:`model.difficulty.reading.Reading`. Out: one number per name in :data:`NAMES`. The
groups are length, words, readability, numbers, mathematics and code, kind of question, options,
negation, and nesting.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final

from model.difficulty import lexicon
from model.difficulty.reading import Reading, words_of

NAMES: Final = (
    "chars", "words", "sentences", "words_per_sentence", "longest_word",
    "mean_word_length", "long_words", "syllables_per_word", "polysyllables", "reading_ease",
    "type_token_ratio", "hapax_ratio", "function_words", "pronouns", "second_person", "modals",
    "quantifiers", "superlatives", "definites", "hypotheticals", "past", "plural_ratio",
    "capitalised", "acronyms", "non_ascii",
    "numbers", "number_ratio", "largest_number", "decimals", "years", "percents", "money",
    "operators", "latex", "equations", "brackets", "code_marks", "units",
    "asks_what", "asks_who", "asks_when", "asks_where", "asks_which", "asks_why", "asks_how",
    "asks_how_many", "asks_yes_no", "imperative", "question_marks", "ends_with_question",
    "gaps", "open_end", "first_word_length", "last_word_length", "statements",
    "options", "option_words", "option_spread", "option_numbers", "option_share",
    "option_overlap", "all_or_none", "true_or_false", "roman_options",
    "negations", "excepts",
    "commas", "depth", "subordinates", "quotes", "dashes", "colons", "lines", "apostrophes",
)  # fmt: skip

_VOWELS = re.compile(r"[aeiouy]+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
_YEAR = re.compile(r"\b1[0-9]\d\d\b|\b20\d\d\b")
_MONEY = re.compile(r"[$€£]|\bdollars?\b|\bcents?\b", re.IGNORECASE)
_OPERATOR = re.compile(r"[=+*/^<>|~±×÷√∑∫≤≥≠]|(?<=\d) ?- ?(?=\d)")
_LATEX = re.compile(r"\\[A-Za-z]+|\$[^$\n]+\$|[_^]\{?\w|\bZ_\d|\bsqrt\b")
_EQUATION = re.compile(r"[\w)] ?= ?[\w(-]")
_CODE = re.compile(
    r"`|\w\(\)|[{};]|\b(?:def|return|import|print|int|void|null|class|for|while)\b[ (]|->|=="
)
_UNIT = re.compile(
    r"\d ?(?:%|°|[kKmMcunµ]?(?:g|m|s|l|L|W|V|A|J|N|Hz|Pa|mol)\b|hours?|minutes?|days?|weeks?|years?"
    r"|miles?|feet|inches|pounds?|ounces?|gallons?)"
)
_CAPITALISED = re.compile(r"\b[A-Z][a-z]")
_ACRONYM = re.compile(r"\b[A-Z]{2,}\b")
_GAP = re.compile(r"_{2,}|\.{3,}|…")
_STATEMENT = re.compile(r"\bstatement\b|\b[IV]{1,3}[.)]", re.IGNORECASE)
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|neither) (?:of )?(?:the |these|above|of)|all of|none of", re.IGNORECASE
)
_TRUE_FALSE = re.compile(r"\A(?:true|false|yes|no)\b", re.IGNORECASE)
_ROMAN = re.compile(r"\A(?:I|II|III|IV|1|2|3)(?:(?:,| and|,? only| &)|\Z)")
_EXCEPT = re.compile(r"\b(?:EXCEPT|NOT|except|least likely|incorrect|not true|false)\b")
_QUOTE = re.compile(r"[\"“”]|(?<!\w)'(?=\w)")
_DASH = re.compile(r"[–—]|\s-\s")

_WH: Final = {
    "what": "asks_what",
    "who": "asks_who",
    "whom": "asks_who",
    "whose": "asks_who",
    "when": "asks_when",
    "where": "asks_where",
    "which": "asks_which",
    "why": "asks_why",
    "how": "asks_how",
}


def light(reading: Reading) -> list[float]:
    """Return the light features of one query in the order of :data:`NAMES`; all are finite."""
    found = dict.fromkeys(NAMES, 0.0)
    found.update(_length_and_words(reading))
    found.update(_numbers_and_marks(reading))
    found.update(_question(reading))
    found.update(_options(reading))
    found.update(_nesting(reading))
    return [found[name] for name in NAMES]


def _length_and_words(reading: Reading) -> dict[str, float]:
    words = reading.words
    stem = reading.stem_words
    total = max(len(words), 1)
    counts = Counter(words)
    letters = [word for word in words if word[0].isalpha()]
    syllables = [_syllables(word) for word in letters]
    spoken = max(len(letters), 1)
    per_word = sum(syllables) / spoken
    per_sentence = len(stem) / reading.sentences

    def share(listed: frozenset[str]) -> float:
        return sum(counts[word] for word in listed if word in counts) / total

    return {
        "chars": len(reading.text),
        "words": len(words),
        "sentences": reading.sentences,
        "words_per_sentence": per_sentence,
        "longest_word": max(map(len, letters), default=0),
        "mean_word_length": sum(map(len, letters)) / spoken,
        "long_words": sum(len(word) >= 8 for word in letters) / spoken,
        "syllables_per_word": per_word,
        "polysyllables": sum(each >= 4 for each in syllables) / spoken,
        "reading_ease": 206.835 - 1.015 * per_sentence - 84.6 * per_word,
        "type_token_ratio": len(counts) / total,
        "hapax_ratio": sum(n == 1 for n in counts.values()) / total,
        "function_words": share(lexicon.FUNCTION),
        "pronouns": share(lexicon.PRONOUN),
        "second_person": share(lexicon.SECOND_PERSON),
        "modals": share(lexicon.MODAL),
        "quantifiers": share(lexicon.QUANTIFIER),
        "superlatives": share(lexicon.SUPERLATIVE),
        "definites": share(lexicon.DEFINITE),
        "hypotheticals": share(lexicon.HYPOTHETICAL),
        "past": share(lexicon.PAST)
        + sum(n for word, n in counts.items() if len(word) > 4 and word.endswith("ed")) / total,
        "plural_ratio": sum(n for w, n in counts.items() if len(w) > 3 and w[-1] == "s") / total,
        "negations": share(lexicon.NEGATION) * total,
        "subordinates": share(lexicon.SUBORDINATE),
    }


def _numbers_and_marks(reading: Reading) -> dict[str, float]:
    text, stem = reading.text, reading.stem
    numbers = _NUMBER.findall(stem)
    values = [float(each.replace(",", "")[:15]) for each in numbers]
    return {
        "capitalised": len(_CAPITALISED.findall(stem)) / max(len(reading.stem_words), 1),
        "acronyms": len(_ACRONYM.findall(stem)),
        "non_ascii": len(text) - len(text.encode("ascii", "ignore")),
        "numbers": len(numbers),
        "number_ratio": len(numbers) / max(len(reading.stem_words), 1),
        "largest_number": math.log10(1 + max(values, default=0.0)),
        "decimals": sum("." in each for each in numbers),
        "years": len(_YEAR.findall(stem)),
        "percents": text.count("%") + stem.count("percent"),
        "money": len(_MONEY.findall(stem)),
        "operators": len(_OPERATOR.findall(text)),
        "latex": len(_LATEX.findall(text)),
        "equations": len(_EQUATION.findall(text)),
        "brackets": text.count("(") + text.count("[") + text.count("{"),
        "code_marks": len(_CODE.findall(text)),
        "units": len(_UNIT.findall(stem)),
        "excepts": len(_EXCEPT.findall(stem)),
    }


def _question(reading: Reading) -> dict[str, float]:
    stem = reading.stem
    words = [word.lower() for word in reading.stem_words]
    found: dict[str, float] = {}
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == "how" and following in ("many", "much"):
            found.setdefault("asks_how_many", 1.0)
        elif word in _WH:
            found.setdefault(_WH[word], 1.0)
    first = words[0] if words else ""
    closing = stem.rstrip()[-1:]
    return {
        **found,
        "asks_yes_no": float(first in lexicon.AUXILIARY),
        "imperative": float(first in lexicon.IMPERATIVE),
        "question_marks": stem.count("?"),
        "ends_with_question": float(closing == "?"),
        "open_end": float(closing not in ("?", ".", "!")),
        "gaps": len(_GAP.findall(stem)),
        "statements": len(_STATEMENT.findall(stem)),
        "first_word_length": len(first),
        "last_word_length": len(words[-1]) if words else 0,
    }


def _options(reading: Reading) -> dict[str, float]:
    options = reading.options
    if not options:
        return {}
    split = [words_of(option.lower()) for option in options]
    sizes = [len(words) for words in split]
    mean = sum(sizes) / len(sizes)
    stem = {word.lower() for word in reading.stem_words} - lexicon.FUNCTION
    total = sum(sizes)
    overlap = sum(word in stem for words in split for word in words)
    return {
        "options": len(options),
        "option_words": mean,
        "option_spread": (max(sizes) - min(sizes)) / max(mean, 1.0),
        "option_numbers": _share(options, lambda option: option[:1].isdigit() or "=" in option),
        "option_share": total / max(len(reading.words), 1),
        "option_overlap": overlap / max(total, 1),
        "all_or_none": _share(options, _ALL_OR_NONE.search),
        "true_or_false": _share(options, _TRUE_FALSE.match),
        "roman_options": _share(options, _ROMAN.match),
    }


def _nesting(reading: Reading) -> dict[str, float]:
    text = reading.text
    return {
        "commas": reading.stem.count(",") / reading.sentences,
        "depth": _depth(text),
        "quotes": len(_QUOTE.findall(text)),
        "dashes": len(_DASH.findall(text)),
        "colons": text.count(":") + text.count(";"),
        "lines": reading.stem.count("\n"),
        "apostrophes": text.count("'s") + text.count("’s"),
    }


def _share(options: Sequence[str], holds: Callable[[str], object]) -> float:
    return sum(bool(holds(option)) for option in options) / len(options)


def _syllables(word: str) -> int:
    groups = len(_VOWELS.findall(word))
    if groups > 1 and word.endswith("e") and not word.endswith(("le", "ee")):
        groups -= 1
    return max(groups, 1)


def _depth(text: str) -> float:
    deepest = depth = 0
    for mark in text:
        if mark in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in ")]}":
            depth = max(depth - 1, 0)
    return float(deepest)
