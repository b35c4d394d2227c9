"""What is known of the models' answers: outcomes, confidences, lengths, and what the text tells.

In: a trace, perhaps a table of outcomes and a predictor. Out: :class:`Answers`, by the fleet's own
names of its models, and sentences for what of it is assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.difficulty.features import Features, features_of
from model.difficulty.predictor import DifficultyPredictor
from model.difficulty.predictor_file import load_predictor
from model.difficulty.table import OutcomeTable, read_table
from model.work import Array
from phasewatt.errors import BadOption, BadPolicy
from simulate.scenario import Scenario
from simulate.serving import Queries
from traces import Trace

LENGTH_FEATURES = ("words", "chars")
"""Which features tell how long a query of a table is; the first that it has is taken."""

_SHIPPED = resources.files("model") / "shipped" / "difficulty"
_SUFFIX = ".outcomes.csv.gz"

_NEIGHBOURS = 20
"""Rows of a table among which a query is dealt one, around its place in the order of lengths."""


@dataclass(frozen=True)
class Predicted:
    """What ``predictor`` makes of all queries, once it is asked; columns are ``models``."""

    answers: "Answers"
    predictor: DifficultyPredictor
    models: tuple[str, ...]

    @cached_property
    def tasks(self) -> NDArray[np.str_] | None:
        """The task of each query, shape (n,), where the predictor asks for it and it is known."""
        return self.answers.tasks if self.predictor.tasks else None

    @cached_property
    def quality(self) -> Array:
        """Probability that each model answers well, shape (n, models)."""
        columns = [self.predictor.column(model) for model in self.models]
        return self.predictor.probabilities(self.answers.features, self.tasks)[:, columns]

    @cached_property
    def unlike(self) -> NDArray[np.bool_]:
        """Which queries are unlike the predictor's training data, shape (n,)."""
        return self.predictor.unlike(self.answers.features, self.tasks)

    def gain(self, small: int, large: int) -> Array:
        """Return the expected quality of one model minus that of another, shape (n,)."""
        pair = (self.models[small], self.models[large])
        return self.predictor.gain(self.answers.features, *pair, tasks=self.tasks)


@dataclass(frozen=True)
class Answers:
    """What is known of answers, one row a query of ``trace``.

    Attributes:
        trace: the queries.
        names: for each model of the fleet, what outcomes and predictor call it.
        quality: outcomes by the fleet's names, shape (n,), NaN where unknown.
        confidence: how sure each model is, likewise.
        joined: the table's rows where outcomes were joined from one for all; None otherwise.
        predictor: what predicts quality from text; None where none was named.
        assumed: what of this is assumed, one sentence each.
    """

    trace: Trace
    names: Mapping[str, str]
    quality: Mapping[str, Array]
    confidence: Mapping[str, Array]
    joined: OutcomeTable | None
    predictor: DifficultyPredictor | None
    assumed: tuple[str, ...] = field(default=())

    def answered_by(self, model: str | None, queries: Queries) -> Queries:
        """Return ``queries`` with answers as long as ``model`` gives them, where that is known."""
        own = None if model is None else self.trace.answer_tokens.get(self.names.get(model, model))
        if own is None:
            return queries
        usual = queries.lengths.output_tokens
        tokens = np.where(np.isnan(own), usual, np.nan_to_num(own)).astype(np.int64)
        return replace(queries, lengths=replace(queries.lengths, output_tokens=tokens))

    @cached_property
    def has_text(self) -> bool:
        """Whether anything is known of the queries' text."""
        return self.joined is not None or self.trace.text is not None

    @cached_property
    def tasks(self) -> NDArray[np.str_] | None:
        """The task of each query, shape (n,), empty where it has none; None where nobody knows."""
        if self.joined is not None:
            return self.joined.tasks
        tasks = self.trace.task
        return None if tasks is None else np.array([task or "" for task in tasks.to_pylist()])

    @cached_property
    def features(self) -> Features:
        """Features of all queries.

        Raises:
            BadPolicy: the text of some query is missing.
            BadPredictor: an extractor that is not installed.
        """
        if self.joined is not None:
            return self.joined.features
        texts = [] if self.trace.text is None else self.trace.text.to_pylist()
        missing = sum(not text for text in texts) if texts else len(self.trace)
        if missing:
            raise BadPolicy(
                f"trace '{self.trace.name}': text is missing for {missing:,} of "
                f"{len(self.trace):,} queries; expected it for all"
            )
        if self.predictor is None:
            return features_of(texts)
        return features_of(texts, self.predictor.extractor)

    def predicted(self, models: Sequence[str]) -> Predicted | None:
        """Return what the text tells of ``models``; None without text or a predictor of them."""
        names = tuple(self.names.get(model, model) for model in models)
        predictor = self.predictor
        if predictor is None or not self.has_text or not set(names) <= set(predictor.models):
            return None
        return Predicted(self, predictor, names)

    def column(self, name: str) -> Array:
        """Return one feature of all queries, shape (n,)."""
        return self.features.column(name)

    def table(self, figures: Mapping[str, Array], models: Sequence[str]) -> Array | None:
        """Return ``figures`` of ``models`` as columns, NaN where unknown; None where all is."""
        if not any(model in figures for model in models):
            return None
        unknown = np.full(len(self.trace), np.nan)
        return np.column_stack([figures.get(model, unknown) for model in models])


