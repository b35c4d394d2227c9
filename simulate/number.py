"""Figures as people read them.

In: a number or none. Out: three digits or so.
"""


def number(value: float | None) -> str:
    """Return a figure with three digits or so; a dash for none."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value < 100 else f"{value:.1f}"
