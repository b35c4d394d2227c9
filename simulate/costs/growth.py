"""How load grows from month to month.

In: what follows ``--growth`` and ``--horizon``. Out: the factor on today's load in each month.
"""

import re
from dataclasses import dataclass

import numpy as np

from model.work import Array
from phasewatt.errors import BadOption

_WRITTEN = re.compile(r"(?P<percent>[+-]?\d+(\.\d+)?)%/(?P<span>month|year)")
_MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True)
class Growth:
    """Load that grows by the same share every month, for ``months`` months from now."""

    per_month: float
    months: int

    @property
    def factors(self) -> Array:
        """Load in month 0 (now) to the last one, over today's: shape (months + 1,)."""
        return np.asarray((1 + self.per_month) ** np.arange(self.months + 1))

    @property
    def highest(self) -> float:
        """The highest of :attr:`factors`: what a fleet that is bought once must serve."""
        return float(self.factors.max())


def parse_growth(growth: str | None, horizon: int | None) -> Growth | None:
    """Read ``5%/month`` or ``80%/year``, compounded, over ``horizon`` months; None for neither.

    Raises:
        BadOption: it is written otherwise, or one stands without the other.
    """
    if growth is None and horizon is None:
        return None
    if growth is None or horizon is None:
        alone, other = ("--horizon", "--growth") if growth is None else ("--growth", "--horizon")
        raise BadOption(f"{alone} needs {other}: expected both, as --growth 5%/month --horizon 12")
    found = _WRITTEN.fullmatch(growth.strip())
    if found is None or float(found["percent"]) <= -100:
        raise BadOption(f"--growth: found {growth!r}; expected PERCENT%/month or PERCENT%/year")
    if horizon < 1:
        raise BadOption(f"--horizon: found {horizon}; expected 1 month or more")
    whole = 1 + float(found["percent"]) / 100
    return Growth(float(whole ** (1 / _MONTHS[found["span"]])) - 1, horizon)
