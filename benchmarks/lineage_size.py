"""What the sets of rows in lineage.json cost for a large release: bytes, and seconds at each save.

    python benchmarks/lineage_size.py [ROWS] [SHARDS]          default: 33,000,000 rows in 4,000 shards

Synthetic: owners hold 30 rows on average, rows of one owner lie together, 5 % of the owners are held out, and of the other
rows a share has been seen, at random. Prints processor seconds of one thread, the second of two passes.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks/training.py is not the package
from training.run.row_sets import pack

ROWS, SHARDS = (int(text) for text in (sys.argv[1:] + ["33000000", "4000"][len(sys.argv) - 1 :])[:2])
PER_SHARD = ROWS // SHARDS


def packed(chosen: np.ndarray) -> tuple[float, int]:
    """(seconds, bytes of JSON) of the sets of all shards."""
    for _ in range(2):
        begun = time.process_time()
        sets = [pack(chosen[i * PER_SHARD : (i + 1) * PER_SHARD]) for i in range(SHARDS)]
        seconds = time.process_time() - begun
    return seconds, len(json.dumps(sets, indent=1))


def main() -> None:
    random = np.random.default_rng(0)
    owners = random.geometric(1 / 30, ROWS // 25)
    held_out = np.repeat(random.random(len(owners)) < 0.05, owners)[:ROWS]
    assert len(held_out) == ROWS
    for name, chosen in (("train", ~held_out), ("held_out", held_out)):
        seconds, size = packed(chosen)
        print(f"{name:14s} {seconds:5.2f} s  {size / 1e6:5.2f} MB")
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        seconds, size = packed(~held_out & (random.random(ROWS) < share))
        print(f"seen {share:8.0%}  {seconds:5.2f} s  {size / 1e6:5.2f} MB")


if __name__ == "__main__":
    main()
