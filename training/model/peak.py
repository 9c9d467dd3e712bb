"""Peak FLOP/s of a device: what model FLOPs utilisation (MFU) divides by.

Dense matrix products in bf16 with fp32 accumulation. Data sheets often print the figure with 2:4 sparsity, which is
twice as much and reached by no dense model. Devices that are not listed can be told by `peak_tflops` in the
configuration; where a time must be estimated without a GPU, the peak is measured.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch

TERA = 1e12

# (part of the device's name, dense bf16 TFLOP/s, where it is published). The first that matches counts: the special
# before the general.
DEVICES: tuple[tuple[str, float, str], ...] = (
    ("GB200", 2500.0, "NVIDIA GB200 NVL72 data sheet, per GPU; half of the sparse figure"),
    ("B200", 2250.0, "NVIDIA HGX B200 data sheet, per GPU; half of the sparse figure"),
    ("H200 NVL", 835.5, "NVIDIA H200 data sheet, NVL column; half of the sparse figure"),
    ("GH200", 989.4, "NVIDIA GH200 data sheet; half of the sparse figure"),
    ("H200", 989.4, "NVIDIA H200 data sheet, SXM column; half of the sparse figure"),
    ("H100 NVL", 835.5, "NVIDIA H100 data sheet, NVL column; half of the sparse figure"),
    ("H100 PCIe", 756.4, "NVIDIA H100 architecture white paper, table of H100 PCIe"),
    ("H100", 989.4, "NVIDIA H100 architecture white paper, table of H100 SXM5"),
    ("H800", 989.4, "NVIDIA H100 architecture white paper; the H800 differs in NVLink and fp64"),
    ("A100", 312.0, "NVIDIA A100 architecture white paper"),
    ("A800", 312.0, "NVIDIA A100 architecture white paper; the A800 differs in NVLink"),
    ("A30", 165.0, "NVIDIA A30 data sheet"),
    ("A40", 149.7, "NVIDIA A40 data sheet"),
    ("A10", 125.0, "NVIDIA A10 data sheet"),
    ("RTX A6000", 154.8, "NVIDIA GA102 architecture white paper, bf16 with fp32 accumulation"),
    ("RTX 3090", 71.0, "NVIDIA GA102 architecture white paper, bf16 with fp32 accumulation"),
    ("RTX 6000 Ada", 364.2, "NVIDIA RTX 6000 Ada data sheet; a quarter of the sparse fp8 figure"),
    ("RTX 4090", 165.2, "NVIDIA Ada architecture white paper, bf16 with fp32 accumulation"),
    ("RTX 5090", 209.5, "NVIDIA RTX Blackwell architecture white paper, bf16 with fp32 accumulation"),
    ("L40S", 362.05, "NVIDIA L40S data sheet"),
    ("L40", 181.05, "NVIDIA L40 data sheet"),
    ("L4", 121.0, "NVIDIA L4 data sheet; half of the sparse figure"),
    ("MI300X", 1307.4, "AMD Instinct MI300X data sheet"),
    ("MI250X", 191.5, "AMD Instinct MI250X data sheet, one of its two dies: PyTorch sees each as a device"),
)

_OTHER = re.compile(r"\b(laptop|max q|mobile|mig|ti|super|d)\b")
"""Words after a listed name that make it another device: less power, a part of it, or another chip."""


@dataclass(frozen=True)
class Peak:
    """What one device could do.

    Attributes:
        flops: FLOP/s.
        source: where the figure is from; `measured` in it if it is.
    """

    flops: float
    source: str


def listed(name: str) -> Peak | None:
    """The published peak of a device with this name (as `torch.cuda.get_device_name` gives it), or None."""
    words = " ".join(name.replace("-", " ").split()).lower()
    if _OTHER.search(words):
        return None
    for part, tera, source in DEVICES:
        # Whole words: "L4" is not in "L40S", but "H100" is in "NVIDIA H100 80GB HBM3".
        if f" {part.lower()} " in f" {words} ":
            return Peak(tera * TERA, f"{part}: {source}")
    return None


def measured(device: str, dtype: torch.dtype, size: int = 1024, rounds: int = 3) -> Peak:
    """The best of some square matrix products on this machine, with PyTorch's current number of threads.

    Draws no random numbers: the state of a run is not touched.
    """
    left = torch.full((size, size), 0.5, dtype=dtype, device=device)
    right = torch.full((size, size), 0.25, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(rounds + 1):  # the first one warms up
        begun = time.perf_counter()
        product = left @ right
        if product.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    kind = str(dtype).removeprefix("torch.")
    return Peak(2 * size**3 / best, f"measured: {kind} matrix product of {size}, {device}")


def peak(device: torch.device, dtype: torch.dtype, tflops: float | None = None) -> Peak | None:
    """The peak of one device: as configured, else as listed, else measured on a CPU; None for an unknown GPU."""
    if tflops is not None:
        return Peak(tflops * TERA, "peak_tflops")
    if device.type == "cuda":
        return listed(torch.cuda.get_device_name(device))
    return measured("cpu", dtype) if device.type == "cpu" else None
