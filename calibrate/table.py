"""Tables of measurements: anyone's figures as CSV, with what is known of them beside it.

In: a CSV file, one row a measured point, and perhaps a TOML file about the GPU and the source.
Out: a :class:`calibrate.measurements.Study`; a broken row is one line that says where and why.
"""

import csv
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from calibrate.measurements import Measurements, Study
from model.gpu import Gpu
from model.provenance import STRICT, Kind, Origin, Provenance
from model.work import Phase
from phasewatt.errors import BadTable

REQUIRED = ("gpu", "model", "engine", "phase", "sm_mhz", "batch", "time_s")
OPTIONAL = (
    "mem_mhz",
    "prompt_tokens",
    "context_tokens",
    "power_w",
    "energy_j",
    "repeat",
    "dtype",
    "time_error",
    "power_error",
    "stock",
)

SM_MHZ_STEP = 15.0
"""Distance between the SM clocks that NVIDIA drivers list, from Pascal to Blackwell."""


@validated(frozen=True, config=STRICT)
class AboutGpu:
    """What the TOML file says of the GPU; what it leaves out is assumed, and said to be."""

    sm_mhz_step: float = SM_MHZ_STEP
    power_limit_w: float | None = None
    idle_power_w: float | None = None
    origins: dict[str, Origin] | None = None


@validated(frozen=True, config=STRICT)
class About:
    """What the TOML file beside a table says."""

    name: str | None = None
    gpu: AboutGpu = AboutGpu()
    provenance: Provenance | None = None


def read_study(table: Path, about: Path | None = None, gpu: str | None = None) -> Study:
    """Read a table of measurements and what is known about them.

    Args:
        table: CSV with the columns :data:`REQUIRED`, ``power_w`` or ``energy_j``,
            ``prompt_tokens`` for prefill and ``context_tokens`` for decode; see docs/tables.md.
        about: TOML with ``name``, ``[gpu]`` and ``[provenance]``.
        gpu: which GPU's rows to take, where the table holds several.

    Raises:
        BadTable: a file cannot be read, a row is broken, or several GPUs are mixed.
    """
    rows = list(_rows(table))
    names = tuple(dict.fromkeys(row.gpu for row in rows))
    if gpu is not None and gpu not in names:
        raise BadTable(f"{table}: column 'gpu': found {', '.join(names)}; expected {gpu!r}")
    if gpu is None and len(names) > 1:
        raise BadTable(
            f"{table}: column 'gpu': found {', '.join(names)}; expected one GPU, or --gpu NAME"
        )
    chosen = gpu or names[0]
    measurements = _columns([row for row in rows if row.gpu == chosen])
    known = About() if about is None else _about(about)
    return Study(
        name=known.name or table.stem,
        gpu=_gpu(chosen, known.gpu, measurements),
        provenance=known.provenance or _unknown(table),
        measurements=measurements,
    )


@dataclass(frozen=True)
class _Row:
    gpu: str
    model: str
    engine: str
    phase: str
    dtype: str
    sm_mhz: float
    mem_mhz: float
    batch: float
    prompt_tokens: float
    context_tokens: float
    time_s: float
    power_w: float
    time_error: float
    power_error: float
    stock: bool


