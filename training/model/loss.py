"""Cross-entropy without the logits of a whole micro-batch.

Logits are the largest thing in a step of a small model with a large vocabulary: 4,096 tokens times 128,256 entries are
2.1 GB in fp32, and log-softmax and gradient are each as much again. Here they are made for `chunk` tokens at a time, and
the gradient to the hidden states (and to the head, if it is trained) is computed at once while they are there, as the
loss is a sum over tokens; what is kept is as large as the hidden states. No logit is computed twice. Tokens without a
label get no logits at all. (The idea is that of fused linear cross-entropy: Hsu et al. 2024, Liger Kernel, arXiv
2410.10989, section 3; Wijmans et al. 2024, Cut Your Losses, arXiv 2411.09009.)

`install` puts it into a model without changing its class, its weights' names or its answers: only in training mode does
the output head hand its input on, and only then does the model's loss take it. Evaluation and generation see logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training.errors import TrainingConfigError

_AFTER_THE_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "logits_soft_cap",
)
"""Keys of transformers' configurations that say what is done to the logits after the output layer."""

_CHANGED = (
    "loss_chunk: a {} changes its logits after the output head (a soft cap or a scale), so that they cannot be made "
    "piece by piece; set loss_chunk: null"
)


def changes_logits(config: Any) -> bool:
    """Whether a configuration says that logits are not what the output head gives."""
    return any(getattr(config, key, None) not in (None, 1, 1.0) for key in _AFTER_THE_HEAD)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the token losses; hidden (tokens, width), weight (entries, width), labels (tokens,)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int
    ) -> torch.Tensor:
        kind = hidden.dtype
        if torch.is_autocast_enabled(hidden.device.type):
            kind = torch.get_autocast_dtype(hidden.device.type)
        with torch.autocast(hidden.device.type, enabled=False):
            matrix = weight.to(kind)
            # Gradients in fp16 would lose what GradScaler scales up only later.
            back = torch.float32 if kind == torch.float16 else kind
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            to_hidden = torch.empty_like(hidden)
            to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
            for first in range(0, len(hidden), chunk):
                part, wanted = hidden[first : first + chunk].to(kind), labels[first : first + chunk, None]
                logits = functional.linear(part, matrix).float()
                normaliser = logits.logsumexp(dim=-1, keepdim=True)
                total += (normaliser - logits.gather(1, wanted)).sum()
                # Gradient of the sum to the logits, in their place: softmax, less one at the label.
                logits.sub_(normaliser).exp_()
                logits.scatter_add_(1, wanted, torch.full_like(normaliser, -1.0))
                gradient = logits.to(back)
                to_hidden[first : first + chunk] = gradient @ matrix.to(back)
                if to_weight is not None:
                    to_weight += gradient.t() @ part.to(back)
        ctx.save_for_backward(to_hidden, to_weight)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        to_hidden, to_weight = ctx.saved_tensors
        return scale * to_hidden, None if to_weight is None else scale * to_weight, None, None


def chunked_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int, ignore_index: int = -100
) -> torch.Tensor:
    """Sum over the tokens with a label of the negative log-likelihood, in nats, fp32.

    Args:
        hidden: (tokens, width), what the output head is given.
        weight: (entries, width), of the output head, which has no bias.
        labels: (tokens,), already shifted: the token that follows each.
        chunk: tokens whose logits are there at once.
        ignore_index: the label that is not counted.
    """
    labelled = (labels != ignore_index).nonzero().squeeze(1)
    return _ChunkedCrossEntropy.apply(hidden[labelled], weight, labels[labelled], chunk)  # type: ignore[no-untyped-call, no-any-return]


class ChunkedLoss:
    """The output head and the loss of one model, taken together in training mode."""

    def __init__(self, model: Any, chunk: int) -> None:
        self.model, self.chunk = model, chunk
        self.head = model.get_output_embeddings()
        self.logits_of = self.head.forward
        self.loss_of = model.loss_function
        self.waiting: torch.Tensor | None = None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """In place of the head's: logits, or in training the hidden states themselves."""
        if not (self.model.training and torch.is_grad_enabled()):
            return self.logits_of(hidden)  # type: ignore[no-any-return]
        self.waiting = hidden
        return hidden

    def loss(
        self, logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **further: Any
    ) -> torch.Tensor:
        """In place of the model's loss function: the same number.

        Raises:
            TrainingConfigError: the model does something to its logits that would be lost.
        """
        hidden, self.waiting = self.waiting, None
        if hidden is None:
            return self.loss_of(logits=logits, labels=labels, vocab_size=vocab_size, **further)  # type: ignore[no-any-return]
        if logits is not hidden:
            raise TrainingConfigError(_CHANGED.format(self.model.config.model_type))
        ignore = further.get("ignore_index", -100)
        shifted = further.get("shift_labels")
        if shifted is None:
            shifted = functional.pad(labels, (0, 1), value=ignore)[..., 1:]
        shifted = shifted.reshape(-1).to(hidden.device)
        total = chunked_cross_entropy(hidden.flatten(0, -2), self.head.weight, shifted, self.chunk, ignore)
        count = further.get("num_items_in_batch")
        mean: torch.Tensor = total / (count if count is not None else (shifted != ignore).sum())
        return mean


def install(model: nn.Module, chunk: int) -> None:
    """Let a model, adapted or not, make its logits for `chunk` tokens at a time while it is trained.

    Raises:
        TrainingConfigError: the output head is not one matrix, or logits are changed behind it.
    """
    inner: Any = getattr(model, "get_base_model", lambda: model)()  # peft's wrapper has it
    head = inner.get_output_embeddings()
    kind: type = type(head)
    if kind is not nn.Linear or head.bias is not None:
        raise TrainingConfigError(
            f"loss_chunk: the output head ({kind.__name__}) is not one plain matrix (adapters on it, rows of "
            "new tokens or a bias); set loss_chunk: null"
        )
    if changes_logits(inner.config):
        raise TrainingConfigError(_CHANGED.format(inner.config.model_type))
    together = ChunkedLoss(inner, chunk)
    head.forward = together.forward
    inner.loss_function = together.loss
