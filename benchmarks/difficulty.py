"""Rebuild every table, predictor and result of query difficulty from the raw files.

In: a directory with cascades.jsonl.gz (github mzelling/rational-llm-cascades at 0d9c861),
boolq.jsonl.gz (csisc/BoolV at b306fff) and routellm.jsonl.gz (lm-sys/RouteLLM at 0b64fda), one
object a line. Out: model/shipped/difficulty, all of it but README.md and NOTICE.

    python benchmarks/difficulty.py RAW_DIRECTORY
    python benchmarks/difficulty.py RAW_DIRECTORY --only cascades --variant spacy

Fields of cascades: id, bench, prompt, correct {model: 0 or 1}, raw_conf {model: log-probability};
of boolq: id, question, answer, p_true {model-order: probability}; of routellm: id, subject,
question, correct {model: 0 or 1}. No text, and of cascades no row, is written anywhere.
"""

import argparse
import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibrate.difficulty.results import dump_results
from model.difficulty.entities import CAPITALS, SPACY
from model.difficulty.features import VERSION, Features, extractor_name, features_of
from model.difficulty.predictor_file import dump_predictor, packed
from model.difficulty.study import Plan, study
from model.difficulty.table import FEATURE, RIGHT, OutcomeTable, read_table
from model.difficulty.training import Recipe, train
from phasewatt.files import whole_file, write_text

OUT = Path(__file__).resolve().parent.parent / "model" / "shipped" / "difficulty"

WRAPPER = re.compile(
    r"\A.*?\n\n(?:Question|Problem): (?P<query>.*?)\n*(?:Answer|Step-By-Step Reasoning): *\Z",
    re.DOTALL,
)
"""The instruction around every prompt of cascades: it names the benchmark, so it goes."""

LLAMAS = {
    "llama3.2-1b": "llama-3.2-1b",
    "llama3.2-3b": "llama-3.2-3b",
    "llama3.1-8b": "llama-3.1-8b",
    "llama3.1-70b": "llama-3.1-70b",
    "llama3.1-405b": "llama-3.1-405b",
}
CASCADES_PAIRS = (
    ("llama-3.2-1b", "llama-3.1-8b"),
    ("llama-3.2-3b", "llama-3.1-8b"),
    ("llama-3.1-8b", "llama-3.1-70b"),
)
CASCADES = "github mzelling/rational-llm-cascades at 0d9c861 (arXiv 2501.09345)"

BOOLQ_MODELS = {
    "llama-3.2-1B": "llama-3.2-1b",
    "llama-3.2-3B": "llama-3.2-3b",
    "llama-3.2-8B": "llama-8b",
    "Phi-3.5-mini": "phi-3.5-mini",
    "Mistral-7B": "mistral-7b",
}
BOOLQ_PAIRS = (("llama-3.2-1b", "mistral-7b"),)
BOOLQ = "github csisc/BoolV at b306fff, MIT"

ROUTELLM_MODELS = {
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b-instruct",
    "gpt-4-1106-preview": "gpt-4-1106-preview",
}
ROUTELLM = "github lm-sys/RouteLLM at 0b64fda, Apache-2.0"
ROUTELLM_LABELS = 1500

_DIGITS = 4


@dataclass(frozen=True)
class Raw:
    """Queries with their text, as they are in the raw file."""

    ids: list[str]
    tasks: list[str] | None
    texts: list[str]
    models: tuple[str, ...]
    outcomes: np.ndarray
    confidences: np.ndarray | None = None

    def table(self, extractor: str) -> OutcomeTable:
        """Return the table with features made by ``extractor``."""
        return self.with_features(features_of(self.texts, extractor))

    def with_features(self, features: Features) -> OutcomeTable:
        """Return the table with these features."""
        tasks = None if self.tasks is None else np.array(self.tasks)
        return OutcomeTable(
            np.array(self.ids), tasks, features, self.models, self.outcomes, self.confidences
        )


