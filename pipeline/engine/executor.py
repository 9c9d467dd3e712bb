"""The two executors behind one interface: in this process, and Ray.

Both take payloads (small dictionaries of keys, never rows) and yield the sidecars of finished units. A test holds
them to the same bytes. Transient source errors are retried here; a killed Ray worker is retried by Ray.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import duckdb

from pipeline import errors
from pipeline.engine.stage import run_unit
from pipeline.errors import SourceError, StackmillError, TransientError

_RETRIES = 3  # of a unit whose worker process died
TRIES = 4  # of a unit that fails transiently
_BACKOFF_SECONDS = 0.5
_OBJECT_STORE_BYTES = 80 << 20  # sidecars only travel through it; Ray refuses less than 75 MiB


class Executor(Protocol):
    """Runs units of a stage."""

    workers: int

    def run(
        self, payloads: Iterable[Mapping[str, Any]], *, heavy: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Run all payloads, yielding sidecars as units finish; `heavy` bounds how many run at once."""
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


def raise_error(result: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Raise the error that a unit reported, naming stage and unit."""
    if "error" in result:
        name, message = result["error"]
        raise getattr(errors, name)(f"{message} [stage {payload['stage']}, unit {payload['unit']}]")


class InProcess:
    """One unit after the other in this process."""

    workers = 1

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


class OnRay:
    """Units as plain Ray tasks: on this machine by default, on a cluster when an address is given.

    Ray is started at the first unit, so that a run with nothing to do starts nothing.
    """

    def __init__(self, *, workers: int, address: str | None = None) -> None:
        self.workers = workers
        self._address = address
        self._ray: Any = None

    def _start(self) -> Any:
        if self._ray is None:
            os.environ.setdefault(
                "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0"
            )  # the hook of `uv run` breaks local starts
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            # Ray's workers run at niceness 15 by default: on a busy machine they would starve beside anything else.
            os.environ.setdefault("RAY_worker_niceness", "0")
            import ray

            with _quiet():
                if self._address:
                    try:
                        ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
                    except ConnectionError as error:
                        # Ray never sends a token to an address that was given, unless the mode says so.
                        hint = (
                            ""
                            if os.environ.get("RAY_AUTH_MODE")
                            else "; if it asks for a token, set RAY_AUTH_MODE=token"
                        )
                        raise SourceError(
                            f"no Ray cluster answers at {self._address}: {error}{hint}"
                        ) from error
                    self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
                else:
                    ray.init(
                        address="local",  # or it would join whatever cluster runs on this machine
                        num_cpus=self.workers,
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level="ERROR",
                        object_store_memory=_OBJECT_STORE_BYTES,
                    )
            self._ray = ray
        return self._ray

    def run(
        self, payloads: Iterable[Mapping[str, Any]], *, heavy: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """See Executor. At most twice as many units as workers are in flight, so queues stay short."""
        ray = self._start()
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": _RETRIES}
        if heavy is not None:
            options["max_calls"] = 1  # the process, and the model that it loaded, end with the unit
        remote = ray.remote(**options)(attempt)
        waiting = iter(payloads)
        running: dict[Any, Mapping[str, Any]] = {}
        limit = heavy if heavy is not None else 2 * self.workers
        try:
            while True:
                while len(running) < limit and (payload := next(waiting, None)) is not None:
                    running[remote.remote(payload)] = payload
                if not running:
                    return
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    payload = running.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayTaskError:
                        raise  # a defect in a stage function, with its traceback
                    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                        raise SourceError(
                            f"a worker died {1 + _RETRIES} times on stage {payload['stage']}, unit {payload['unit']}"
                            " (out of memory?); run again with fewer --workers or more engine.buckets"
                        ) from error
                    except ray.exceptions.RayError as error:
                        raise SourceError(
                            f"Ray failed on stage {payload['stage']}, unit {payload['unit']}: {error}; run again"
                        ) from error
                    raise_error(result, payload)
                    yield result
        finally:
            for reference in running:
                ray.cancel(reference)

    def close(self) -> None:
        """Shut Ray down, or leave the cluster."""
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's start-up notes about versions and accelerators are not the user's business."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
