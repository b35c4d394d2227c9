"""Results of evaluations: computed from a table, or kept in a file.

In: a table's path, a results file, or the name of a shipped evaluation. Out: the document of
:func:`model.difficulty.study.study`.
"""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from calibrate.difficulty.embeddings import features_for
from model.difficulty.study import Plan, neighbours, parse_results, rounds, study
from model.difficulty.table import read_table
from phasewatt.console import progress
from phasewatt.errors import BadOption, BadPredictor

_SHIPPED = resources.files("model") / "shipped" / "difficulty"
_SUFFIX = ".results.json"
_DIGITS = 6


def results_of(
    table: str,
    extractor: str,
    pairs: Sequence[tuple[str, str]],
    models: Sequence[str] | None,
    labels: int,
    seed: int,
) -> dict[str, Any]:
    """Return the results named ``table``: kept ones as they are, others computed now.

    Numbers have six digits, so that results print the same before and after they are kept.

    Raises:
        BadPredictor: no such file or name, or a table that cannot be judged.
        BadOption: options of a computation with results that are kept.
    """
    kept = _kept(table)
    if kept is not None:
        if pairs or models or labels or seed:
            raise BadOption(
                f"{table}: its results are kept; --pair, --models, --labels and --seed "
                "go with a table"
            )
        return kept
    outcomes = read_table(Path(table), extractor, features_for)
    if models is not None:
        outcomes = outcomes.of_models(models)
    chosen = tuple(pairs) or neighbours(outcomes)
    name = Path(table).name.split(".")[0]
    plan = Plan(name, f"from {Path(table).name}", chosen, labels=labels, seed=seed)
    with progress("judging", rounds(outcomes, chosen)) as advance:
        found: dict[str, Any] = _rounded(study(outcomes, plan, advance))
    return found


def shipped_results() -> tuple[str, ...]:
    """Return the names of the evaluations that come with phasewatt."""
    names = (item.name for item in _SHIPPED.iterdir())
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)))


def dump_results(document: dict[str, Any]) -> str:
    """Return the document as JSON text, numbers to six digits."""
    return json.dumps(_rounded(document), indent=1, allow_nan=False) + "\n"


def _kept(table: str) -> dict[str, Any] | None:
    if "/" not in table and not Path(table).suffix:
        shipped = _SHIPPED / f"{table}{_SUFFIX}"
        if shipped.is_file():
            return parse_results(shipped.read_text(encoding="utf-8"), table)
        if not Path(table).exists():
            raise BadPredictor(
                f"{table}: no such table; expected a file or one of {', '.join(shipped_results())}"
            )
    if Path(table).suffix != ".json":
        return None
    try:
        return parse_results(Path(table).read_text(encoding="utf-8"), table)
    except FileNotFoundError:
        raise BadPredictor(f"{table}: no such file; expected results or a table") from None
    except (OSError, UnicodeDecodeError):
        raise BadPredictor(f"{table}: cannot be read as JSON text") from None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
