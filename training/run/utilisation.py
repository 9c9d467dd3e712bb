"""How much of what the devices could do a run uses: model FLOPs utilisation, with the right count (`training.model.flops`)."""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig
from training.model import flops
from training.model.build import precision
from training.model.peak import peak
from training.model.start import device_for
from training.prepare import Prepared


def of_run(config: TrainConfig, prepared: Prepared, model: Any, world: int) -> flops.RunFlops:
    """What a token of this run costs.

    A processor has no MFU unless `peak_tflops` is given: its peak could only be measured, and a measure taken beside
    other work is too small, so that more than 100 % would be shown.
    """
    device = device_for(config)
    known = device.type == "cuda" or config.peak_tflops is not None
    top = peak(device, flops.dtype_of(precision(config)), config.peak_tflops) if known else None
    return flops.for_run(
        model,
        [epoch.plan for epoch in prepared.epochs],
        checkpointing=config.gradient_checkpointing,
        devices=world,
        peak=top,
    )


def report(run: flops.RunFlops | None, tokens_per_second: float) -> dict[str, Any]:
    """The keys of a run's result: per device, 0..1; None where the device's peak is not known."""
    if run is None:
        return {}
    return {
        "devices": run.devices,
        "tokens_per_second_per_device": tokens_per_second / run.devices,
        "flops_per_token": run.per_token,
        "mfu": flops.mfu(tokens_per_second, 1.0, run),
        "hfu": flops.mfu(tokens_per_second, 1.0, run, hardware=True),
        "peak_flops": run.peak.flops if run.peak else None,
        "peak_source": run.peak.source if run.peak else None,
    }
