"""A real S3 server on loopback, from pip packages only: OpenStack Swift with its S3 interface.

Run as a program, it starts the server, prints one JSON line (`endpoint`, `access_key`, `secret_key`,
`region`) and serves until its standard input ends: it cannot outlive the test run that started it.

Why not a mock: Swift checks signatures, refuses conditional puts on existing keys, and does multipart
uploads, ranges and paged listings; a mock that we tried took a wrong secret key. Anonymous reads: after the
bucket's ACL is set to public-read, at `<endpoint>/v1/AUTH_test`. It has no bucket policies or object ACLs.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"
ROLES = ("proxy", "object", "container", "account")  # started in this order, on as many ports
START_SECONDS, TRIES = 60, 3

COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {run}
devices = {run}/devices
recon_cache_path = {run}/cache
user = {user}
workers = 0
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = ERROR
log_address = /nowhere
"""

STORAGE = """
[pipeline:main]
pipeline = {role}-server

[app:{role}-server]
use = egg:swift#{role}
"""

# s3api checks the signature together with tempauth; the cache filter has to be there, its server has not.
PROXY = f"""
[pipeline:main]
pipeline = catch_errors gatekeeper proxy-logging cache listing_formats bulk s3api tempauth
  slo dlo symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
location = {REGION}
s3_acl = false

[filter:tempauth]
use = egg:swift#tempauth
user_{ACCESS_KEY.replace(":", "_")} = {SECRET_KEY} .admin

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9

[filter:proxy-logging]
use = egg:swift#proxy_logging
""" + "".join(
    f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "gatekeeper", "listing_formats", "bulk", "slo", "dlo", "symlink")
)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_configuration(run: Path, ports: dict[str, int]) -> None:
    """Write the configuration of the four servers and the three rings of one device each."""
    from swift.common.ring import RingBuilder

    (run / "devices" / "d1").mkdir(parents=True)
    (run / "cache").mkdir()
    (run / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = loopback\nswift_hash_path_suffix = loopback\n"
        "[storage-policy:0]\nname = default\ndefault = yes\n"
    )
    user = pwd.getpwuid(os.getuid()).pw_name
    for role, port in ports.items():
        body = PROXY if role == "proxy" else STORAGE.format(role=role)
        (run / f"{role}.conf").write_text(COMMON.format(port=port, run=run, user=user) + body)
        if role == "proxy":
            continue
        ring = RingBuilder(4, 1, 1)
        ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0})
        ring.rebalance()
        ring.get_ring().save(str(run / f"{role}.ring.gz"))


def start(run: Path) -> tuple[str, list[subprocess.Popen[bytes]]]:
    """Start the four servers and wait until each of them listens; returns the endpoint and the processes."""
    ports = dict(zip(ROLES, free_ports(len(ROLES)), strict=True))
    write_configuration(run, ports)
    servers = []
    for role in ROLES:
        with (run / f"{role}.log").open("wb") as log:
            command = [
                sys.executable,
                str(Path(sys.executable).parent / f"swift-{role}-server"),
                str(run / f"{role}.conf"),
            ]
            servers.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run)
            )
    deadline = time.monotonic() + START_SECONDS
    waiting = set(ROLES)
    while waiting:
        for role, server in zip(ROLES, servers, strict=True):
            if server.poll() is not None or time.monotonic() > deadline:
                stop(servers)
                raise OSError(f"the {role} server did not start: {(run / f'{role}.log').read_text()[-2000:]}")
        for role in sorted(waiting):
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", ports[role])) == 0:
                    waiting.discard(role)
        time.sleep(0.05)
    return f"http://127.0.0.1:{ports['proxy']}", servers


def stop(servers: list[subprocess.Popen[bytes]]) -> None:
    """End the servers that `start` started."""
    for server in servers:
        server.terminate()
    for server in servers:
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def takes_attributes(folder: Path) -> bool:
    """Whether Swift can keep its metadata there: in extended attributes of files."""
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.name, "user.swift", b"x" * 256)
        except OSError:
            return False
    return True


def main() -> int:
    """Serve until standard input ends."""
    folders = [folder for folder in (Path(tempfile.gettempdir()), Path.cwd()) if takes_attributes(folder)]
    if not folders:
        print("no folder with extended attributes: set TMPDIR to a disk that has them", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="s3-server-", dir=folders[0]) as scratch:
        for attempt in range(TRIES):  # a port can be taken by another process between its choice and its use
            run = Path(scratch) / str(attempt)
            run.mkdir()
            try:
                endpoint, servers = start(run)
                break
            except OSError as error:
                last = error
        else:
            print(last, file=sys.stderr)
            return 1
        try:
            keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": REGION}
            print(json.dumps({"endpoint": endpoint} | keys), flush=True)
            sys.stdin.read()
        finally:
            stop(servers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
