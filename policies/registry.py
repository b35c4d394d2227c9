"""One registry of governors, by name, by entry point, or by file.

In: what a user types after ``--policy``. Out: a governor, or one line with the nearest spelling.
"""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from phasewatt.errors import BadPolicy
from policies import governor as builtin
from policies.feedback import feedback
from policies.fleet_cap import fleet_cap
from policies.governor import Governor, Setting
from policies.greenllm import greenllm
from policies.oracle import oracle
from policies.pools import PoolGovernors
from policies.selection import SELECTIONS, make_selection
from policies.slo_aware import slo_aware
from policies.switching import composition_aware, phase_aware_amortised
from policies.voltana import voltana

ENTRY_POINT_GROUP = "phasewatt.governors"

GovernorFactory = Callable[[str, Setting], Governor]
"""Makes a governor from the text after its name's colon and what it may look at."""

BUILTIN: Mapping[str, GovernorFactory] = {
    "max-frequency": builtin.max_frequency,
    "fixed": builtin.fixed,
    "power-cap": builtin.power_cap,
    "phase-aware": builtin.phase_aware,
    "min-energy": builtin.min_energy,
    "min-edp": builtin.min_edp,
    "min-ed2p": builtin.min_ed2p,
    "race-to-idle": builtin.race_to_idle,
    "phase-aware-amortised": phase_aware_amortised,
    "composition-aware": composition_aware,
    "slo-aware": slo_aware,
    "feedback": feedback,
    "fleet-cap": fleet_cap,
    "oracle": oracle,
    "greenllm": greenllm,
    "voltana": voltana,
}

POOLS = "pools"


@dataclass(frozen=True)
class PolicySpec:
    """A policy as written: an optional selection and a governor, ``single:M+phase-aware``."""

    text: str
    selection: str | None
    governor: str


def parse_policy(text: str) -> PolicySpec:
    """Split ``selection+governor``; either part may be left out, the governor then being stock.

    Raises:
        BadPolicy: two selections or two governors are named, or nothing is.
    """
    parts = [part.strip() for part in text.split("+")]
    if not all(parts):
        raise BadPolicy(f"policy {text!r}: found an empty part; expected SELECTION+GOVERNOR")
    selections = [part for part in parts if part.partition(":")[0] in SELECTIONS]
    if selections == parts and parts[-1] in known_governors():
        # The bounds of both kinds bear one name, which is the governor's where it stands last.
        selections = parts[:-1]
    governors = parts[1:] if selections == parts[:1] else [p for p in parts if p not in selections]
    if len(selections) > 1 or len(governors) > 1:
        raise BadPolicy(
            f"policy {text!r}: found {len(selections)} selections and {len(governors)} governors; "
            "expected at most one of each"
        )
    return PolicySpec(
        text,
        selections[0] if selections else None,
        governors[0] if governors else "max-frequency",
    )


def known_governors() -> tuple[str, ...]:
    """Return the names that can be typed: built in, then those of installed packages."""
    return (*BUILTIN, POOLS, *sorted(set(_entry_points()) - set(BUILTIN)))


def make_governor(text: str, setting: Setting) -> Governor:
    """Return the governor that ``text`` names: ``NAME``, ``NAME:ARGUMENT``, ``FILE.py:NAME``.

    ``pools:A|B`` names the governors of a pool that prefills and of one that decodes.

    Raises:
        BadPolicy: the name is unknown (with the nearest spelling), the file or package cannot be
            used, or the argument is wrong. What a policy of the user's own raises when it is
            called is left as it is: its traceback shows where.
        OutOfRange: it asks for a clock outside the calibrated range.
    """
    name, _, argument = text.partition(":")
    if name.endswith(".py"):
        return _from_file(Path(name), argument, setting)
    if name in BUILTIN:
        return BUILTIN[name](argument, setting)
    if name == POOLS:
        return _for_pools(argument, setting)
    installed = _entry_points()
    if name in installed:
        try:
            factory = installed[name].load()
        except Exception as error:
            raise BadPolicy(f"policy {name}: cannot be imported: {_said(error)}") from error
        return _made(factory, argument, setting, text)
    raise _unknown(name)


def require_known(spec: PolicySpec) -> None:
    """Raise :class:`BadPolicy` unless ``spec`` names a selection and a governor that there are.

    Whether a calibration can meet them shows when they are made.
    """
    if spec.selection is not None:
        make_selection(spec.selection)
    name = spec.governor.partition(":")[0]
    if not name.endswith(".py") and name not in known_governors():
        raise _unknown(name)


def _unknown(name: str) -> BadPolicy:
    nearest = difflib.get_close_matches(name, known_governors(), n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return BadPolicy(f"unknown policy {name!r}; known: {', '.join(known_governors())}{hint}")


def _for_pools(argument: str, setting: Setting) -> PoolGovernors:
    each = [text.strip() for text in argument.split("|")]
    if len(each) != 2 or not all(each) or any(text.startswith(f"{POOLS}:") for text in each):
        raise BadPolicy(f"policy pools: found {argument!r}; expected pools:PREFILL|DECODE")
    if not setting.apart:
        raise BadPolicy("policy pools: found one pool; expected --batching disaggregated:P:D")
    prefill, decode = (make_governor(text, setting) for text in each)
    return PoolGovernors(prefill, decode)


def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _from_file(path: Path, rest: str, setting: Setting) -> Governor:
    name, _, argument = rest.partition(":")
    if not name:
        raise BadPolicy(f"policy {path}: expected {path}:NAME, the name of a class in that file")
    if not path.is_file():
        raise BadPolicy(f"policy {path}:{name}: no such file")
    spec = importlib.util.spec_from_file_location(f"phasewatt_policy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up the module that they are defined in.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadPolicy(f"policy {path}: cannot be imported: {_said(error)}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        has = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise BadPolicy(f"policy {path}: has no {name!r}; it has {', '.join(has) or 'no class'}")
    return _made(factory, argument, setting, f"{path}:{name}")


def _made(factory: Any, argument: str, setting: Setting, text: str) -> Governor:
    try:
        inspect.signature(factory).bind(argument, setting)
    except (TypeError, ValueError) as error:
        raise BadPolicy(
            f"policy {text}: cannot be called with (argument, setting): {error}"
        ) from None
    made = factory(argument, setting)
    missing = [a for a in ("name", "cap_w", "idle_mhz", "request_mhz") if not hasattr(made, a)]
    if missing:
        raise BadPolicy(f"policy {text}: is not a governor: lacks {', '.join(missing)}")
    governor: Governor = made
    return governor


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
