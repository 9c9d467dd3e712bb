"""Every command of docs/training-distributed.md can be shared out as it says."""

import re
import shlex
from pathlib import Path

from training.config import load

ROOT = Path(__file__).parents[2]


def test_the_rows_of_a_step_divide_among_the_processes_of_every_command(monkeypatch):
    """Breach: a reader types what the page says, and the command refuses."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs/training-distributed.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = 0
    for line in re.findall(r"^(?:\$ pipeline train|torchrun) .*$", text, re.MULTILINE):
        words = shlex.split(line)
        config = load(next(word for word in words if word.startswith("configs/")))

        def option(*names, words=words):
            return next((int(words[words.index(name) + 1]) for name in names if name in words), 1)

        world = option("--nproc", "--nproc-per-node") * option("--nodes", "--nnodes")
        micro = 1 if config.micro_batch_size == "auto" else config.micro_batch_size
        assert config.rows_per_step % (world * micro) == 0, line
        found += 1
    assert found == 5