def _rows(table: Path) -> Iterator[_Row]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = _header(table, reader)
            found = False
            for fields_ in reader:
                found = True
                yield _row(f"{table}: line {reader.line_num}", header, fields_)
    except FileNotFoundError:
        raise BadTable(f"{table}: no such file; expected a table of measurements") from None
    except OSError as error:
        raise BadTable(f"{table}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadTable(f"{table}: not UTF-8 text; expected a CSV table of measurements") from None
    except csv.Error as error:
        raise BadTable(f"{table}: line {reader.line_num + 1}: not CSV: {error}") from error
    if not found:
        raise BadTable(f"{table}: found a header without rows; expected at least one measurement")


def _header(table: Path, reader: "csv.DictReader[str]") -> tuple[str, ...]:
    names = tuple(reader.fieldnames or ())
    if not names:
        raise BadTable(f"{table}: found an empty file; expected a table of measurements")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BadTable(
            f"{table}: line 1: found no column {', '.join(map(repr, missing))}; "
            f"expected {', '.join(REQUIRED)}"
        )
    if not {"power_w", "energy_j"} & set(names):
        raise BadTable(f"{table}: line 1: found neither 'power_w' nor 'energy_j'; expected one")
    unknown = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        raise BadTable(
            f"{table}: line 1: found unknown column {unknown[0]!r}; "
            f"known are {', '.join((*REQUIRED, *OPTIONAL))}"
        )
    return names


def _row(where: str, header: tuple[str, ...], row: Mapping[str | None, Any]) -> _Row:
    values = [row.get(name) for name in header]
    if None in row or None in values:
        count = sum(v is not None for v in values) + len(row.get(None, ()))
        raise BadTable(f"{where}: found {count} fields; expected {len(header)} as in the header")
    text = {name: str(row[name]).strip() for name in header}

    def number(column: str, least: float, above: bool, default: float | None = None) -> float:
        found = text.get(column, "")
        if not found and default is not None:
            return default
        expected = f"a number {'>' if above else '>='} {least:g}"
        value = _float(found)
        if not math.isfinite(value) or value < least or (above and value == least):
            raise BadTable(f"{where}: column '{column}': found {found!r}; expected {expected}")
        return value

    for column in ("gpu", "model", "engine"):
        if not text[column]:
            raise BadTable(f"{where}: column '{column}': found nothing; expected a name")
    phase = text["phase"]
    if phase not in tuple(Phase):
        raise BadTable(f"{where}: column 'phase': found {phase!r}; expected 'prefill' or 'decode'")
    prefill = phase == Phase.PREFILL
    time_s = number("time_s", 0, above=True)
    return _Row(
        gpu=text["gpu"],
        model=text["model"],
        engine=text["engine"],
        phase=phase,
        dtype=text.get("dtype", ""),
        sm_mhz=number("sm_mhz", 0, above=True),
        mem_mhz=number("mem_mhz", 0, above=True, default=math.nan),
        batch=number("batch", 1, above=False),
        prompt_tokens=number("prompt_tokens", 1, above=False) if prefill else 0.0,
        context_tokens=0.0 if prefill else number("context_tokens", 0, above=False),
        time_s=time_s,
        power_w=_power_w(text, number, time_s),
        time_error=number("time_error", 0, above=False, default=math.nan),
        power_error=number("power_error", 0, above=False, default=math.nan),
        stock=_flag(where, text.get("stock", "")),
    )


def _power_w(text: Mapping[str, str], number: Callable[..., float], time_s: float) -> float:
    if text.get("power_w"):
        return number("power_w", 0, above=True)
    column = "energy_j" if "energy_j" in text else "power_w"
    figure = number(column, 0, above=True)
    return figure / time_s if column == "energy_j" else figure


def _flag(where: str, text: str) -> bool:
    words = {"": False, "0": False, "false": False, "1": True, "true": True}
    if text.lower() not in words:
        raise BadTable(f"{where}: column 'stock': found {text!r}; expected true or false")
    return words[text.lower()]


def _columns(rows: list[_Row]) -> Measurements:
    return Measurements(
        **{f.name: np.array([getattr(row, f.name) for row in rows]) for f in fields(Measurements)}
    )


def _about(path: Path) -> About:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadTable(f"{path}: no such file; expected TOML about the measurements") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadTable(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadTable(f"{path}: not TOML: {error}") from None
    try:
        return TypeAdapter(About).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BadTable(f"{path}: field {field}: {first['msg']}") from None


def _gpu(name: str, known: AboutGpu, measurements: Measurements) -> Gpu:
    origins = dict(known.origins or {})
    unsaid = Origin(Kind.ASSUMED, "not said; expected an origin in the file about the table")
    limit_w = known.power_limit_w
    if limit_w is None:
        limit_w = float(measurements.power_w.max())
        origins["power_limit_w"] = Origin(Kind.ASSUMED, "the highest power in the table")
    if known.idle_power_w is not None:
        origins.setdefault("idle_power_w", unsaid)
    origins.setdefault("power_limit_w", unsaid)
    origins.setdefault("sm_mhz_step", Origin(Kind.ASSUMED, "the usual step of NVIDIA's SM clocks"))
    return Gpu(
        name=name,
        sm_mhz_step=known.sm_mhz_step,
        power_limit_w=limit_w,
        idle_power_w=known.idle_power_w,
        origins=origins,
    )


def _unknown(table: Path) -> Provenance:
    return Provenance(
        kind=Kind.FITTED,
        source=f"{table.name}; nobody said who measured it or how",
        method="unknown",
        date="unknown",
        licence="unknown",
        software={},
        command=f"calibrate fit {table.name}",
        notes=(),
    )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
