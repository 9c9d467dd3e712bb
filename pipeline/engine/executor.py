"""What an executor is, how a unit is attempted, and the executor in this process; on_ray.py has the other one.

Both take payloads (small dictionaries of keys, never rows) and yield the sidecars of finished units. A test holds
them to the same bytes. Transient source errors are retried here, TRIES times with growing pauses.
"""

from __future__ import annotations

import errno
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import duckdb

from pipeline import errors
from pipeline.engine.cluster import Terms, examine
from pipeline.engine.stage import run_unit
from pipeline.errors import StackmillError, TransientError

TRIES = 4  # of a unit that fails transiently
_BACKOFF_SECONDS = 0.5


class Executor(Protocol):
    """Runs units of a stage."""

    @property
    def at_once(self) -> int | None:
        """How many units run at the same time, at most; None where that is not known."""
        ...

    def prepare(self, local: Mapping[str, str], libraries: tuple[str, ...] = ()) -> None:
        """Refuse, before any work is done, what cannot work here.

        `local`: the folders on this machine that units read or write, by the name of the option that gave them.
        `libraries`: distributions whose versions can change the bytes.
        """
        ...

    def run(
        self, payloads: Iterable[Mapping[str, Any]], *, heavy: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Run all payloads, yielding sidecars as units finish; at most `heavy` of them at once on one machine."""
        ...

    def close(self) -> None:
        """Give back what was started."""
        ...


def attempt(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one unit, again after a transient failure; a user-facing error comes back as data, not as a traceback."""
    for number in range(1, TRIES + 1):
        try:
            return run_unit(payload)
        except TransientError as error:
            if number == TRIES:
                return {"error": [type(error).__name__, f"{error} (after {TRIES} tries)"]}
            time.sleep(_BACKOFF_SECONDS * 2**number * (0.5 + random.random()))
        except StackmillError as error:
            return {"error": [type(error).__name__, str(error)]}
        except FileNotFoundError as error:
            return {
                "error": [
                    "SourceError",
                    f"{error}: missing while {payload['stage']} ran; run the release again",
                ]
            }
        except (OSError, MemoryError, duckdb.Error) as error:
            if not (message := _exhausted(error)):
                raise
            return {"error": ["SourceError", message]}
    raise AssertionError("unreachable")


def _exhausted(error: Exception) -> str | None:
    """What a user can do when a unit ran out of memory or scratch space; None for any other failure."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, (MemoryError, duckdb.OutOfMemoryException)):
        return (
            "out of memory; raise engine.task_memory, run with fewer --workers,"
            f" or use a new --workdir with more engine.buckets ({said})"
        )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or (isinstance(error, duckdb.IOException) and "No space left" in str(error)):
        return (
            f"no space left for temporary files in {tempfile.gettempdir()}; free some or set TMPDIR ({said})"
        )
    return None


def attempt_on_cluster(payload: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """`attempt`, unless something is wrong with this node: its bytes would stand under a wrong key, or be lost."""
    wrong = examine_here(terms)
    return {"error": ["ConfigError", "; ".join(wrong)]} if wrong else attempt(payload)


def examine_here(terms: Terms) -> list[str]:
    """What is wrong with the node of the cluster that this process belongs to."""
    import ray

    return examine(terms, ray.get_runtime_context().get_node_id())


def raise_error(result: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Raise the error that a unit reported, naming stage and unit."""
    if "error" in result:
        name, message = result["error"]
        raise getattr(errors, name)(f"{message} [stage {payload['stage']}, unit {payload['unit']}]")


class InProcess:
    """One unit after the other in this process."""

    at_once: int | None = 1

    def prepare(self, local: Mapping[str, str], libraries: tuple[str, ...] = ()) -> None:
        """Everything is here."""

    def run(
        self, payloads: Iterable[Mapping[str, Any]], *, heavy: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """See Executor."""
        for payload in payloads:
            result = attempt(payload)
            raise_error(result, payload)
            yield result

    def close(self) -> None:
        """Nothing was started."""
