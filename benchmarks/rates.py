"""The table of rates that `pipeline release --dry-run` estimates with where a work directory has no runs of its own.

    python benchmarks/rates.py > pipeline/rates.py

From `scale-figures.json` (docs/scale.md says how it was measured): the CPU seconds of a stage are taken as a part for each
unit and a part linear in one quantity of the input, through the smallest and the largest measured size.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from extrapolate import driver

from pipeline.estimate import group

FIGURES = Path(__file__).with_name("scale-figures.json")
_QUANTITY = {"fetched_bytes": "bytes", "fetched": "bytes"}  # all others follow the entries of directories
_NEW = ("annotate.", "fetch.")  # done once for each content: what is in the stores already costs nothing


def rates(result: dict[str, Any]) -> dict[str, tuple[str, float, float]]:
    """Stage -> (quantity, CPU seconds per million of it, CPU seconds per unit)."""
    first, last = result["runs"][0], result["runs"][-1]
    found = {}
    for stage in sorted(last["stages"]):
        quantity = _QUANTITY.get(driver(stage), "entries")
        figure = "unpacked_bytes" if quantity == "bytes" else "directory_entries"
        name = "new_bytes" if stage.startswith(_NEW) else quantity
        low, high = (run["stages"].get(stage, {}).get("cpu", 0.0) for run in (first, last))
        slope = max(0.0, (high - low) / (last[figure] - first[figure]))
        units = max(1, last["stages"][stage]["units"])
        rest = max(0.0, high - slope * last[figure]) / units
        found[group(stage)] = (name, round(1e6 * slope, 5), round(rest, 4))
    return found


def module(result: dict[str, Any]) -> str:
    """The source of pipeline/rates.py."""
    lines = [f'    "{stage}": ("{q}", {slope}, {unit}),' for stage, (q, slope, unit) in rates(result).items()]
    pieces = textwrap.wrap(result["conditions"], 90)
    conditions = "\n".join(f'    "{piece} "' for piece in pieces[:-1]) + f'\n    "{pieces[-1]}"'
    return (
        '"""CPU seconds of the stages as measured once: made by benchmarks/rates.py, not by hand."""\n\n'
        "from __future__ import annotations\n\nfrom collections.abc import Mapping\n\n"
        f"CONDITIONS = (\n{conditions}\n)\n\n"
        "RATES: Mapping[str, tuple[str, float, float]] = {\n"
        + "\n".join(lines)
        + '\n}\n"""Stage -> what its cost follows (`entries` of directories, unpacked `bytes`, `new_bytes` in no store),\n'
        'CPU seconds per million of it, CPU seconds per unit."""\n'
    )


if __name__ == "__main__":
    print(module(json.loads(FIGURES.read_text(encoding="utf-8"))), end="")
