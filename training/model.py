"""The model: built from sizes or loaded, adapters, and the proof that packed documents do not see each other.

THE MASK TRAP. transformers derives the block-diagonal attention mask of a packed row from position ids that
restart at 0, but only when `attention_mask` is None and no key-value cache is made. With `use_cache` at its
default or an all-ones `attention_mask` in the batch, documents see the ones before them, without a warning
(logits move by 1.2 to 1.5 at a standard deviation of 0.2). Three walls stand against it here: every forward
pass of packed rows goes through `packed_inputs`, which refuses such arguments; `use_cache=False` is passed
each time; and `check_isolation` proves it on the actual model before training starts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from training.config import LoraConfig, ModelConfig
from training.errors import LeakyMaskError, TrainingConfigError
from training.tokenizer import CodeTokenizer

PACKED_KEYS = frozenset({"input_ids", "position_ids", "labels"})


def llama_config(model: ModelConfig, tokenizer: CodeTokenizer, sequence_length: int) -> LlamaConfig:
    """The transformers configuration of a model built from sizes."""
    control = tokenizer.control
    return LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        max_position_embeddings=sequence_length,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        tie_word_embeddings=model.tie_embeddings,
        bos_token_id=None,
        eos_token_id=control.end_of_text,
        # The embedding of the padding id is never trained: where it is also the end of text, it is not told.
        pad_token_id=control.pad if control.pad != control.end_of_text else None,
        use_cache=False,
        attn_implementation=model.attention,
    )


def build(model: ModelConfig, tokenizer: CodeTokenizer, sequence_length: int, seed: int) -> PreTrainedModel:
    """A freshly initialised model in fp32: the same seed gives the same weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config(model, tokenizer, sequence_length))


def load(folder: Path, attention: str, tokenizer: CodeTokenizer) -> PreTrainedModel:
    """A trained model from a local folder, in fp32.

    Raises:
        TrainingConfigError: no model there, or a vocabulary that the tokenizer does not fit.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise TrainingConfigError(f"{folder}: no model that can be loaded: {error}") from error
    model.config.use_cache = False
    entries = model.get_input_embeddings().weight.shape[0]
    if tokenizer.size > entries:
        raise TrainingConfigError(
            f"the tokenizer has {tokenizer.size} entries, the model at {folder} only {entries}: they "
            "do not belong "
            "together; leave tokenizer.path out to use the model's own"
        )
    return model


def add_lora(model: PreTrainedModel, lora: LoraConfig, seed: int) -> torch.nn.Module:
    """The model with its weights frozen and low-rank adapters on the target modules.

    Raises:
        TrainingConfigError: no module has the name of a target.
    """
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    torch.manual_seed(seed)
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    settings = PeftLora(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5 under a name that is going away
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            return get_peft_model(model, settings)
    except ValueError as error:
        raise TrainingConfigError(f"lora.target_modules: {error}") from error


def packed_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a forward pass over packed rows, `use_cache=False` among them.

    Raises:
        LeakyMaskError: an argument with which documents would see each other.
    """
    if inputs.get("attention_mask") is not None:
        raise LeakyMaskError(
            "a packed batch must not have an attention_mask: with one, the boundaries in "
            "position_ids are ignored "
            "and documents see each other; take it out of the collator"
        )
    if inputs.get("use_cache"):
        raise LeakyMaskError(
            "packed rows with use_cache=True: documents would see each other; set it to False"
        )
    if inputs.get("past_key_values") is not None:
        raise LeakyMaskError("packed rows with past_key_values: documents would see each other")
    positions = inputs.get("position_ids")
    if positions is None:
        raise LeakyMaskError("a packed batch needs position_ids that restart at 0 with every document")
    if not bool((positions[:, 0] == 0).all()):
        raise LeakyMaskError("position_ids of a packed row must start at 0")
    return {**inputs, "use_cache": False}


@torch.no_grad()
def check_isolation(model: torch.nn.Module, vocab_size: int, **arguments: Any) -> None:
    """Prove on this model that a document in a packed row does not depend on the ones before it.

    Two rows differ only in their first document. Every logit of the second and third document must then be
    the same to the last bit, whatever the precision: masked places have the weight 0 exactly. Any difference
    is a leak.

    Args:
        model: any causal language model.
        vocab_size: ids to draw from.
        arguments: of the forward pass besides `input_ids` and `position_ids`; default `use_cache=False`. For
        tests.

    Raises:
        LeakyMaskError: how far the logits moved, and the usual reasons.
    """
    lengths = (7, 5, 1, 6)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab_size, (1, sum(lengths)), generator=generator)
    other = ids.clone()
    other[:, : lengths[0]] = (ids[:, : lengths[0]] + 1 + vocab_size // 3) % vocab_size
    positions = torch.cat([torch.arange(length) for length in lengths])[None].to(device)
    was_training = model.training
    model.eval()
    arguments = arguments or {"use_cache": False}
    first, second = (
        model(input_ids=row.to(device), position_ids=positions, **arguments).logits[:, lengths[0] :]
        for row in (ids, other)
    )
    model.train(was_training)
    moved = (first.float() - second.float()).abs().max().item()
    if moved > 0 or not torch.isfinite(first).all():
        raise LeakyMaskError(
            f"documents in a packed row see each other: the logits of one moved by {moved:.2g} when "
            "another was "
            "changed. Usual reasons: an attention_mask in the batch, use_cache=True, or an "
            "architecture that does not "
            "derive its mask from position_ids. Try model.attention: sdpa or eager"
        )


def parameters(model: torch.nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied ones are counted once."""
    known = {id(p): p for p in model.parameters()}
    return sum(p.numel() for p in known.values()), sum(p.numel() for p in known.values() if p.requires_grad)


@torch.no_grad()
def complete(model: torch.nn.Module, tokenizer: CodeTokenizer, prompt: str, max_tokens: int) -> str:
    """Greedy continuation of a prompt (without it), to the end of text or `max_tokens`.

    Recomputes the row for every token: meant for a look at a small model, not for serving.
    """
    model.eval()
    device = next(model.parameters()).device
    ids = [int(i) for i in tokenizer.encode([prompt])[0]] or [tokenizer.control.end_of_text]
    start = len(ids) if prompt else 0
    for _ in range(max_tokens):
        row = torch.tensor([ids], device=device)
        token = int(model(input_ids=row, use_cache=False).logits[0, -1].argmax())
        if token == tokenizer.control.end_of_text:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])
