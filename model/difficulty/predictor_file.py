"""Predictors as files: XGBoost's own JSON and metadata in one JSON document, never a pickle.

In: JSON text or bytes, plain or gzipped, or the name of a shipped predictor. Out: a validated
:class:`model.difficulty.predictor.DifficultyPredictor`, or one line that says what is wrong.
"""

import gzip
import json
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from model.difficulty.boosting import from_document, to_document
from model.difficulty.conformal import Conformal
from model.difficulty.design import Design
from model.difficulty.novelty import Novelty
from model.difficulty.predictor import DifficultyPredictor, GainHead, RightHead
from phasewatt.errors import BadPredictor

SCHEMA = "phasewatt-difficulty"
SCHEMA_VERSION = 1

_SHIPPED = resources.files("model") / "shipped" / "difficulty"
_SUFFIX = ".predictor.json.gz"
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class _Right:
    model: str
    booster: dict[str, Any]
    line: tuple[float, ...]
    words: tuple[float, ...]
    platt: tuple[float, float]
    conformal: Conformal


@dataclass(frozen=True, config=_STRICT)
class _Gain:
    small: str
    large: str
    booster: dict[str, Any]
    line: tuple[float, float]
    conformal: Conformal


@dataclass(frozen=True, config=_STRICT)
class _Document:
    schema: str
    schema_version: int
    name: str
    source: str
    rows: int
    design: Design
    novelty: Novelty
    pool: dict[str, Any]
    heads: tuple[_Right, ...]
    gains: tuple[_Gain, ...]


_ADAPTER = TypeAdapter(_Document)


def load_predictor(source: str | Path) -> DifficultyPredictor:
    """Read a predictor from a file, or a shipped one by its name.

    Raises:
        BadPredictor: no such file or name, not a predictor, a newer schema.
    """
    if str(source) in shipped_predictors():
        return parse_predictor((_SHIPPED / f"{source}{_SUFFIX}").read_bytes(), str(source))
    try:
        content = Path(source).read_bytes()
    except FileNotFoundError:
        raise BadPredictor(
            f"{source}: no such predictor; expected a file or one of "
            f"{', '.join(shipped_predictors())}"
        ) from None
    except OSError as error:
        raise BadPredictor(f"{source}: cannot be read: {error.strerror}") from error
    return parse_predictor(content, str(source))


def shipped_predictors() -> tuple[str, ...]:
    """Return the names of the predictors that come with phasewatt."""
    names = (item.name for item in _SHIPPED.iterdir())
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)))


def parse_predictor(content: bytes, source: str) -> DifficultyPredictor:
    """Read a predictor from JSON bytes, plain or gzipped; ``source`` names it in errors.

    Raises:
        BadPredictor: not JSON, not a predictor, a wrong field, a newer schema.
    """
    document = _validated(_json(content, source), source)
    try:
        heads = tuple(
            RightHead(h.model, from_document(h.booster), h.line, h.words, h.platt, h.conformal)
            for h in document.heads
        )
        gains = tuple(
            GainHead(g.small, g.large, from_document(g.booster), g.line, g.conformal)
            for g in document.gains
        )
        pool = from_document(document.pool)
    except ValueError as error:
        raise BadPredictor(f"{source}: its trees are not XGBoost's JSON: {error}") from None
    _require_sizes(
        document, [pool, *(h.booster for h in heads), *(g.booster for g in gains)], source
    )
    return DifficultyPredictor(
        name=document.name,
        design=document.design,
        pool=pool,
        heads=heads,
        gains=gains,
        novelty=document.novelty,
        rows=document.rows,
        source=document.source,
    )


def dump_predictor(predictor: DifficultyPredictor) -> bytes:
    """Return the predictor as JSON bytes that :func:`parse_predictor` reads back."""
    document = _Document(
        schema=SCHEMA,
        schema_version=SCHEMA_VERSION,
        name=predictor.name,
        source=predictor.source,
        rows=predictor.rows,
        design=predictor.design,
        novelty=predictor.novelty,
        pool=to_document(predictor.pool),
        heads=tuple(
            _Right(h.model, to_document(h.booster), h.line, h.words, h.platt, h.conformal)
            for h in predictor.heads
        ),
        gains=tuple(
            _Gain(g.small, g.large, to_document(g.booster), g.line, g.conformal)
            for g in predictor.gains
        ),
    )
    return _ADAPTER.dump_json(document) + b"\n"


def packed(content: bytes) -> bytes:
    """Return ``content`` gzipped, the same bytes for the same content."""
    return gzip.compress(content, mtime=0)


def _require_sizes(document: _Document, boosters: list[Any], source: str) -> None:
    design = document.design
    k = len(design.names)
    words = 0 if design.vocabulary is None else len(design.vocabulary.buckets)
    lines, said = 1 + len(design.column_of_line()), 1 + len(design.tasks) + words
    found = {
        "design.centre": (len(design.centre), k),
        "design.scale": (len(design.scale), k),
        "novelty.centre": (len(document.novelty.centre), k),
        "novelty.whitening": (len(document.novelty.whitening), k),
    }
    for number, head in enumerate(document.heads):
        found[f"heads.{number}.line"] = len(head.line), lines
        found[f"heads.{number}.words"] = len(head.words), said if words else 0
    for number, booster in enumerate(boosters):
        found[f"trees {number}"] = booster.num_features(), len(design.columns)
    for field, (size, expected) in found.items():
        if size != expected:
            raise BadPredictor(f"{source}: field {field}: {size} numbers; expected {expected}")


def _json(content: bytes, source: str) -> Any:
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return json.loads(content)
    except (OSError, EOFError, zlib.error):
        raise BadPredictor(f"{source}: cannot be read: broken gzip") from None
    except (ValueError, RecursionError):
        raise BadPredictor(f"{source}: not a difficulty predictor: not JSON") from None


def _validated(document: Any, source: str) -> _Document:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BadPredictor(
            f'{source}: not a difficulty predictor: expected a "schema" of "{SCHEMA}"'
        )
    found = document.get("schema_version")
    if type(found) is not int or found < 1:
        raise BadPredictor(f"{source}: schema_version is {found!r}; expected 1 or more")
    if found > SCHEMA_VERSION:
        raise BadPredictor(
            f"{source}: schema_version {found} is newer than this phasewatt, which reads up to "
            f"{SCHEMA_VERSION}; update phasewatt"
        )
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise BadPredictor(f"{source}: field {field}: {first['msg']}") from None
