"""The learning rate of each step, as a share of its peak: a pure function of the step, so a resume is exact.

For step s = 0, 1, ... of n, with w steps of warm-up, the share at the end m (`min_ratio`), and the progress
p = (s - w) / (n - w) of what comes after the warm-up:

    warm-up     (s + 1) / (w + 1): no step is wasted on a rate of 0, and step w is the first at the peak
    constant    1
    linear      1 - (1 - m) p; to zero as in arXiv 2502.15938
    cosine      m + (1 - m) (1 + cos(pi p)) / 2; Loshchilov and Hutter, arXiv 1608.03983, without restarts
    wsd         1, then over the last d = round(decay_fraction n) steps m + (1 - m) (1 - sqrt(q)), where q = (s - (n - d)) / d.
                Warm-up, stable, decay: MiniCPM, arXiv 2404.06395. The shape of the decay and its length of 20 %
                are the best of Haegele et al., arXiv 2405.18392

As in those papers' own code the end of the schedule, p = 1, is what step n would have: the last step still learns
a little at m = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from training.config import OptimizerConfig


def share(settings: OptimizerConfig, steps: int) -> Callable[[int], float]:
    """The function from a 0-based step of a run of `steps` steps to its learning rate / `learning_rate`."""
    warmup, least, kind = settings.warmup_steps, settings.min_ratio, settings.schedule
    decay = max(1, round(settings.decay_fraction * steps))

    def after_warmup(step: int) -> float:
        """1 at the peak, 0 at the end; `least` is not in it."""
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        if kind == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        if kind == "linear":
            return 1 - progress
        if kind == "wsd":
            return 1 - math.sqrt(min(1.0, max(0, step - (steps - decay)) / decay))
        return 1.0

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return least + (1 - least) * after_warmup(step)

    return rate


def scheduler(optimizer: Optimizer, settings: OptimizerConfig, steps: int) -> LambdaLR:
    """The schedule for an optimizer whose rate is the peak; its state is the number of steps done."""
    return LambdaLR(optimizer, share(settings, steps))
