"""Several processes of the command line: torchrun's agent and Ray, on one machine and on two, and what goes wrong."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from training.config import TrainConfig
from training.errors import CheckpointError, OutputError, ProcessError, TrainingConfigError
from training.launch import exit_code, lost_connection
from training.run import processes
from training.run.processes import Processes, start

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 2), "--nodes needs --rendezvous"),
        ((2, 1, 0, "a:1"), "belong to --nodes"),
        ((2, 1, 1), "belong to --nodes"),
        ((2, 2, 2, "a:1"), "must be 0 to 1"),
        ((2, 2, 1, "a"), "not HOST:PORT"),
        ((2, 2, 1, "a:port"), "not HOST:PORT"),
    ],
)
def test_machines_are_told_completely(arguments, message):
    with pytest.raises(TrainingConfigError, match=message):
        Processes(*arguments)


def test_processes_of_all_machines():
    assert Processes(4, 3, 1, "host:29400").world == 12
    assert Processes(4, 3, 1, "[::1]:29400").node == 1
    assert processes.threads_per_process(10_000) == 1
    assert processes.threads_per_process(1) == len(os.sched_getaffinity(0))


def agent(monkeypatch, tmp_path, code, world=2, **more):
    """Run `code` instead of training in every process."""
    script = tmp_path / "training" / "launch.py"
    script.parent.mkdir()
    (script.parent / "__init__.py").touch()
    script.write_text("import json, os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start(["x"], Processes(world, **more))


SAY = """
def fail(code, message):
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
        json.dump({"message": message}, file)
    sys.exit(code)
"""


@pytest.mark.parametrize(
    ("code", "error"), [(2, TrainingConfigError), (4, CheckpointError), (5, OutputError)]
)
def test_what_a_process_refuses_is_the_error_of_the_command(monkeypatch, tmp_path, code, error):
    script = SAY + f"fail({code}, 'that is wrong') if rank == 1 else time.sleep(60)"
    with pytest.raises(error, match=r"^process 1 of 2: that is wrong$"):
        agent(monkeypatch, tmp_path, script)


def test_ctrl_c_is_an_interruption_as_with_one_process(monkeypatch, tmp_path):
    """Breach: exit code 5, as if a disk had failed, and a trace from every process."""
    script = "os.kill(os.getppid(), signal.SIGINT) if rank == 0 else None\ntime.sleep(60)\n"
    with pytest.raises(KeyboardInterrupt):
        agent(monkeypatch, tmp_path, script)


def test_an_interrupted_process_has_no_trace(monkeypatch, tmp_path, capsys):
    from training import launch

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "load", interrupted)
    assert launch.main([str(tmp_path / "x.yaml")]) == 130
    assert capsys.readouterr().err == ""


def test_a_process_that_dies_stops_the_others(monkeypatch, tmp_path):
    script = "open(str(rank), 'w').write(str(os.getpid()))\n"
    script += "while rank == 1 and not os.path.exists('0'): time.sleep(0.01)\n"
    script += "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)"
    with pytest.raises(ProcessError, match=r"process 1 of 2 was ended by SIGKILL \(out of memory"):
        agent(monkeypatch, tmp_path, script)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "0").read_text()), 0)


def test_a_process_with_a_bug_is_pointed_to(monkeypatch, tmp_path):
    with pytest.raises(ProcessError, match="process 0 of 1 ended with exit code 1; its message is above"):
        agent(monkeypatch, tmp_path, "1 / 0", world=1)


def test_processes_end_with_an_agent_that_is_killed(tmp_path):
    """Breach: they train on unseen, and the command, begun again, writes to the same output."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys, time\nfrom training import launch\nlaunch._end_with_the_agent()\n"
        "print(os.getpid(), flush=True)\nsys.stdin.read()\ntime.sleep(600)\n"
    )
    agent_ = (
        "import os, subprocess, sys\nos.environ['TORCHELASTIC_ERROR_FILE'] = 'x'\n"
        f"subprocess.run([sys.executable, {str(worker)!r}], stdin=subprocess.DEVNULL)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", agent_], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    process = int(running.stdout.readline())
    ended = os.pidfd_open(process)
    running.kill()
    running.wait()
    try:
        assert select.select([ended], [], [], 30)[0], "the process goes on"
    finally:
        os.close(ended)
        running.stdout.close()


def test_interrupted_processes_say_no_more_than_their_agent(monkeypatch, tmp_path, capfd):
    """Breach: Ctrl-C prints a trace of 40 lines from each process."""
    from training import launch
    from training.run import train

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", interrupted)
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"release": "x", "output": "y", "steps": 1}))
    assert launch.main([str(file)]) == 130
    assert capfd.readouterr().err == ""


def test_the_agents_own_log_is_not_seen(capfd):
    import torch.distributed.elastic.agent.server.api as server

    with processes._quiet_agent():
        server.logger.warning("Received 2 death signal, shutting down workers")
    assert capfd.readouterr().err == ""
    assert not server.logger.disabled


def test_cores_are_shared_out_and_a_choice_is_respected(monkeypatch, tmp_path):
    code = "open(os.environ['RANK'], 'w').write(os.environ['OMP_NUM_THREADS'])"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = signal.getsignal(signal.SIGINT)
    agent(monkeypatch, tmp_path, code)
    assert (tmp_path / "1").read_text() == "7"
    assert signal.getsignal(signal.SIGINT) is before  # the agent's own handler would outlive it
    monkeypatch.delenv("OMP_NUM_THREADS")
    start(["x"], Processes(2))
    assert (tmp_path / "1").read_text() == str(processes.threads_per_process(2))
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_port_in_use(monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProcessError, match=f"127.0.0.1:{port}: the port is in use"):
            agent(monkeypatch, tmp_path, "", world=1, nodes=2, rendezvous=f"127.0.0.1:{port}")


