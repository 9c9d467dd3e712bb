"""The executor on Ray: on this machine, or on a cluster that grows, shrinks and loses nodes.

A unit is a plain task that takes keys and returns a sidecar. What is tried again:

    a worker process that died        the unit starts again, 1 + _RETRIES times in all
    a node that died with the unit    the unit starts again elsewhere; that is no fault of the unit, so it may happen
                                      _NODES_LOST times before the unit is suspected

Ray's own retries are off: it counts both kinds of death together, and kills for want of memory not at all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.engine.cluster import (
    Node,
    Terms,
    check_reachable,
    cluster_address,
    forwarded_environment,
    installed,
    living_nodes,
    needed_bytes,
    not_shared,
    place,
)
from pipeline.engine.executor import attempt, attempt_on_cluster, examine_here, raise_error
from pipeline.errors import ConfigError, SourceError

_RETRIES = 3  # of a unit whose worker process died
_NODES_LOST = 16  # nodes that one unit may lose: it takes them down itself, or the cluster is not usable
_LOOK_SECONDS = 5.0  # between two looks at the nodes of a cluster
_SAY_SECONDS = 60.0  # between two messages that units wait for a node
_EXAMINE_SECONDS = 120.0  # that a node has for its first answer; a late one is checked with its first unit
_STOP_SECONDS = 5.0  # that units have to clean up after a cancel before they are killed
_OBJECT_STORE_BYTES = 80 << 20  # sidecars only travel through it; Ray refuses less than 75 MiB


@dataclass(eq=False)
class _Unit:
    """A unit in flight, and what it has gone through."""

    payload: Mapping[str, Any]
    crashes: int = 0
    nodes_lost: int = 0
    node: str | None = None  # that it was placed on

    @property
    def name(self) -> str:
        return f"stage {self.payload['stage']}, unit {self.payload['unit']}"


@dataclass(kw_only=True)
class OnRay:
    """Units as plain Ray tasks: on this machine by default, on a cluster when an address is given.

    On this machine Ray is started at the first unit, so that a run with nothing to do starts nothing. `workers` bounds
    the units at once; without it they are as many as there are cores, on a cluster as it grows and shrinks.
    `shared_disk` asserts that folders are the same on all nodes; `note` takes messages for the user.
    """

    workers: int | None = None
    address: str | None = None
    shared_disk: bool = False
    forward_credentials: bool = False
    note: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.address = cluster_address(self.address)
        self._ray: Any = None
        self._local: Mapping[str, str] = {}
        self._libraries: tuple[str, ...] = ()
        self._terms: Terms | None = None
        self._nodes: list[Node] = []
        self._looked = self._said = 0.0  # seconds of the monotonic clock

    @property
    def at_once(self) -> int | None:
        """See Executor."""
        if self.address is None:
            return self.workers or os.cpu_count() or 1
        return self.workers or round(sum(node.cpus for node in self._nodes)) or None

    # ------------------------------------------------------------------------------------------ joining, leaving

    def prepare(self, local: Mapping[str, str], libraries: tuple[str, ...] = ()) -> None:
        """See Executor. Joins the cluster, if there is one, and looks at each of its nodes."""
        if self.address is None:
            return
        self._local, self._libraries = dict(local), libraries
        self._examine(self._start())

    def _start(self) -> Any:
        if self._ray is None:
            # The hook of `uv run` breaks local starts, and sends the working directory to a cluster.
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            # Ray's workers run at niceness 15 by default: on a busy machine they would starve beside anything else.
            os.environ.setdefault("RAY_worker_niceness", "0")
            import ray
            import ray.util.scheduling_strategies

            with _quiet():
                if self.address:
                    self._join(ray)
                else:
                    ray.init(
                        address="local",  # or it would join whatever cluster runs on this machine
                        num_cpus=self.workers or os.cpu_count() or 1,
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level="ERROR",
                        object_store_memory=_OBJECT_STORE_BYTES,
                    )
            self._ray = ray
            if self.address:
                self._terms = self._make_terms(ray)
                self._look(ray)
        return self._ray

    def _join(self, ray: Any) -> None:
        assert self.address is not None
        check_reachable(self.address)  # Ray itself would try for minutes
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            if "AuthToken" in f"{error} {error.__cause__}":
                remedy = (
                    "it asks for a token: set RAY_AUTH_MODE=token, with the cluster's token in RAY_AUTH_TOKEN or in"
                    " ~/.ray/auth_token"
                )
            else:
                remedy = "this machine has to be a node of it (docs/cluster.md)"
            raise SourceError(
                f"no Ray cluster can be joined at {self.address}; {remedy} ({error})"
            ) from error
        except RuntimeError as error:
            said = " ".join(str(error).split())
            if "Version mismatch" in said:
                raise ConfigError(f"{said}; give all nodes and the driver the same image") from error
            raise SourceError(
                f"the Ray cluster at {self.address} cannot be joined from this machine, which has to be one of its nodes"
                f" (docs/cluster.md): {said}"
            ) from error

    def _make_terms(self, ray: Any) -> Terms:
        here, local = ray.get_runtime_context().get_node_id(), self._local
        if self.shared_disk:
            # A folder that is not there yet is one that the run makes: no node can see it now.
            local = {name: path for name, path in local.items() if Path(path).is_dir()}
        return Terms(
            versions=installed(self._libraries),
            libraries=self._libraries,
            local=local,
            only_on=None if self.shared_disk else here,
        )

    def close(self) -> None:
        """Shut Ray down, or leave the cluster."""
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None

    def _examine(self, ray: Any) -> None:
        """Ask each node once whether it has the driver's installation and sees the folders."""
        asked = {}
        for node in self._nodes:
            where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
            # In the environment of units, so that the worker process that starts for it serves them afterwards.
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": where, **self._environment()}
            ask = ray.remote(**options)(examine_here)
            asked[ask.remote(self._terms)] = node
        if not asked:
            return
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_EXAMINE_SECONDS)
        for reference in done:
            try:
                wrong = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                last = str(error).strip().splitlines()[-1]
                raise ConfigError(
                    f"node {asked[reference].address} cannot run this version of Stackmill ({last});"
                    " give all nodes and the driver the same image"
                ) from error
            except ray.exceptions.RayError:
                continue  # it left the cluster meanwhile
            if wrong:
                raise ConfigError("; ".join(wrong))
        for reference in late:
            self.note(
                f"node {asked[reference].address} has not answered yet; it is checked with its first unit"
            )

    def _look(self, ray: Any) -> None:
        """Which nodes there are now, said when it has changed; refuses folders that other nodes cannot see."""
        first, before = not self._looked, self._nodes
        self._nodes, self._looked = living_nodes(ray), time.monotonic()
        assert self._terms is not None
        others = [node.address for node in self._nodes if node.id != self._terms.only_on]
        if self._terms.local and self._terms.only_on is not None and others:
            raise ConfigError(not_shared(self._terms.local, ", ".join(others[:3])))
        ids = {node.id for node in self._nodes}
        for node in before:
            if node.id not in ids:
                self.note(f"the node {node.address} has left the cluster; its units run again on others")
        if not first and ids - {node.id for node in before}:
            cpus = sum(node.cpus for node in self._nodes)
            self.note(f"nodes with CPUs in the cluster: {len(ids)}, CPUs: {cpus:g}")

    # -------------------------------------------------------------------------------------------------- running

    def run(
        self, payloads: Iterable[Mapping[str, Any]], *, heavy: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """See Executor. About twice as many units as can run are in flight, so queues stay short."""
        ray = self._start()
        remote = self._remote(ray, heavy=heavy is not None)
        waiting, again = iter(payloads), deque[_Unit]()
        running: dict[Any, _Unit] = {}
        self._said = time.monotonic() - _SAY_SECONDS
        try:
            while True:
                while (unit := _next(waiting, again)) is not None:
                    if (reference := self._submit(remote, unit, running, heavy)) is None:
                        again.appendleft(unit)
                        break
                    running[reference] = unit
                if not running:
                    return
                for reference in self._wait(ray, running, heavy):
                    unit = running.pop(reference)
                    result = self._result(ray, reference, unit)
                    if result is None:
                        again.append(unit)
                        continue
                    raise_error(result, unit.payload)
                    yield result
        finally:
            _cancel(ray, list(running))

    def _remote(self, ray: Any, *, heavy: bool) -> Any:
        """The remote function, made once per stage: each one that is made is sent to every worker."""
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
        if heavy:
            options["max_calls"] = 1  # the process, and the model that it loaded, end with the unit
        if self.address is None:
            return ray.remote(**options)(attempt)
        return ray.remote(**options, **self._environment())(attempt_on_cluster)

    def _environment(self) -> dict[str, Any]:
        variables = forwarded_environment(credentials=self.forward_credentials)
        return {"runtime_env": {"env_vars": variables}} if variables else {}

    def _submit(self, remote: Any, unit: _Unit, running: Mapping[Any, _Unit], heavy: int | None) -> Any:
        """Hand a unit to Ray; None when there are enough in flight."""
        if self.address is None:
            cores = self.workers or os.cpu_count() or 1
            most = min(cores, heavy) if heavy is not None else 2 * cores
            return remote.remote(unit.payload) if len(running) < most else None
        need = needed_bytes(unit.payload["memory"], heavy=heavy is not None)
        placed = Counter(other.node for other in running.values())
        more, unit.node = place(self._nodes, placed, need=need, workers=self.workers, heavy=heavy)
        if not more:
            return None
        # Soft: should the node die before the unit starts, Ray takes another.
        where: Any = "DEFAULT"
        if unit.node is not None:
            where = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(unit.node, soft=True)
        asking = remote.options(memory=need, scheduling_strategy=where)
        return asking.remote(unit.payload, self._terms)

    def _wait(self, ray: Any, running: Mapping[Any, _Unit], heavy: int | None) -> list[Any]:
        """References of finished units; none after a while in which the nodes were looked at."""
        done, _ = ray.wait(
            list(running), num_returns=1, timeout=None if self.address is None else _LOOK_SECONDS
        )
        if self.address is None or time.monotonic() - self._looked < _LOOK_SECONDS:
            return done
        self._look(ray)
        payload = next(iter(running.values())).payload
        need = needed_bytes(payload["memory"], heavy=heavy is not None)
        able = any(node.slots(need) for node in self._nodes)
        if not done and not able and time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            self.note(
                f"waiting: none of the {len(self._nodes)} nodes with CPUs can take a unit of stage {payload['stage']}"
                f" (1 CPU and {need / 1e9:.1f} GB of memory); add a node, or interrupt and lower engine.task_memory"
            )
        return done

    def _result(self, ray: Any, reference: Any, unit: _Unit) -> dict[str, Any] | None:
        """The sidecar or reported error of a unit; None when it has to run again. Raises what ends the run."""
        known = ray.exceptions
        try:
            return ray.get(reference)
        except known.RayTaskError:
            raise  # a defect in a stage function, with its traceback
        except (known.WorkerCrashedError, known.OutOfMemoryError) as error:
            unit.crashes += 1
            if unit.crashes <= _RETRIES:
                return None
            raise SourceError(
                f"a worker died {unit.crashes} times on {unit.name} (out of memory?);"
                " run again with fewer --workers, a smaller engine.task_memory or more engine.buckets"
            ) from error
        except (known.NodeDiedError, known.ObjectLostError, known.TaskUnschedulableError) as error:
            unit.nodes_lost += 1
            if unit.nodes_lost < _NODES_LOST:
                self.note(f"{unit.name} was lost with its node; it runs again")
                return None
            raise SourceError(
                f"{unit.nodes_lost} nodes were lost while they ran {unit.name}: nodes that vanish too fast, or a unit that"
                " takes its node down (memory); run again on other nodes, or with more engine.buckets"
            ) from error
        except known.LocalRayletDiedError as error:
            raise SourceError(
                "the node that this command runs on has left the Ray cluster; run the same command again to go on"
            ) from error
        except known.RuntimeEnvSetupError as error:
            raise SourceError(f"a node could not start a worker for {unit.name}: {error}") from error
        except known.RayError as error:
            raise SourceError(f"Ray failed on {unit.name}: {error}; run again") from error


def _next(waiting: Iterator[Mapping[str, Any]], again: deque[_Unit]) -> _Unit | None:
    """A unit that has to run again, else a new one, else None."""
    if again:
        return again.popleft()
    payload = next(waiting, None)
    return None if payload is None else _Unit(payload)


def _cancel(ray: Any, references: list[Any]) -> None:
    """Leave no unit running: interrupt them, so that they remove their scratch folders, then kill what is left."""
    if not references:
        return
    with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
        for reference in references:
            ray.cancel(reference)
        _, left = ray.wait(references, num_returns=len(references), timeout=_STOP_SECONDS)
        for reference in left:
            ray.cancel(reference, force=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's start-up notes about versions and accelerators are not the user's business."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
