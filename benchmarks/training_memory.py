"""The memory estimate beside what steps of training really take, on a CPU: peak resident memory of real steps.

    python benchmarks/training_memory.py [--cases NAME ...] [--json]

Every case is a model of its own in this process: the growth of the peak resident set (VmHWM of /proc, which is set back
before each case) over two steps of fused AdamW on packed rows. The C library is told to give blocks of 64 KB and more
back at once (MALLOC_MMAP_THRESHOLD_): what is measured is what is in use, as a GPU's allocator counts it, and not how the
heap has fallen to pieces, which adds 10 to 30 % on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # else `training` would be benchmarks/training.py

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from training.config import LoraConfig  # noqa: E402
from training.model import loss, memory  # noqa: E402
from training.model.adapters import add_lora  # noqa: E402

SIZES = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
SMALL = {**SIZES, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "vocab_size": 4096}
LARGE = {**SIZES, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "vocab_size": 8192}
NO_IDS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None, "use_cache": False}

# name -> (model_type, sizes, Setup, adapters)
CASES: dict[str, tuple[str, dict[str, Any], memory.Setup, bool]] = {
    "small sdpa": ("llama", SMALL, memory.Setup(4, 256), False),
    "small eager": ("llama", SMALL, memory.Setup(4, 256, attention="eager"), False),
    "small long rows": ("llama", SMALL, memory.Setup(1, 1024), False),
    "small checkpointing": ("llama", SMALL, memory.Setup(4, 256, checkpointing=True), False),
    "small chunked loss": ("llama", SMALL, memory.Setup(4, 256, loss_chunk=128), False),
    "small lora": ("llama", SMALL, memory.Setup(4, 256), True),
    "large sdpa": ("llama", LARGE, memory.Setup(4, 512), False),
    "large eager": ("llama", LARGE, memory.Setup(4, 512, attention="eager"), False),
    "large checkpointing": ("llama", LARGE, memory.Setup(4, 512, checkpointing=True), False),
    "large chunked loss": ("llama", LARGE, memory.Setup(4, 512, loss_chunk=256), False),
    "large bf16": ("llama", LARGE, memory.Setup(4, 512, compute=torch.bfloat16), False),
    "large qwen2": ("qwen2", {**LARGE, "tie_word_embeddings": False}, memory.Setup(4, 512), False),
    "large starcoder2": ("starcoder2", LARGE, memory.Setup(4, 512), False),
    "large lora": ("llama", LARGE, memory.Setup(4, 512), True),
}


def status(key: str) -> int:
    """Bytes that /proc/self/status says."""
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) * 1024


def make(kind: str, sizes: dict[str, Any], setup: memory.Setup, adapted: bool) -> Any:
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **sizes, **NO_IDS), attn_implementation=setup.attention
    ).train()
    return add_lora(model, LoraConfig(rank=8), 0) if adapted else model


def steps(model: Any, setup: memory.Setup, count: int = 2) -> None:
    """Steps on rows of three documents."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    positions = torch.arange(setup.row_tokens) % max(2, setup.row_tokens // 3)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    mixed = setup.compute != torch.float32
    for _ in range(count):
        ids = torch.randint(0, vocabulary, (setup.rows, setup.row_tokens))
        with torch.autocast("cpu", setup.compute) if mixed else contextlib.nullcontext():
            found = model(
                input_ids=ids, position_ids=positions.expand_as(ids), labels=ids, use_cache=False
            ).loss
        found.backward()
        optimizer.step()
        optimizer.zero_grad()


def measure(name: str) -> dict[str, Any]:
    """Estimated and measured bytes of one case."""
    kind, sizes, setup, adapted = CASES[name]
    config = AutoConfig.for_model(kind, **sizes, **NO_IDS)
    adapt = (lambda model: add_lora(model, LoraConfig(rank=8), 0)) if adapted else None
    with memory.fake():
        parts = memory.estimate(memory.fake_model(config, torch.float32, adapt), setup)
    tiny = {**sizes, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    steps(make(kind, tiny, setup, adapted), memory.Setup(1, 32, setup.compute))  # libraries are loaded
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to what is resident now
    model = make(kind, sizes, setup, adapted)
    if setup.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if setup.loss_chunk is not None:
        loss.install(model, setup.loss_chunk)
    steps(model, setup)
    measured = status("VmHWM") - before
    return {
        "case": name,
        "estimated": parts["total"],
        "measured": measured,
        "ratio": parts["total"] / measured,
        "parts": parts,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:  # read by the C library when a process starts
        again = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"})
    torch.set_num_threads(1)
    results = [measure(name) for name in options.cases]
    if options.json:
        print(json.dumps(results))
        return 0
    print("| case | estimated MB | measured MB | ratio |\n|---|---:|---:|---:|")
    for one in results:
        print(
            f"| {one['case']} | {one['estimated'] / 1e6:,.0f} | {one['measured'] / 1e6:,.0f} | {one['ratio']:.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
