"""The word lists of the features: every list that the paper leaves open is chosen here, by name.

In: nothing. Out: frozen sets of lower-case words. The five words of ``CAUSAL_QUESTION`` are the
paper's own (arXiv 2501.08219, section V); of ``REASONING`` it gives three as examples.
"""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CAUSAL_QUESTION: Final = _words("why how explain justify prove")

REASONING: Final = _words(
    "because therefore however thus hence since consequently so although though whereas while "
    "unless despite instead otherwise if then than more less most least better best worse worst "
    "compared similar similarly different differently likewise unlike but yet cause causes "
    "caused reason reasons result results implies due"
)
"""Causal and comparison markers; "because", "therefore" and "however" are the paper's."""

NEGATION: Final = _words(
    "not no never none nor neither nobody nothing nowhere cannot without except false incorrect "
    "untrue isn't aren't wasn't weren't don't doesn't didn't won't wouldn't can't couldn't "
    "shouldn't hasn't haven't hadn't"
)

AUXILIARY: Final = _words(
    "is are was were am do does did can could will would should shall may might must has have "
    "had isn't aren't wasn't don't doesn't didn't can't"
)
"""Words that open a question whose answer is yes or no."""

IMPERATIVE: Final = _words(
    "find calculate compute determine evaluate solve explain describe list name identify choose "
    "select give state write show prove justify compare define estimate simplify convert let "
    "suppose assume consider complete fill"
)

FUNCTION: Final = _words(
    "a an the of in on at by for with to from into onto over under about as and or but if then "
    "than that this these those it its is are was were be been being do does did has have had "
    "he she they we you i his her their our your my me him them us what which who whom whose "
    "when where why how not no so such there here all any each both some most more other can "
    "could will would should may might must"
)

PRONOUN: Final = _words("i you we he she they me him her us them my your our his their")

SECOND_PERSON: Final = _words("you your yours i my me")

MODAL: Final = _words("can could will would should shall may might must")

QUANTIFIER: Final = _words(
    "all every each any always only many few several both half twice double total altogether "
    "remaining left per another"
)

SUPERLATIVE: Final = _words(
    "most least best worst first last largest smallest longest shortest highest lowest oldest "
    "youngest biggest greatest earliest latest commonest main primary"
)

SUBORDINATE: Final = _words(
    "that which who whom whose when where while because although if since unless until whether "
    "after before"
)

PAST: Final = _words("was were did had became won wrote born died played sang directed")

DEFINITE: Final = _words("the this these those")

HYPOTHETICAL: Final = _words("if suppose assume imagine would let given")
