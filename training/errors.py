"""What training refuses: a small tree under `ValueError`; the command line gives each an exit code."""

from __future__ import annotations


class TrainingError(ValueError):
    """Base: a message for the user that says what, where, and what to do next."""


class TrainingConfigError(TrainingError):
    """The configuration file, an override, or a combination of settings cannot be used."""


class TrainingDataError(TrainingError):
    """The release, or the part of it that was asked for, cannot be trained on."""


class LeakyMaskError(TrainingError):
    """A packed batch would let one document see another: the settings that cause it are refused."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite; names the step and the documents of the batch."""


class CheckpointError(TrainingError):
    """A checkpoint's bytes are not what its hash list says, or it belongs to another run."""


class OutputError(TrainingError):
    """The output folder cannot be written."""


class ProcessError(TrainingError):
    """A process of a distributed run was killed, or the processes cannot reach each other."""


class OutOfMemoryError(TrainingError):
    """The device has not enough memory for a step; says what to change."""
