"""Training speed beside TRL's SFTTrainer and a plain PyTorch loop: the same tokens, model, optimizer and threads, in turn.

    python benchmarks/training.py [--release DIR] [--models 1M 13M] [--rounds 3] [--table] [--json FILE]

Without a release, the Python files of the installed packages are trained on. Every contestant runs in a process of its
own (peak memory is the process's), one after the other, `--rounds` times; figures are medians, ratios those within a
round. The clock runs from the end of one optimizer step to the end of the last one, so that no start-up is in it, and it
is the same piece of code for all (a hook of torch.optim). What is counted is non-padding tokens that were trained on.

    stackmill    `training.run.train.train`: Trainer, our rows, logging as configured; no evaluation
    plain loop   the same rows in a loop written by hand: forward, backward, clip, AdamW, nothing else
    trl bfd_split, trl bfd, trl wrapped   SFTTrainer on the same tokenised documents, with its own packing

"Kept": tokens in its packed rows of those given. "Needlessly cut": documents that would fit into a row and were cut.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONTESTANTS = ("stackmill", "plain loop", "trl bfd_split", "trl bfd", "trl wrapped")
MODELS: dict[str, dict[str, Any]] = {
    "1M": {"hidden_size": 128, "intermediate_size": 384, "layers": 4, "heads": 4, "kv_heads": 2},
    "13M": {"hidden_size": 384, "intermediate_size": 1024, "layers": 6, "heads": 6, "kv_heads": 2},
}
VOCABULARY = {"1M": 4096, "13M": 8192}


def configuration(options: argparse.Namespace, model: str, work: Path) -> dict[str, Any]:
    """Keys of a configuration; every contestant reads the same."""
    return {
        **source(options, work),
        "output": str(work / f"run-{model}"),
        "tokenizer": {"vocab_size": VOCABULARY[model], "train_bytes": 4_000_000},
        "model": MODELS[model],
        "data": {
            "sequence_length": options.sequence_length,
            "max_train_bytes": options.megabytes * 1_000_000,
            "cache": str(work / "cache"),
            "fim": {"rate": 0.0},
        },
        "evaluation": {"fraction": 0.0},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2},
        "steps": options.steps,
        "micro_batch_size": options.micro_batch,
        "global_batch_tokens": options.micro_batch * options.sequence_length * options.accumulation,
        "save_every": 10_000,
        "log_every": 10,
        "device": "cpu",
        **json.loads(options.set),
    }


def source(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """The release, or a file of JSON lines with the installed packages' Python files."""
    if options.release:
        return {"release": str(Path(options.release).resolve())}
    import numpy

    file, left = work / "packages.jsonl", 2_000_000 * options.megabytes
    if not file.exists():
        with file.open("w") as out:
            for path in sorted(Path(numpy.__file__).parents[1].rglob("*.py")):
                text = path.read_text(encoding="utf-8", errors="ignore")
                out.write(json.dumps({"text": text, "language": "Python", "path": path.name}) + "\n")
                left -= len(text)
                if left < 0:
                    break
    return {"sources": [{"name": "packages", "jsonl": str(file)}]}


def contestant(name: str, config: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One run of one contestant in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks/training_contestants.py"), name, str(config)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(options.threads),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All rounds of all contestants, by model."""
    result: dict[str, Any] = {}
    for model in options.models:
        config = work / f"{model}.json"
        config.write_text(json.dumps(configuration(options, model, work)))
        contestant("prepare", config, options)  # tokenizer and tokens: before the first one is timed
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.contestants}
        for number in range(options.rounds):
            # Forward, then backward: a drift of the machine favours nobody.
            for name in options.contestants[:: 1 if number % 2 == 0 else -1]:
                runs[name].append(contestant(name, config, options))
                last = runs[name][-1]
                print(
                    f"{model} round {number + 1} {name}: {last['rate']:,.0f} tokens/s, {last['cpu_rate']:,.0f} per CPU second",
                    file=sys.stderr,
                    flush=True,
                )
        result[model] = {name: summary(each, runs.get("plain loop")) for name, each in runs.items()}
    return result


def summary(runs: list[dict[str, Any]], plain: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Medians over the rounds; what does not vary is taken from the first."""

    def median(key: str) -> float:
        return statistics.median(run[key] for run in runs)

    against = [run["rate"] / other["rate"] for run, other in zip(runs, plain or (), strict=False)]
    cpu = [run["cpu_rate"] / other["cpu_rate"] for run, other in zip(runs, plain or (), strict=False)]
    return {
        **runs[0],
        "rate": median("rate"),
        "rates": [run["rate"] for run in runs],
        "cpu_rate": median("cpu_rate"),
        "peak_bytes": median("peak_bytes"),
        "against_plain": statistics.median(against) if against else None,
        "against_plain_cpu": statistics.median(cpu) if cpu else None,
    }


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = []
    for model, each in result.items():
        some = next(iter(each.values()))
        lines += [
            f"**{model}**: {some['parameters']:,} parameters, {some['given']:,} tokens in {some['documents']:,} documents",
            "",
            "| | tokens/s | of the plain loop: wall; CPU time | kept | filled | needlessly cut | peak MB | last loss |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name, one in each.items():
            ratio = (
                ""
                if one["against_plain"] is None
                else f"{one['against_plain']:.3f}; {one['against_plain_cpu']:.3f}"
            )
            lines.append(
                f"| {name} | {one['rate']:,.0f} | {ratio} | {one['kept']:.2%} | {one['filled']:.2%} | "
                f"{one['needless']:,} | {one['peak_bytes'] / 1e6:,.0f} | {one['loss']:.4f} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--release", default="releases/2.1" if Path("releases/2.1").is_dir() else None)
    parser.add_argument("--models", nargs="+", default=["1M", "13M"], choices=sorted(MODELS))
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps; the first two are not timed")
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--micro-batch", type=int, default=4, help="rows")
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=4, help="of text to pack")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", default="{}", help="further keys of the configuration, as JSON")
    parser.add_argument("--work", help="folder for caches; default: a temporary one")
    parser.add_argument("--table", action="store_true", help="a Markdown table")
    parser.add_argument("--json", help="a file for all figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(options, work)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
