"""Draw a training run: its loss, and the held-out bits per byte of its largest languages, from metrics.jsonl.

    python scripts/plot_training.py runs/small docs/images/training-small.svg

Needs matplotlib (the `bench` extra). The same metrics give the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SHOWN = 6
"""Languages drawn: those with the most held-out bytes."""


def read(run: Path) -> tuple[list[tuple[int, float]], list[tuple[int, dict[str, Any]]]]:
    """(step, loss) of each logged step, and (step, evaluation) of each evaluation."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    return losses, [(line["step"], line["evaluation"]) for line in lines if "evaluation" in line]


def draw(run: Path, target: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "stackmill", "font.size": 9})
    from matplotlib import pyplot

    losses, evaluations = read(run)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    left.plot(*zip(*losses, strict=True), color="#1f77b4", linewidth=1, label="training")
    held_out = [(step, one["all"]["loss"]) for step, one in evaluations]
    left.plot(*zip(*held_out, strict=True), color="#d62728", marker="o", markersize=3, label="held out")
    left.set(xlabel="step", ylabel="loss (nats per token)", title="Loss")
    left.legend()
    last = evaluations[-1][1]["languages"]
    for name in sorted(last, key=lambda one: -last[one]["bytes"])[:SHOWN]:
        points = [
            (step, one["languages"][name]["bits_per_byte"])
            for step, one in evaluations
            if name in one["languages"]
        ]
        right.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=name)
    right.set(xlabel="step", ylabel="bits per byte", title="Held out, by language")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def main(arguments: list[str]) -> int:
    """Draw; the exit status."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    draw(Path(arguments[0]), Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