def main() -> None:
    """Rebuild what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="the directory of the raw files")
    parser.add_argument("--only", choices=list(REBUILD))
    parser.add_argument("--variant", choices=list(VARIANTS), help="other features, results only")
    options = parser.parse_args()
    if options.variant:
        VARIANTS[options.variant](options.raw)
        return
    for name, rebuild in REBUILD.items():
        if options.only in (None, name):
            rebuild(options.raw)


def rebuild_cascades(directory: Path) -> None:
    """Two predictors (text alone; text and task) and the results; the rows stay where they are."""
    table = read_cascades(directory).table(extractor_name())
    for name, with_task in (("cascades", False), ("cascades-task", True)):
        _write_predictor(table, name, CASCADES, with_task=with_task)
    _write_results(table, Plan("cascades", CASCADES, CASCADES_PAIRS))


def rebuild_boolq(directory: Path) -> None:
    """The table without text, and the results."""
    table = _shipped_table(read_boolq(directory), "boolq")
    _write_results(table, Plan("boolq", BOOLQ, BOOLQ_PAIRS))


def rebuild_routellm(directory: Path) -> None:
    """The table without text, a predictor from it, and the results."""
    table = _shipped_table(read_routellm(directory), "routellm")
    _write_predictor(table, "routellm", ROUTELLM, with_task=False)
    _write_results(table, Plan("routellm", ROUTELLM, labels=ROUTELLM_LABELS))


def evaluate_spacy(directory: Path) -> None:
    """Results on cascades with entities found by spaCy; needs the extra nlp."""
    _write_variant(read_cascades(directory).table(extractor_name(SPACY)), "cascades-spacy")


def evaluate_without_words(directory: Path) -> None:
    """Results on cascades with counts alone: no member that reads which words there are."""
    _write_variant(read_cascades(directory).table(f"{VERSION}+{CAPITALS}"), "cascades-no-words")


def evaluate_minilm(directory: Path) -> None:
    """Results on cascades with sentence embeddings beside; needs the extra embed."""
    from calibrate.difficulty.embeddings import with_embeddings

    raw = read_cascades(directory)
    features = with_embeddings(features_of(raw.texts, extractor_name()), raw.texts)
    _write_variant(raw.with_features(features), "cascades-minilm")


def read_cascades(directory: Path) -> Raw:
    """Read the Llama models of cascades, prompts stripped of their wrapper."""
    rows = _rows(directory / "cascades.jsonl.gz")
    texts = []
    for row in rows:
        match = WRAPPER.match(row["prompt"])
        if match is None:
            raise SystemExit(f"cascades: {row['id']}: no wrapper found around the query")
        texts.append(match["query"].strip())
    return Raw(
        ids=[row["id"] for row in rows],
        tasks=[row["bench"] for row in rows],
        texts=texts,
        models=tuple(LLAMAS.values()),
        outcomes=np.array([[row["correct"][m] for m in LLAMAS] for row in rows], float),
        confidences=np.minimum([[row["raw_conf"][m] for m in LLAMAS] for row in rows], 0.0),
    )


def read_boolq(directory: Path) -> Raw:
    """Read BoolQ; a model says yes above its own median of P(TRUE), mean of both prompt orders."""
    rows = _rows(directory / "boolq.jsonl.gz")
    answer = np.array([row["answer"] for row in rows])
    columns = []
    for model in BOOLQ_MODELS:
        p_true = np.mean(
            [
                [row["p_true"][f"{model}-{order}"] for row in rows]
                for order in ("true-first", "false-first")
            ],
            axis=0,
        )
        columns.append((p_true > np.median(p_true)) == answer)
    return Raw(
        ids=[row["id"] for row in rows],
        tasks=None,
        texts=[row["question"] for row in rows],
        models=tuple(BOOLQ_MODELS.values()),
        outcomes=np.array(columns, float).T,
    )


def read_routellm(directory: Path) -> Raw:
    """Read RouteLLM's outcomes; the task is the subject."""
    rows = _rows(directory / "routellm.jsonl.gz")
    return Raw(
        ids=[row["id"] for row in rows],
        tasks=[row["subject"] for row in rows],
        texts=[row["question"] for row in rows],
        models=tuple(ROUTELLM_MODELS.values()),
        outcomes=np.array([[row["correct"][m] for m in ROUTELLM_MODELS] for row in rows], float),
    )


def _shipped_table(raw: Raw, name: str) -> OutcomeTable:
    """Write the table of counts, and return it as a reader of the file sees it."""
    table = raw.table(f"{VERSION}+{CAPITALS}")
    path = OUT / f"{name}.outcomes.csv.gz"
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    task = [] if table.tasks is None else ["task"]
    lines.writerow(
        [
            "id",
            *task,
            "extractor",
            *(f"{RIGHT}{model}" for model in table.models),
            *(f"{FEATURE}{each}" for each in table.features.names),
        ]
    )
    for index in range(len(table)):
        lines.writerow(
            [
                table.ids[index],
                *([] if table.tasks is None else [table.tasks[index]]),
                table.features.extractor,
                *(f"{value:g}" for value in table.outcomes[index]),
                *(_short(value) for value in table.features.values[index]),
            ]
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    _say(path)
    return read_table(path)


def _write_predictor(table: OutcomeTable, name: str, source: str, *, with_task: bool) -> None:
    learned = train(table, replace(Recipe(), with_task=with_task), name=name, source=source)
    path = OUT / f"{name}.predictor.json.gz"
    with whole_file(path) as temporary:
        temporary.write_bytes(packed(dump_predictor(learned)))
    _say(path)


def _write_results(table: OutcomeTable, plan: Plan) -> None:
    path = OUT / f"{plan.name}.results.json"
    write_text(path, dump_results(study(table, plan)))
    _say(path)


def _write_variant(table: OutcomeTable, name: str) -> None:
    """Write results without the confidences, which no set of features changes."""
    _write_results(replace(table, confidences=None), Plan(name, CASCADES, CASCADES_PAIRS))


def _short(value: float) -> str:
    return f"{value:.{_DIGITS}g}"


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _say(path: Path) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB", file=sys.stderr, flush=True)


REBUILD: dict[str, Callable[[Path], None]] = {
    "cascades": rebuild_cascades,
    "boolq": rebuild_boolq,
    "routellm": rebuild_routellm,
}
VARIANTS: dict[str, Callable[[Path], None]] = {
    "spacy": evaluate_spacy,
    "no-words": evaluate_without_words,
    "minilm": evaluate_minilm,
}

if __name__ == "__main__":
    main()