def test_machines_that_do_not_meet(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(processes, "MEETING_TIMEOUT", 1)
    with pytest.raises(ProcessError, match=f"2 machines did not meet at 127.0.0.1:{port}"):
        agent(monkeypatch, tmp_path, "", world=1, nodes=2, node=1, rendezvous=f"127.0.0.1:{port}")


def test_an_error_of_the_network_is_told_and_no_other():
    lost = lost_connection(RuntimeError("[/pytorch/third_party/gloo/x.cc:1] Connection closed by peer"))
    assert isinstance(lost, ProcessError)
    assert exit_code(lost) == 5
    assert "connection to another process is lost" in str(lost)
    assert lost_connection(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_a_process_with_another_configuration_is_refused(ranks, settings, tmp_path):
    from training_ranks import configuration

    first = configuration(settings)
    other = {"rank": 1, "arguments": ["--set", "optimizer.learning_rate=0.5"]}
    exits = ranks.run([first], 2, other=other, patience=0.0)
    assert exits[1].code == 2
    assert "process 1 has another configuration than process 0" in exits[1].err
    assert exits[0].code != 0


def command(*arguments):
    return [sys.executable, "-m", "pipeline.cli.main", "train", *arguments]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def two(ranks, settings, tmp_path):
    """(configuration file, weights of a run in two processes)."""
    from training_ranks import configuration

    settings = {**settings, "data": {**settings["data"], "cache": str(tmp_path / "cache")}}
    result = ranks.train(settings, 2)
    return configuration(settings), Path(result["checkpoint"], "model.safetensors").read_bytes()


@pytest.mark.slow
def test_two_machines_train_as_one(two, tmp_path):
    """Two agents on this machine, meeting over loopback."""
    config, wanted = two
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = tmp_path / "nodes"
    shared = ["--nodes", "2", "--rendezvous", f"127.0.0.1:{port}", "--json", "--set", f"output={output}"]
    running = [
        subprocess.Popen(
            command(config, *shared, "--node-rank", str(node)),
            env=environment(),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (1, 0)
    ]
    answers = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    results = [json.loads(out) for out, _ in answers]
    assert results[0] == results[1]
    assert Path(results[0]["checkpoint"], "model.safetensors").read_bytes() == wanted


@pytest.mark.slow
def test_stopped_by_a_signal_and_gone_on(two, tmp_path):
    """A job scheduler's SIGTERM: all processes end, and the command goes on where the newest checkpoint is."""
    config, wanted = two
    output = tmp_path / "stopped"
    more = ["--nproc", "2", "--json", "--set", f"output={output}", "--set", "steps=6"]
    running = subprocess.Popen(
        command(config, *more), env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("step 3/6  loss"):
            break
    running.send_signal(signal.SIGTERM)
    _, rest = running.communicate()
    assert running.returncode == 5
    assert "stopped by SIGTERM" in rest
    done = subprocess.run(
        command(config, *more), env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(json.loads(done.stdout)["checkpoint"], "model.safetensors").read_bytes() == wanted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_trains_the_same_weights_and_says_what_is_wrong(two, tmp_path):
    """A local Ray cluster in a process of its own: the same bits as torchrun, and plain errors."""
    config, wanted = two
    code = f"""
import json, sys
from pathlib import Path
import ray
from training.config import load
from training.errors import *
from training.run import ray_train
ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
config = load({config!r}, ["output={tmp_path / "ray"}"])
found = {{"result": ray_train.train_on_ray(config, 2, "auto", print)}}
for name, settings, workers in (("many", [], 3), ("divide", ["micro_batch_size=4"], 2), ("seed", ["seed=5"], 2)):
    try:
        ray_train.train_on_ray(load({config!r}, ["output={tmp_path / "ray"}", *settings]), workers, "auto", print)
    except TrainingError as error:
        found[name] = [type(error).__name__, str(error)]
ray.shutdown()
Path("found.json").write_text(json.dumps(found))
"""
    subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, check=True, capture_output=True
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert Path(found["result"]["checkpoint"], "model.safetensors").read_bytes() == wanted
    assert found["many"][0] == "TrainingConfigError"
    assert "3 workers need a CPU each, and the cluster has 2" in found["many"][1]
    assert "cannot be divided among 2 processes" in found["divide"][1]
    assert found["seed"][0] == "CheckpointError"
    assert "belongs to another run" in found["seed"][1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_that_is_not_there(form):
    from training.run import ray_train

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(free.getsockname()[1])
    with pytest.raises(ProcessError, match=f"no Ray cluster at {address}"):
        ray_train._reachable(address)
    ray_train._reachable("auto")


def test_a_node_that_does_not_see_the_output(tmp_path, settings):
    from training.run import ray_train

    given = {
        "config": TrainConfig.model_validate(settings).model_dump(),
        "mark": str(tmp_path / "nowhere"),
        "answer": "",
    }
    with pytest.raises(OutputError, match="a file system that all nodes share"):
        ray_train._work(given)
    (tmp_path / "mark").touch()
    given["mark"] = str(tmp_path / "mark")
    given["config"]["release"] = "/nowhere"
    with pytest.raises(TrainingConfigError, match="/nowhere: a node of the cluster does not see it"):
        ray_train._work(given)