def answers_of(trace: Trace, scenario: Scenario, models: Sequence[str]) -> Answers:
    """Return what ``trace``, and what ``scenario`` names beside it, tell of ``models``.

    Raises:
        BadOption: a model is spoken of that the fleet does not have, or a table knows none of them.
        BadPredictor: the table or the predictor cannot be used.
    """
    alias = _aliases(scenario.quality_of, models)
    names = {model: alias.get(model, model) for model in models}
    assumed = tuple(f"assumed: {m} answers as well as {name}" for m, name in alias.items())
    predictor = None if scenario.predictor is None else load_predictor(scenario.predictor)
    if scenario.quality_from is None:
        quality = {m: trace.quality[n] for m, n in names.items() if n in trace.quality}
        sure = {m: trace.confidence[n] for m, n in names.items() if n in trace.confidence}
        return Answers(trace, names, quality, sure, None, predictor, assumed)
    table = read_table(_path_of(scenario.quality_from))
    known = [model for model in models if names[model] in table.models]
    if not known:
        raise BadOption(
            f"--quality-from {scenario.quality_from}: found outcomes of "
            f"{', '.join(table.models)}; expected {', '.join(models)}, or --quality-of MODEL=NAME "
            "to say who answers like whom"
        )
    rows, how = _joined(trace, table, scenario)
    found = rows >= 0
    quality, sure = {}, {}
    for model in known:
        column = table.column(names[model])
        quality[model] = np.where(found, table.outcomes[rows, column], np.nan)
        if table.confidences is not None:
            sure[model] = np.where(found, table.confidences[rows, column], np.nan)
    joined = table.rows(rows) if found.all() else None
    return Answers(trace, names, quality, sure, joined, predictor, (*assumed, how))


def shipped_tables() -> tuple[str, ...]:
    """Return the names of the tables of outcomes that come with phasewatt."""
    names = (item.name for item in _SHIPPED.iterdir())
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)))


def _path_of(source: str) -> Path:
    if source in shipped_tables():
        return Path(str(_SHIPPED / f"{source}{_SUFFIX}"))
    return Path(source)


def _aliases(written: Sequence[str], models: Sequence[str]) -> dict[str, str]:
    alias: dict[str, str] = {}
    for text in written:
        model, _, name = text.partition("=")
        if not name or model in alias:
            raise BadOption(f"--quality-of: found {text!r}; expected MODEL=NAME, each MODEL once")
        if model not in models:
            raise BadOption(
                f"--quality-of: unknown model {model!r}; expected one of {', '.join(models)}"
            )
        alias[model] = name
    return alias


def _joined(trace: Trace, table: OutcomeTable, scenario: Scenario) -> tuple[NDArray[np.int64], str]:
    """Return the table's row of each query, -1 for none, shape (n,), and how it was found."""
    source = f"outcomes of {scenario.quality_from}"
    if trace.query_id is not None:
        rows = np.asarray(
            pc.index_in(trace.query_id, pa.array(table.ids.tolist(), pa.large_string()))
            .fill_null(-1)
            .to_numpy(zero_copy_only=False),
            dtype=np.int64,
        )
        share = float(np.mean(rows >= 0))
        if share > 0:
            return rows, f"assumed: {source}, by query_id, are those of {share:.0%} of the queries"
    return _dealt(trace, table, scenario.seed), (
        f"assumed: {source}, dealt to queries by length: the longer the prompt, the longer the "
        "question"
    )


def _dealt(trace: Trace, table: OutcomeTable, seed: int) -> NDArray[np.int64]:
    """Return a row for each query whose length has about the same rank in the table, (n,)."""
    name = next((each for each in LENGTH_FEATURES if each in table.features.names), None)
    if name is None:
        raise BadOption(
            "--quality-from: the table tells no lengths to match by; expected query_id in trace "
            f"and table, or a feature {LENGTH_FEATURES[0]}"
        )
    rng = np.random.default_rng([seed, len(table)])
    order = np.argsort(table.features.column(name), kind="stable")
    place = np.empty(len(trace))
    place[np.lexsort((rng.random(len(trace)), trace.prompt_tokens))] = np.arange(len(trace))
    near = place / len(trace) * len(order) + rng.uniform(-0.5, 0.5, len(trace)) * _NEIGHBOURS
    return order[np.clip(near, 0, len(order) - 1).astype(np.int64)].astype(np.int64)
