"""Small releases and configurations for the training tests; nothing here needs a network or a GPU."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def make_release() -> Callable[..., Path]:
    """`make_release(parent, rows=..., texts=...)` of tests/manifests/release_factory.py."""
    spec = importlib.util.spec_from_file_location(
        "release_factory", ROOT / "tests/manifests/release_factory.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_release


@pytest.fixture(scope="session")
def release(make_release: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of three languages and five owners."""
    return make_release(tmp_path_factory.mktemp("release"), rows={"Python": 60, "C++": 20, "Shell": 10})


@pytest.fixture(scope="session")
def six_steps(release: Path) -> Callable[[Path, int], dict[str, Any]]:
    """`six_steps(output, hidden_size)`: keys of a run of six steps that keeps its middle checkpoint."""

    def keys(output: Path, hidden_size: int) -> dict[str, Any]:
        sizes = {"hidden_size": hidden_size, "intermediate_size": 2 * hidden_size}
        return {
            "release": str(release),
            "output": str(output),
            "tokenizer": {"vocab_size": 400},
            "model": {**sizes, "layers": 2, "heads": 2, "kv_heads": 1},
            "data": {"sequence_length": 64},
            "optimizer": {"learning_rate": 0.01, "warmup_steps": 1},
            "steps": 6,
            "micro_batch_size": 2,
            "global_batch_tokens": 512,
            "log_every": 1,
            "evaluation": {"every": 3, "fraction": 0.2},
            "save_every": 3,
            "device": "cpu",
        }

    return keys


@pytest.fixture
def settings(release: Path, tmp_path: Path) -> dict[str, Any]:
    """Keys of a configuration whose run takes about a second."""
    return {
        "release": str(release),
        "output": str(tmp_path / "run"),
        "tokenizer": {"vocab_size": 400},
        "model": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
        "data": {"sequence_length": 64},
        "steps": 6,
        "micro_batch_size": 2,
        "global_batch_tokens": 256,
        "log_every": 2,
        "evaluation": {"every": 3, "fraction": 0.2},
        "save_every": 3,
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def ranks() -> Iterator[Any]:
    """Runs processes of distributed runs (see tests/training/ranks.py)."""
    spec = importlib.util.spec_from_file_location("training_ranks", ROOT / "tests/training/ranks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    processes = module.Ranks()
    yield processes
    processes.close()


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    import torch

    torch.set_num_threads(1)  # tiny tensors: threads cost more than they give
    yield
