"""A stand-in for the Hugging Face Hub on loopback: dataset repositories behind the HTTP calls that huggingface_hub makes.

It is written after the client's own sources (huggingface_hub 2.4: hf_api.py, _commit_api.py, lfs.py) and holds to what
they rely on: commits are trees, a commit names its parent or is refused, large files come before the commit that names
them and are checked against their SHA-256, tags and branches are references, errors carry X-Error-Code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 7  # entries of a page of a tree: small, so that paging is walked
POINTER_BYTES = 134


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """Trees are path -> (is large, content)."""

    trees: dict[str, dict[str, tuple[bool, bytes]]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    private: bool = False

    def commit(self, branch: str, tree: dict[str, tuple[bool, bytes]], message: str) -> str:
        oid = hashlib.sha1(f"{len(self.trees)} {message}".encode()).hexdigest()
        self.trees[oid] = tree
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def resolve(self, revision: str) -> str | None:
        return (
            self.branches.get(revision)
            or self.tags.get(revision)
            or (revision if revision in self.trees else None)
        )


class HubServer(ThreadingHTTPServer):
    """`endpoint`, `repositories`, and what a test may set: tokens and failures."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.writers: set[str] = set()  # tokens that may write
        self.readers: set[str] = set()
        self.failures: dict[tuple[str, str], int] = {}  # (method, part of the path) -> status
        self.lost: set[str] = set()  # paths that a commit silently leaves out
        self.calls: list[tuple[str, str]] = []
        self.uploaded: list[str] = []  # SHA-256 of every large file that came over the wire
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def make(self, name: str) -> Repository:
        repository = self.repositories[name] = Repository()
        repository.commit("main", {".gitattributes": (False, b"*.parquet filter=lfs\n")}, "initial commit")
        return repository

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        length = self.headers.get("Content-Length")
        if length is not None:
            body = self.rfile.read(int(length))
        elif self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = b""
        url = urlsplit(self.path)
        try:
            with self.server.lock:
                self.server.calls.append((method, unquote(url.path)))
                for (wanted, part), status in self.server.failures.items():
                    if wanted == method and part in self.path:
                        raise _Answer(status, message=f"told to fail, {self.headers.get('Authorization')}")
                value, headers = self._route(method, url.path, parse_qs(url.query), body)
            status = 200
        except _Answer as answer:
            status, value = answer.status, {"error": answer.message}
            headers = {"X-Error-Code": answer.code} if answer.code else {}
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            **headers,
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def _may_write(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token in self.server.writers:
            return
        raise _Answer(403 if token in self.server.readers else 401, message="not allowed")

    def _route(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[Any, dict[str, str]]:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.server.writers | self.server.readers:
            raise _Answer(401, message="Invalid credentials in Authorization header")
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}, {}
        if path == "/api/repos/create":
            self._may_write()
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.make(name).private = wanted.get("private") or wanted.get("visibility") == "private"
            return {"url": f"{self.server.endpoint}/datasets/{name}"}, {}
        if parts[0] == "lfs" and method == "PUT":
            return self._put(f"{parts[1]}/{parts[2]}", parts[3], body)
        if parts[0] == "datasets" and parts[2].endswith(".git"):
            self._may_write()
            return self._batch(f"{parts[1]}/{parts[2].removesuffix('.git')}", json.loads(body))
        if parts[0] == "datasets" and parts[3] == "resolve":
            repository, oid = self._at(f"{parts[1]}/{parts[2]}", unquote(parts[4]))
            name = unquote("/".join(parts[5:]))
            if name not in repository.trees[oid]:
                raise _Answer(404, "EntryNotFound")
            return repository.trees[oid][name][1], {}
        if parts[:2] != ["api", "datasets"]:
            raise _Answer(404, message=f"no such address: {path}")
        name, what, revision = f"{parts[2]}/{parts[3]}", parts[4], unquote("/".join(parts[5:]))
        if what == "refs":
            repository = self._repository(name)
            return {
                kind: [
                    {"name": key, "ref": f"refs/{kind}/{key}", "targetCommit": oid}
                    for key, oid in refs.items()
                ]
                for kind, refs in {
                    "branches": repository.branches,
                    "tags": repository.tags,
                    "converts": {},
                }.items()
            }, {}
        if what == "revision":
            return {"id": name, "sha": self._at(name, revision)[1]}, {}
        if what == "tree":
            return self._tree(name, revision, query)
        self._may_write()
        if what == "branch":
            repository = self._repository(name)
            repository.branches[revision] = repository.branches["main"]
            return {}, {}
        if what == "preupload":
            self._at(name, revision)
            return {"files": [_mode(one) for one in json.loads(body)["files"]]}, {}
        if what == "tag":
            repository, oid = self._at(name, revision)
            if (tag := json.loads(body)["tag"]) in repository.tags:
                raise _Answer(409, message="the tag is there")
            repository.tags[tag] = oid
            return {}, {}
        assert what == "commit", path
        return self._commit(name, revision, body)

    def _repository(self, name: str) -> Repository:
        if name not in self.server.repositories:
            raise _Answer(404, "RepoNotFound", "Repository not found")
        return self.server.repositories[name]

    def _at(self, name: str, revision: str) -> tuple[Repository, str]:
        repository = self._repository(name)
        if (oid := repository.resolve(revision)) is None:
            raise _Answer(404, "RevisionNotFound", "Invalid rev id")
        return repository, oid

    def _tree(self, name: str, revision: str, query: dict[str, list[str]]) -> tuple[Any, dict[str, str]]:
        repository, oid = self._at(name, revision)
        entries: list[dict[str, Any]] = []
        for path, (large, data) in sorted(repository.trees[oid].items()):
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
            if large:
                digest = hashlib.sha256(data).hexdigest()
                entry |= {"oid": git_hash(digest.encode())}
                entry |= {"lfs": {"oid": digest, "size": len(data), "pointerSize": POINTER_BYTES}}
            entries.append(entry)
        entries.append({"type": "directory", "path": "data", "oid": "0" * 40, "size": 0})
        first = int(query.get("cursor", ["0"])[0])
        headers = {}
        if first + PAGE < len(entries):
            again = f"{self.server.endpoint}/api/datasets/{name}/tree/{quote(revision, safe='')}"
            headers["Link"] = f'<{again}?recursive=true&cursor={first + PAGE}>; rel="next"'
        return entries[first : first + PAGE], headers

    def _batch(self, name: str, wanted: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        have = self._repository(name).large
        objects = []
        for one in wanted["objects"]:
            href = f"{self.server.endpoint}/lfs/{name}/{one['oid']}"
            objects.append(one if one["oid"] in have else {**one, "actions": {"upload": {"href": href}}})
        return {"transfer": "basic", "objects": objects}, {}

    def _put(self, name: str, oid: str, body: bytes) -> tuple[Any, dict[str, str]]:
        if hashlib.sha256(body).hexdigest() != oid:
            raise _Answer(400, message="the object does not have this hash")
        self.server.repositories[name].large[oid] = body
        self.server.uploaded.append(oid)
        return {}, {}

    def _commit(self, name: str, branch: str, body: bytes) -> tuple[Any, dict[str, str]]:
        repository, head = self._at(name, branch)
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", head) != head:
            raise _Answer(412, message="the branch has moved")
        tree = dict(repository.trees[head])
        for line in lines[1:]:
            value = line["value"]
            if value["path"] in self.server.lost:
                continue
            if line["key"] == "file":
                tree[value["path"]] = (False, base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in repository.large:
                    raise _Answer(400, message=f"{value['path']}: the large file was not uploaded")
                tree[value["path"]] = (True, repository.large[value["oid"]])
            else:
                assert line["key"] == "deletedFile"
                del tree[value["path"]]
        oid = repository.commit(branch, tree, header["summary"])
        return {"commitUrl": f"{self.server.endpoint}/datasets/{name}/commit/{oid}", "commitOid": oid}, {}


def _mode(one: dict[str, Any]) -> dict[str, Any]:
    large = one["path"].endswith(".parquet") or one["size"] > 10 << 20
    return {
        "path": one["path"],
        "uploadMode": "lfs" if large else "regular",
        "shouldIgnore": False,
        "oid": None,
    }
