"""A calibration: one GPU, the curves of the models measured on it, and where they come from.

In: one JSON file that a person can read. Out: validated values, or one line that says which field
of which file is wrong.
"""

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from model.curves import Curves
from model.fitted import Normals
from model.geometry import Geometry
from model.gpu import Gpu
from model.host import HostPower
from model.provenance import STRICT, Provenance
from model.work import Phase
from phasewatt.errors import BadCalibration

SCHEMA = "phasewatt-calibration"
SCHEMA_VERSION = 1

_SHIPPED = resources.files("model") / "shipped"


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """A GPU with the curves measured on it; ``curves`` holds one entry per model and phase.

    ``geometries`` holds the shapes of those models whose curves are physically structured, ``host``
    the power of the node around the GPU where it was measured.
    """

    schema: str
    schema_version: int
    name: str
    gpu: Gpu
    curves: tuple[Curves, ...]
    provenance: Provenance
    geometries: tuple[Geometry, ...] = ()
    host: HostPower | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Calibration":
        keys = [(c.model, c.engine, c.phase) for c in self.curves]
        if not keys:
            raise ValueError("curves is empty; expected at least one model")
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"curves hold {' '.join(key)} twice")
        return self

    @cached_property
    def digest(self) -> str:
        """``sha256:...`` over its text, as :func:`dump` writes it."""
        return f"sha256:{hashlib.sha256(dump(self).encode()).hexdigest()}"

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that have curves, in the order of the file."""
        return tuple(dict.fromkeys(c.model for c in self.curves))

    def engines(self, model: str) -> tuple[str, ...]:
        """Return the engines in which ``model`` was measured, in the order of the file."""
        return tuple(dict.fromkeys(c.engine for c in self.curves if c.model == model))

    def curves_of(self, model: str, phase: Phase, engine: str | None = None) -> Curves:
        """Return the curves of one phase of a model; ``engine`` None takes the file's first.

        Raises:
            BadCalibration: the model, engine or phase has no curves here.
        """
        if model not in self.models:
            raise BadCalibration(
                f"calibration {self.name} has no model {model!r}; it has {', '.join(self.models)}"
            )
        wanted = self.engines(model)[0] if engine is None else engine
        for curves in self.curves:
            if (curves.model, curves.engine, curves.phase) == (model, wanted, phase):
                return curves
        if wanted not in self.engines(model):
            raise BadCalibration(
                f"calibration {self.name} has no engine {wanted!r} for {model}; "
                f"it has {', '.join(self.engines(model))}"
            )
        raise BadCalibration(f"calibration {self.name} has no {phase} curves of {model}")

    def geometry_of(self, model: str) -> Geometry | None:
        """Return the shape of ``model``, or None where nobody told."""
        return next((g for g in self.geometries if g.name == model), None)

    def drawn(self, rng: np.random.Generator) -> "Calibration":
        """Return the calibration with every coefficient drawn from its covariance.

        A coefficient that several curves share is drawn once for all of them.
        """
        normal = Normals(rng)
        return replace(self, curves=tuple(c.drawn(normal) for c in self.curves))


def load(source: str | Path) -> Calibration:
    """Read a calibration from a file, or a shipped one by its name.

    Raises:
        BadCalibration: no such file or name, malformed JSON, a wrong field, a newer schema.
    """
    if str(source) in shipped_names():
        return parse((_SHIPPED / f"{source}.json").read_text(encoding="utf-8"), str(source))
    try:
        text = Path(source).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadCalibration(
            f"{source}: no such calibration; expected a file or one of {', '.join(shipped_names())}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadCalibration(f"{source}: cannot be read: {reason}") from error
    return parse(text, str(source))


def shipped_names() -> tuple[str, ...]:
    """Return the names of the calibrations that come with phasewatt."""
    names = (Path(item.name) for item in _SHIPPED.iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix == ".json"))


def parse(text: str, source: str) -> Calibration:
    """Read a calibration from JSON text; ``source`` names it in errors.

    Raises:
        BadCalibration: malformed JSON, a wrong field, a newer schema.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadCalibration(
            f"{source}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise BadCalibration(f"{source}: not a calibration: nested too deeply") from None
    _require_schema(document, source)
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        found = "" if first["type"] in ("missing", "value_error") else f", found {_short(first)}"
        message = first["msg"].removeprefix("Value error, ")
        raise BadCalibration(f"{source}: field {field}: {message}{found}") from None


def dump(calibration: Calibration) -> str:
    """Return the calibration as JSON text that :func:`parse` reads back to the same value.

    Files hold what was measured: curves that reach below that are cut off there.
    """
    measured = tuple(curves.as_measured() for curves in calibration.curves)
    calibration = replace(calibration, curves=measured)
    unknown = {"host"} if calibration.host is None else None
    return _ADAPTER.dump_json(calibration, indent=1, exclude=unknown).decode() + "\n"


def _require_schema(document: Any, source: str) -> None:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BadCalibration(f'{source}: not a calibration: expected a "schema" of "{SCHEMA}"')
    found = document.get("schema_version")
    if type(found) is not int or found < 1:
        raise BadCalibration(f"{source}: schema_version is {found!r}; expected 1 or more")
    if found > SCHEMA_VERSION:
        raise BadCalibration(
            f"{source}: schema_version {found} is newer than this phasewatt, which reads up to "
            f"{SCHEMA_VERSION}; update phasewatt"
        )


def _short(error: Any) -> str:
    text = repr(error["input"])
    return text if len(text) <= 60 else f"{text[:57]}..."


_ADAPTER = TypeAdapter(Calibration)
