"""Routing curves as a picture.

In: the document of an evaluation. Out: a PNG with one panel a pair of models.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_STYLES = {
    "oracle": ("#999999", ":"),
    "ours": ("#0b6e99", "-"),
    "ours + task": ("#0b6e99", "--"),
    "task identity": ("#c0504d", "-."),
    "length, tree": ("#b8860b", "-"),
    "ours + task + confidence": ("#2e8b57", "-"),
}


def plot_routing(study: dict[str, Any], path: Path) -> None:
    """Draw quality against energy (or share of calls) as the threshold moves, one panel a pair."""
    pairs = list(dict.fromkeys((row["small"], row["large"]) for row in study["gain"]))
    figure, axes = pyplot.subplots(
        1, len(pairs), figsize=(4.2 * len(pairs), 3.8), squeeze=False, layout="constrained"
    )
    for axis, pair in zip(axes[0], pairs, strict=True):
        rows = [
            row
            for row in study["gain"]
            if (row["small"], row["large"]) == pair and row["view"] == "pooled"
        ]
        for row in rows:
            if row["method"] in _STYLES:
                colour, style = _STYLES[row["method"]]
                across = row["calls"] if row["energy"] is None else row["energy"]
                axis.plot(across, row["quality"], style, color=colour, label=row["method"])
        first = rows[0]
        across = first["calls"] if first["energy"] is None else first["energy"]
        ends = [0, -1]
        axis.plot(
            [across[e] for e in ends],
            [first["quality"][e] for e in ends],
            color="#cccccc",
            label="random",
            zorder=0,
        )
        axis.set_title(f"{pair[0]} to {pair[1]}", fontsize=9)
        axis.set_xlabel(
            "share of calls to the large model"
            if first["energy"] is None
            else "energy, large model alone = 1 (assumed by parameters)",
            fontsize=8,
        )
        axis.set_ylabel("share of queries right", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0][0].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110, format="png", metadata={"Software": "phasewatt"})
    pyplot.close(figure)
