"""What a run would do, from its configuration and the manifest alone: nothing is trained or written."""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig
from training.corpus.sources import check_languages, open_release

BYTES_PER_TOKEN = 3.3
"""Of a byte-level BPE of 8 to 32 thousand entries on unseen code; measured 3.2 to 3.7."""

ADAM_BYTES = 16
"""Per trained fp32 parameter: weight, gradient and two moments of 4 bytes each."""


def built_parameters(config: TrainConfig) -> int:
    """Parameters of a model built from sizes, tied embeddings counted once."""
    m = config.model
    head = m.hidden_size // m.heads
    attention = m.hidden_size * head * (2 * m.heads + 2 * (m.kv_heads or m.heads))
    layer = attention + 3 * m.hidden_size * (m.intermediate_size or 4 * m.hidden_size) + 2 * m.hidden_size
    embeddings = config.tokenizer.vocab_size * m.hidden_size * (1 if m.tie_embeddings else 2)
    return embeddings + m.layers * layer + m.hidden_size


def dry_run(config: TrainConfig) -> dict[str, Any]:
    """The resolved configuration and the plan; figures marked `about` are estimates.

    Raises:
        TrainingError: as `training.run.train.train` would for the configuration and the languages.
    """
    release = open_release(config.release)
    languages = check_languages(config.languages, release.languages)
    facts = release.manifest.languages  # type: ignore[attr-defined]  # sums per language in the manifest
    text = sum(facts[name].text_bytes for name in languages)
    held_out = int(text * config.evaluation.fraction)
    train = text - held_out
    if config.data.max_train_bytes is not None:
        train = min(train, config.data.max_train_bytes)
    tokens = int(train / BYTES_PER_TOKEN)
    rows = -(-tokens // config.data.sequence_length)
    epoch = -(-rows // config.rows_per_step)
    steps = config.steps or epoch * (config.epochs or 1)
    plan: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "release": {
            "name": release.manifest.name,
            "version": release.manifest.version,
            "digest": release.digest,
        },
        "rows": sum(facts[name].rows for name in languages),
        "languages": len(languages),
        "about_train_bytes": train,
        "about_held_out_bytes": held_out,
        "about_tokens_per_epoch": tokens,
        "about_steps_per_epoch": epoch,
        "steps": steps,
        "about_epochs": round(steps / max(1, epoch), 2),
    }
    if config.model.path is None:
        count = built_parameters(config)
        activations = (
            config.micro_batch_size * config.data.sequence_length * config.tokenizer.vocab_size * 4 * 3
        )
        plan["parameters"] = count
        plan["about_memory_bytes"] = {
            "weights_gradients_optimizer": count * ADAM_BYTES,
            "logits_of_a_micro_batch": activations,
        }
    return plan
