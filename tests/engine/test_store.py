"""A store on disk: objects are whole or not there; what goes wrong is one message that says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError, StackmillError, TransientError

NOBODY = 65_534


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_put_read_stat_list_delete(store):
    assert keys(store) == []
    store.put("b/two", b"22")
    store.put("a/one", b"1")
    store.put("b/c/three", b"333")
    assert [(e.key, e.size) for e in store.list()] == [("a/one", 1), ("b/c/three", 3), ("b/two", 2)]
    assert keys(store, "b") == ["b/c/three", "b/two"]
    assert keys(store, "nothing") == []
    assert store.read("b/two") == b"22"
    store.put("b/two", b"other")
    assert store.read("b/two") == b"other"
    assert store.stat("b/two").size == 5
    assert store.stat("b/none") is None
    store.delete("b/two")
    store.delete("b/two")
    store.delete_all("b")
    store.delete_all("b")
    assert keys(store) == ["a/one"]
    with pytest.raises(FileNotFoundError):
        store.read("b/two")


def test_a_store_is_an_address(store, tmp_path):
    store.put("x/y", b"1")
    assert pickle.loads(pickle.dumps(store)) == store
    assert store.sub("x").read("y") == b"1"
    assert Store((tmp_path / "store").as_uri()).read("x/y") == b"1"
    (tmp_path / "a b").mkdir()
    spaced = Store((tmp_path / "a b").as_uri())
    spaced.put("k", b"1")
    assert (tmp_path / "a b/k").read_bytes() == b"1"
    with pytest.raises(ConfigError, match="only folders"):
        Store("https://example.org/archive")


def test_a_crash_before_the_commit_leaves_nothing(store):
    store.put("k", b"old")
    with pytest.raises(RuntimeError), store.writing("k") as path:
        path.write_bytes(b"new, half")
        raise RuntimeError
    assert store.read("k") == b"old"
    with pytest.raises(KeyboardInterrupt), store.writing("fresh") as path:
        path.write_bytes(b"half")
        raise KeyboardInterrupt
    assert keys(store) == ["k"]
    assert [path.name for path in store.root.iterdir()] == ["k"]


def test_what_a_killed_process_left_is_not_listed(store):
    """SIGKILL between writing and renaming: the temporary name stays, and is no object."""
    script = (
        "import os, signal, sys\n"
        "from pipeline.engine.store import Store\n"
        "with Store(sys.argv[1]).writing('dir/k.parquet') as path:\n"
        "    path.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, store.uri], check=False).returncode == -9
    assert len(list(store.root.rglob("*"))) == 2, "a folder and the temporary file"
    assert keys(store) == []
    assert store.stat("dir/k.parquet") is None
    [left] = store.list(temporary=True)
    assert left.key.startswith("dir/k.parquet.tmp-"), "only `clean` asks for such"
    store.put("dir/k.parquet", b"whole")
    assert keys(store) == ["dir/k.parquet"]


def test_an_object_is_on_disk_before_its_name(store, monkeypatch):
    """Data, then the rename, then the folder: in this order a power cut cannot leave a name without its bytes."""
    events = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor):
        events.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        real_fsync(descriptor)

    def replace(self, target):
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    store.put("k", b"1")
    assert events == ["file", "rename", "folder"]


def test_put_new_never_overwrites(store):
    assert store.put_new("dir/k", b"first") is True
    assert store.put_new("dir/k", b"second") is False
    assert store.read("dir/k") == b"first"
    assert [path.name for path in (store.root / "dir").iterdir()] == ["k"]


def test_put_new_has_one_winner(store):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: (store.put_new("k", b"%d" % n), n), range(64)))
    winners = [n for first, n in won if first]
    assert len(winners) == 1
    assert store.read("k") == b"%d" % winners[0]


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on the device; free some or give another --workdir"),
        (errno.EDQUOT, "disk quota exceeded"),
        (errno.EACCES, "permission denied; check the owner and mode"),
        (errno.EROFS, "read-only; give another --workdir"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_a_disk_can_do_wrong_has_a_remedy(store, monkeypatch, code, words):
    def fails(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pipeline.engine.store.fsync", fails)
    for write in (store.put, store.put_new):
        with pytest.raises(SourceError) as failed:
            write("dir/k", b"1")
        assert words in str(failed.value)
        assert f"{store.uri}/dir/k" in str(failed.value)
        assert failed.value.exit_code == 5
        assert not isinstance(failed.value, TransientError)
    assert keys(store) == []


@contextlib.contextmanager
def mounted(folder: Path, options: str):
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: a full and a read-only file system stay untested here")
    folder.mkdir(parents=True)
    line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(line, capture_output=True, check=False).returncode != 0:
        pytest.skip("NO MOUNTS HERE: a full and a read-only file system stay untested")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_full_disk(tmp_path):
    with mounted(tmp_path / "tiny", "size=64k"):
        store = Store(str(tmp_path / "tiny"))
        store.put("small", b"1")
        with pytest.raises(SourceError, match="no space left on the device; free some"):
            store.put("large", bytes(1 << 20))
        table = pa.table({"x": pa.array([os.urandom(64) for _ in range(5_000)])})
        with (
            pytest.raises(SourceError, match="no space left on the device"),
            store.writing("t.parquet") as path,
        ):
            pq.write_table(table, path)
        assert keys(store) == ["small"], "nothing half-written, and the space is free again"
        store.put("other", bytes(20_000))


def test_a_read_only_disk(tmp_path):
    with mounted(tmp_path / "fixed", "size=64k"):
        store = Store(str(tmp_path / "fixed"))
        store.put("k", b"1")
        line = ["mount", "-o", "remount,ro", str(tmp_path / "fixed")]
        if subprocess.run(line, capture_output=True, check=False).returncode != 0:
            pytest.skip("NO REMOUNT HERE: a read-only file system stays untested")
        assert store.read("k") == b"1"
        with pytest.raises(SourceError, match="read-only; give another --workdir"):
            store.put("k", b"2")
        with pytest.raises(SourceError, match="read-only"):
            store.delete("k")


def test_no_permission():
    folder = Path(tempfile.mkdtemp(prefix="stackmill-test-"))
    try:
        store = Store(str(folder / "store"))
        store.put("k", b"1")
        folder.chmod(0o755)
        (folder / "store/k").chmod(0)
        (folder / "store").chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)  # root may do anything
        try:
            for act in (
                lambda: store.put("other", b""),
                lambda: store.put_new("other", b""),
                lambda: store.read("k"),
            ):
                with pytest.raises(SourceError, match="permission denied; check the owner and mode"):
                    act()
            assert keys(store) == ["k"]
        finally:
            if root:
                os.seteuid(0)
    finally:
        (folder / "store").chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_where_a_folder_should_be(store):
    store.put("k", b"1")
    with pytest.raises(SourceError, match="a part of this path is a file"):
        store.put("k/below", b"1")


# ------------------------------------------------------------------------------------------------------------ Parquet


@pytest.fixture
def part(store) -> Path:
    with store.writing("t.parquet") as path:
        table = pa.table({"x": [f"{n * 7919 % 10007}" for n in range(4_000)]})
        pq.write_table(table, path, write_page_checksum=True, use_dictionary=False, compression="none")
    return store.path("t.parquet")


def test_parquet_is_read_with_page_checksums(store, part):
    with store.parquet("t.parquet") as file:
        assert file.read().num_rows == 4_000
    data = bytearray(part.read_bytes())
    data[2_000] ^= 1
    part.write_bytes(data)
    with (
        pytest.raises(IntegrityError, match=r"t\.parquet is damaged") as damaged,
        store.parquet("t.parquet") as file,
    ):
        file.read_row_group(0)
    assert "run again" in str(damaged.value)


@pytest.mark.parametrize("left", [0, 3, 100])
def test_a_cut_off_parquet_file_is_named(store, part, left):
    part.write_bytes(part.read_bytes()[:left])
    with (
        pytest.raises(StackmillError, match=r"t\.parquet is not a readable Parquet file"),
        store.parquet("t.parquet"),
    ):
        pass


def test_a_missing_parquet_file_is_missing(store):
    with pytest.raises(FileNotFoundError), store.parquet("none.parquet"):
        pass
