"""The colours of the page, for light and for dark.

In: nothing. Out: colours by their job, told apart by colour-blind readers (after Okabe and Ito), at
contrasts that WCAG 2.2 AA asks for: 4.5 for text, 3 for what is drawn.
"""

from dataclasses import asdict, dataclass

SERIES_COUNT = 7


@dataclass(frozen=True)
class Scheme:
    """One scheme of colours, as hex: ``series`` are those of policies, ``states`` of states.

    ``ink`` and ``muted`` are text on ``surface`` or on ``raised``; ``line`` is drawn around
    things, ``grid`` behind them; ``shade`` marks what was not measured; ``loads`` go from light
    work to heavy.
    """

    ink: str
    muted: str
    accent: str
    surface: str
    raised: str
    line: str
    grid: str
    shade: str
    series: tuple[str, ...]
    states: tuple[str, ...]
    loads: tuple[str, ...]


LIGHT = Scheme(
    ink="#1b1f24",
    muted="#57606a",
    accent="#0b5cad",
    surface="#ffffff",
    raised="#f5f7f9",
    line="#8c959f",
    grid="#e4e8ec",
    shade="#8c959f",
    series=("#555555", "#0072b2", "#d55e00", "#008a64", "#b5508a", "#a87400", "#2f8fc4"),
    states=(
        *("#0072b2", "#d55e00", "#b5508a", "#a87400", "#8a939c"),
        *("#5d6b78", "#3d4650", "#2f8fc4", "#1b1f24"),
    ),
    loads=("#2f8fc4", "#2a78b5", "#25609f", "#1e4886", "#142f66"),
)

DARK = Scheme(
    ink="#e8ecf0",
    muted="#a3adb8",
    accent="#7cc0ff",
    surface="#14181d",
    raised="#1d232a",
    line="#77828e",
    grid="#2a323b",
    shade="#77828e",
    series=("#b4bcc5", "#4aa3df", "#f07f2e", "#1fb58a", "#dd8fbb", "#e8b23c", "#8fd0f5"),
    states=(
        *("#4aa3df", "#f07f2e", "#dd8fbb", "#e8b23c", "#7d8894"),
        *("#98a4b0", "#b9c3cd", "#8fd0f5", "#e8ecf0"),
    ),
    loads=("#4f8fc0", "#6aa5d2", "#86bbe2", "#a4d0f0", "#c4e4fb"),
)

STATES = (
    *("decode", "prefill", "mixed", "switching", "idle"),
    *("sleeping", "off", "starting", "failed"),
)
"""The states of a replica, in the order of ``Scheme.states``."""


def tokens() -> dict[str, dict[str, str]]:
    """Return every colour by its name in both schemes: ``ink``, ``series-2``, ``states-0``."""
    return {"light": _named(LIGHT), "dark": _named(DARK)}


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2.2 defines it, from 1 to 21."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _named(scheme: Scheme) -> dict[str, str]:
    found = {}
    for name, colours in asdict(scheme).items():
        if isinstance(colours, str):
            found[name] = colours
        else:
            found.update({f"{name}-{index}": colour for index, colour in enumerate(colours)})
    return found


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
