"""What lineage.json says is what was trained on; and what can be asked of it is answered exactly."""

import copy
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from licensing import optout
from manifests.reader import Release
from pipeline.cli.main import app
from pipeline.errors import StackmillError
from training.after import places, trace, withdrawn
from training.config import TrainConfig
from training.corpus import networks
from training.errors import CheckpointError, TrainingConfigError
from training.prepare import Epoch, prepare
from training.run import checkpoint, lineage, lineage_format, row_sets
from training.run.seen import SeenCounter, pieces
from training.tokens import packing

STEPS = 3


def write_checkpoint(config, prepared, step, *, processes=1):
    """A sealed checkpoint without weights, in the run's output."""
    folder = checkpoint.folder_of(Path(config.output) / "checkpoints", step)
    temporary = folder.with_name(folder.name + ".tmp-test")
    prepared.tokenizer.save(temporary)
    lineage.write(temporary, lineage.Recorder(config, prepared, processes).describe(step))
    checkpoint.seal(temporary, folder)
    return folder


@pytest.fixture(scope="module")
def made(release, tmp_path_factory):
    """(configuration, prepared, checkpoint folder): three steps of a run that has seen about half of its rows."""
    config = TrainConfig.model_validate(
        {
            "release": str(release),
            "output": str(tmp_path_factory.mktemp("made") / "run"),
            "languages": ["Python", "C++"],
            "tokenizer": {"vocab_size": 400},
            "data": {"sequence_length": 320},
            "steps": 40,
            "micro_batch_size": 2,
            "global_batch_tokens": 8 * 320,
            "evaluation": {"fraction": 0.2},
            "device": "cpu",
        }
    )
    prepared = prepare(config, print)
    return config, prepared, write_checkpoint(config, prepared, STEPS)


@given(st.integers(0, 300), st.randoms())
def test_a_set_of_rows_comes_back(rows, random):
    """Breach: a row is added or lost."""
    share = random.choice([0.0, 0.02, 0.5, 1.0])
    chosen = np.array([random.random() < share for _ in range(rows)], dtype=bool)
    packed = json.loads(json.dumps(row_sets.pack(chosen)))
    assert (row_sets.unpack(packed, rows) == chosen).all()
    assert packed["count"] == chosen.sum()
    if packed["ranges"] is not None:
        assert [row for first, stop in packed["ranges"] for row in range(first, stop)] == np.flatnonzero(
            chosen
        ).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"count": 4},
        {"bits": "eJw="},
        {"bits": "!"},
        {"bits": None},
        {"ranges": [[0, 4]]},
        {"ranges": "x"},
    ],
    ids=["count", "torn", "not base64", "no text", "other ranges", "no ranges"],
)
def test_a_damaged_set_of_rows_is_refused(change):
    packed = row_sets.pack(np.array([True, False, True, True, False, False, False, False, False]))
    with pytest.raises(CheckpointError, match="a set of 9 rows cannot be read"):
        row_sets.unpack({**packed, **change}, 9)
    with pytest.raises(CheckpointError):
        row_sets.unpack(packed, 20)


def test_a_small_text_does_not_become_gigabytes():
    """Breach: a lineage from a stranger fills the memory."""
    bomb = row_sets.pack(np.zeros(1 << 20, dtype=bool))
    with pytest.raises(CheckpointError):
        row_sets.unpack(bomb, 8)


def _epoch(lengths, members, capacity, documents=None):
    """An epoch of documents that are made of rows: `members`, the tokens of each row of each document."""
    lengths = np.array(lengths, dtype=np.int64)
    document = np.repeat(np.arange(len(members)), list(map(len, members)))
    token = np.concatenate([np.cumsum([0, *some[:-1]]) for some in members])
    cache = SimpleNamespace(
        length=lengths,
        tokens=np.zeros(lengths.sum(), dtype=np.uint16),
        member_document=document,
        member_row=np.arange(len(document))[::-1].copy(),
        member_token=token,
    )
    documents = np.arange(len(lengths), dtype=np.int64) if documents is None else np.array(documents)
    return Epoch(cache, documents, packing.plan(lengths, capacity, documents))


@settings(deadline=None, max_examples=60)  # the first example compiles
@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), min_size=1, max_size=12),
    st.integers(1, 16),
    st.booleans(),
)
def test_pieces_hold_every_token_of_every_row_once(members, capacity, single):
    """Breach: a row counts as seen that was not, or the other way round."""
    members = [[sum(some)] for some in members] if single else members
    epoch = _epoch(list(map(sum, members)), members, capacity)
    found = pieces(epoch)
    lengths = np.array([length for some in members for length in some])[::-1]
    counted = np.bincount(found.row, found.tokens, len(lengths))
    assert (counted == lengths).all()
    assert (found.tokens > 0).all()
    in_fragment = np.bincount(found.fragment, found.tokens, len(epoch.plan.length))
    assert (in_fragment == epoch.plan.length).all()
    for row in range(len(lengths)):
        mine = sorted(zip(found.offset[found.row == row], found.tokens[found.row == row], strict=True))
        assert [first for first, _ in mine] == np.cumsum([0, *(n for _, n in mine[:-1])]).tolist()


def test_the_counter_says_what_the_batches_hold(made):
    """Counted again, token by token, from the rows that are fed."""
    _, prepared, _ = made
    counter, order = SeenCounter(prepared), prepared.order
    tokens, trained, rows = Counter(), 0, set()
    for step in range(order.steps):
        assert counter.tokens(step) == sum(tokens.values())
        assert counter.trained_tokens(step) == trained
        if step in (0, 1, 7, 25):
            by_language = dict(zip(prepared.corpus.languages, counter.tokens_by_group(step)[0], strict=True))
            assert by_language == {name: tokens[name] for name in prepared.corpus.languages}
            assert set(np.flatnonzero(counter.rows(step)).tolist()) == rows
        epoch, numbers = order.rows(step)
        cache = prepared.epochs[epoch].cache
        filled = order.plans[epoch].fill(cache.tokens, numbers, 1)
        owners = filled.document[filled.document >= 0]
        tokens.update(prepared.corpus.languages[number] for number in cache.language[owners])
        trained += int((filled.labels != packing.IGNORE).sum())
        rows |= set(cache.member_row[np.isin(cache.member_document, owners)].tolist())


def test_lineage_has_the_published_form(made):
    """Breach: the schema that is published is not that of the files."""
    value = json.loads((made[2] / "lineage.json").read_text())
    assert lineage_format.SCHEMA.read_text() == lineage_format.schema(), (
        "python -m training.run.lineage_format"
    )
    jsonschema.validate(value, json.loads(lineage_format.SCHEMA.read_text()))
    parsed = lineage_format.parse(value, "here")
    assert json.loads(parsed.model_dump_json(exclude_unset=True)) == value
    total = value["rows"]["train"] + value["rows"]["held_out"] + sum(value["rows"]["left_out"].values())
    assert total == sum(part["rows"] for source in value["sources"] for part in source["parts"])
    assert sum(value["mix"]["achieved"]["languages"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "lineage of version 1; this Stackmill reads version 2"),
        ({"more": 1}, "not a lineage: more"),
        ({"tokenizer_digest": "x"}, "not a lineage: tokenizer_digest"),
    ],
    ids=["version", "unknown key", "digest"],
)
def test_another_form_is_refused(made, change, message):
    value = json.loads((made[2] / "lineage.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        lineage_format.parse({**value, **change}, "here")


def test_the_same_run_writes_the_same_bytes(made, tmp_path):
    config, prepared, folder = made
    lineage.write(tmp_path, lineage.Recorder(config, prepared, 1).describe(STEPS))
    assert (tmp_path / "lineage.json").read_bytes() == (folder / "lineage.json").read_bytes()


def test_history_tells_who_trained_which_steps(made, tmp_path):
    config, prepared, folder = made
    recorder = lineage.Recorder(config, prepared, 4)
    recorder.go_on_from(folder)
    history = recorder.describe(8)["history"]
    assert [(part["first_step"], part["steps"], part["processes"]) for part in history] == [
        (0, 3, 1),
        (3, 5, 4),
    ]
    lineage.write(tmp_path, recorder.describe(8))
    again = lineage.Recorder(config, prepared, 4)
    again.go_on_from(tmp_path)
    history = again.describe(9)["history"]
    assert [(part["first_step"], part["steps"]) for part in history] == [(0, 3), (3, 6)]


def _opened(folder, release=None):
    runs = trace.chain(trace.open_folder(folder))
    return runs, trace.Data.find(runs, [str(release)] if release else [])


def _all_rows(runs, data):
    """Of the first run, the rows of all owners."""
    questions = [trace.Question("owner", f"example.org/owner{owner}") for owner in range(5)]
    return [row for question in questions for row in trace.ask(runs, data, question)["runs"][0]["rows"]]


def test_every_row_of_the_release_is_told_exactly(made, release):
    """Breach: the answer to "was my file trained on" is wrong for one row."""
    _, prepared, folder = made
    runs, data = _opened(folder)
    counter, number = SeenCounter(prepared), 0
    expected = {}
    for source in prepared.corpus.sources:
        for row in source.index(["row_id"])["row_id"].to_pylist():
            train, held = prepared.corpus.train[number], prepared.corpus.held_out[number]
            seen = counter.first_step[number] < STEPS
            expected[row] = "seen" if seen else "not_reached" if train else "held_out" if held else "left_out"
            number += 1
    for batch in Release.open(release).batches(["row_id", "language"], languages=["Shell"]):
        expected |= dict.fromkeys(batch["row_id"].to_pylist(), "not_read")
    assert set(expected.values()) == {"seen", "not_reached", "held_out", "not_read"}
    found = {}
    for owner in range(5):
        answer = trace.ask(runs, data, trace.Question("owner", f"example.org/OWNER{owner}"))
        found |= {row["row_id"]: row["status"] for row in answer["runs"][0]["rows"]}
        assert answer["counts"] == dict(Counter(row["status"] for row in answer["runs"][0]["rows"]))
    assert found == expected


@pytest.mark.parametrize("column", ["row_id", "swhid", "content_sha256", "sha256", "content_id", "blob_id"])
def test_a_row_is_found_by_any_of_its_names(made, release, column):
    runs, data = _opened(made[2])
    table = pq.read_table(next(release.glob("data/Python/*.parquet")), partitioning=None).slice(3, 1)
    (value,), (row,) = table[column].to_pylist(), table["row_id"].to_pylist()
    value += ";origin=https://example.org" if column == "swhid" else ""
    answer = trace.ask(runs, data, trace.Question("id", value))
    assert [found["row_id"] for found in answer["runs"][0]["rows"]] == [row]


def test_a_repository_is_found_by_its_origin_in_any_form(made, release):
    runs, data = _opened(made[2])
    origin = "https://example.org/owner1/repository1"
    wanted = trace.ask(runs, data, trace.Question("origin", origin))
    assert sum(wanted["counts"].values()) > 2
    swhid = "swh:1:ori:" + hashlib.sha1(origin.encode()).hexdigest()
    for value in SPELLINGS:
        assert trace.ask(runs, data, trace.Question("origin", value))["runs"] == wanted["runs"], value
    for value in (swhid, f" {swhid.upper()};visit=swh:1:snp:{'0' * 40}"):
        assert trace.ask(runs, data, trace.Question("id", value))["runs"] == wanted["runs"]
    assert trace.ask(runs, data, trace.Question("origin", origin[:-1]))["counts"] == {}
    for kind, value in (
        ("id", "click"),
        ("id", "swh:1:rel:" + "0" * 40),
        ("owner", "owner1"),
        ("origin", " "),
    ):
        with pytest.raises(TrainingConfigError, match=r"is no id|is no owner|is empty"):
            trace.ask(runs, data, trace.Question(kind, value))


SPELLINGS = (
    "https://example.org/owner1/repository1",
    "https://example.org/owner1/repository1.git",
    "https://example.org/owner1/repository1.git/",
    "https://example.org/owner1/repository1/?tab=readme#top",
    "http://www.example.org/Owner1/Repository1",
    "HTTPS://me:word@EXAMPLE.org:443/owner1//repository%31",
    "git@example.org:owner1/repository1.git",
    "ssh://git@example.org:22/owner1/repository1.git",
    "git+ssh://git@example.org/owner1/repository1",
    " example.org/owner1/repository1 ",
)


@given(st.sampled_from(SPELLINGS), st.sampled_from(["", "/", ".git", "#x", "/blob"]), st.booleans())
def test_addresses_are_compared_as_the_opt_out_registry_does(value, end, upper):
    """Breach: the registry takes a repository out under a spelling under which nobody finds it in a checkpoint."""
    value = value.strip() + end
    value = value.upper() if upper else value
    assert networks.plain(value) == optout.normalise(value)
    for package in ("pkg:pypi/click@8.1.7", "pkg:npm/%40scope/name@1.0"):
        assert networks.plain(package) == optout.normalise(package)


def test_an_account_is_found_by_its_address_in_any_form(made, release):
    """Breach: who gives the address of an account is told "not trained on"."""
    runs, data = _opened(made[2])
    wanted = trace.ask(runs, data, trace.Question("owner", "example.org/owner1"))["runs"]
    assert wanted[0]["rows"]
    for value in ("https://example.org/Owner1/", "git@example.org:owner1", "www.example.org/owner1"):
        assert trace.ask(runs, data, trace.Question("owner", value))["runs"] == wanted, value
    assert trace.ask(runs, data, trace.Question("owner", "example.org/owner"))["counts"] == {}
    question = trace.Question("owner", "example.org/group/inner")  # a group in a group
    origins = ["https://example.org/group/inner/a", "https://example.org/group/innermost/a", None]
    _, test = question.columns_and_test()
    assert test(pa.table({"origin": origins})).to_pylist() == [True, False, False]
    _, test = trace.Question("owner", "pkg:pypi/click").columns_and_test()
    assert test(pa.table({"origin": ["pkg:pypi/click@8.1", "pkg:pypi/clicker@8.1"]})).to_pylist() == [
        True,
        False,
    ]


def test_steps_are_those_in_which_the_row_was_fed(made):
    """Breach: the step or the tokens named are not the row's."""
    _, prepared, folder = made
    runs, data = _opened(folder)
    answer = trace.ask(runs, data, trace.Question("owner", "example.org/owner2"))
    places.add_places(folder, runs, data, answer, print)
    looked_at, cut = 0, 0
    for row in answer["runs"][0]["rows"]:
        if row["status"] not in ("seen", "not_reached"):
            assert "places" not in row
            continue
        assert row["places"]
        for place in row["places"]:
            epoch, numbers = prepared.order.rows(place["step"])
            assert (epoch, place["trained_on"]) == (place["epoch"], place["step"] < STEPS)
            assert place["packed_row"] in numbers
            cache, plan = prepared.epochs[epoch].cache, prepared.order.plans[epoch]
            document = cache.content_id.to_pylist().index(row["content_sha256"])
            filled = plan.fill(cache.tokens, np.array([place["packed_row"]]), 1)
            begin = int(cache.length[:document].sum()) + place["first_token"]
            tokens = cache.tokens[begin : begin + place["tokens"]]
            text = ",".join(map(str, filled.ids[filled.document == document].tolist()))
            assert ",".join(map(str, tokens.tolist())) in text
            looked_at += 1
            cut += place["first_token"] > 0
    assert looked_at > 20


def test_a_row_trained_on_in_the_base_is_found_there(made, release, tmp_path):
    """A run on Shell alone that started from the run on Python: both are asked."""
    config, _, base = made
    other = TrainConfig.model_validate(
        {**config.model_dump(), "languages": ["Shell"], "output": str(tmp_path / "second"), "steps": 2}
    )
    second = prepare(
        other.model_copy(update={"tokenizer": other.tokenizer.model_copy(update={"path": str(base)})}), print
    )
    second = SimpleNamespace(**{**vars(second), "base": base})
    folder = write_checkpoint(other, second, 2)
    runs, data = _opened(folder)
    assert [run.generation for run in runs] == [0, 1]
    assert runs[0].lineage.parent.checkpoint_digest == checkpoint.digest(base)
    row = next(row for row in _all_rows(runs[1:], data) if row["status"] == "seen")
    answer = trace.ask(runs, data, trace.Question("id", row["row_id"]))
    assert answer["trained_on"]
    assert [run["counts"] for run in answer["runs"]] == [{"not_read": 1}, {"seen": 1}]
    # and what the base was trained on is withdrawn from this model, too
    found = withdrawn.removed(runs, data, [{"row_id": row["row_id"], "reason": "withdrawn"}])
    assert (found["found"], found["by_generation"], found["rows"][0]["generations"]) == (1, [0, 1], [1])


@pytest.fixture(scope="module")
def mixed(release, tmp_path_factory):
    """(configuration, prepared, checkpoint, texts): a release and a file of JSON lines, with weights."""
    folder = tmp_path_factory.mktemp("mixed")
    texts = [f"# {number}\ndef own_{number}(x):\n    return x + {number}\n" * 9 for number in range(40)]
    lines = [
        {
            "text": text,
            "language": "Own",
            "origin": f"https://own.example/me{n % 4}/r{n % 8}",
            "path": f"{n}.py",
        }
        for n, text in enumerate(texts)
    ]
    file = folder / "own.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in [*lines[:7], {}, *lines[7:]]))
    config = TrainConfig.model_validate(
        {
            "sources": [
                {"name": "public", "release": str(release), "weight": 1.0},
                {"name": "own", "jsonl": str(file), "weight": 3.0},
            ],
            "output": str(folder / "run"),
            "tokenizer": {"vocab_size": 400},
            "data": {"sequence_length": 320},
            "steps": 30,
            "micro_batch_size": 2,
            "global_batch_tokens": 8 * 320,
            "evaluation": {"fraction": 0.2, "near": None},
            "device": "cpu",
        }
    )
    prepared = prepare(config, print)
    return config, prepared, write_checkpoint(config, prepared, 12), texts


def test_files_of_json_lines_are_asked_like_releases(mixed):
    """Breach: rows that no release has cannot be asked for, or are told wrongly."""
    config, prepared, folder, texts = mixed
    runs, data = _opened(folder)
    counter, first = SeenCounter(prepared), int(prepared.corpus.first_row[1])
    for number, text in enumerate(texts):
        line = number + (number >= 7)
        answer = trace.ask(runs, data, trace.Question("id", hashlib.sha256(text.encode()).hexdigest()))
        (row,) = answer["runs"][0]["rows"]
        assert (row["source"], row["row"], row["path"]) == ("own", line, f"{number}.py")
        assert (row["status"] == "seen") == (counter.first_step[first + line] < 12)
    answer = trace.ask(runs, data, trace.Question("owner", "own.example/me1"))
    assert sum(answer["counts"].values()) == 10
    places.add_places(folder, runs, data, answer, print)
    assert all(row["places"] for row in answer["runs"][0]["rows"] if row["status"] == "seen")
    listed = [{"origin": "https://own.example/me1/r5", "reason": "asked"}]
    found = withdrawn.removed(runs, data, listed)
    assert {row["origin"] for row in found["rows"]} == {listed[0]["origin"]}
    value = json.loads((folder / "lineage.json").read_text())
    lineage_format.parse(value, "here")
    assert str(config.output) not in json.dumps({**value, "config": None})


def test_shares_of_weighted_sources_are_told(mixed):
    """Wanted three to one; achieved in whole documents."""
    value = json.loads((mixed[2] / "lineage.json").read_text())
    assert value["mix"]["wanted"]["sources"] == {"public": 0.25, "own": 0.75}
    tokens = SeenCounter(mixed[1]).tokens_by_group(12).sum(axis=1)
    achieved = value["mix"]["achieved"]["sources"]
    assert achieved == {"public": tokens[0] / tokens.sum(), "own": tokens[1] / tokens.sum()}
    groups = value["seen"]["epochs"][0]["groups"]
    assert {group["source"] for group in groups} == {"public", "own"}
    assert sum(group["stop"] - group["first"] for group in groups) == value["seen"]["epochs"][0]["documents"]


def test_removals_name_trained_rows_only(made, release, tmp_path):
    _, _, folder = made
    runs, data = _opened(folder)
    rows = _all_rows(runs, data)
    seen = [row for row in rows if row["status"] == "seen"]
    other = [row for row in rows if row["status"] != "seen"]
    lines = [
        {
            "content_sha256": seen[0]["content_sha256"],
            "reason": "withdrawn",
            "row_id": seen[0]["row_id"],
            "version": "2.2",
        },
        {"swhid": seen[1]["swhid"]},
        {"content_sha256": seen[2]["content_sha256"], "reason": "asked"},
        *({"row_id": row["row_id"], "reason": "withdrawn"} for row in other),
        {"row_id": "f" * 64, "reason": "withdrawn"},
    ]
    file = tmp_path / "removals.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = withdrawn.removed(runs, data, withdrawn.read_removals(file))
    assert {row["row_id"] for row in found["rows"]} == {row["row_id"] for row in seen[:3]}
    assert found["by_reason"] == {"asked": 1, "unstated": 1, "withdrawn": 1}
    assert sum(found["by_language"].values()) == found["found"] == 3
    origin = seen[0]["origin"]
    file.write_text(
        json.dumps({"origin": origin.replace("https://", "git@").replace("/", ":", 1) + ".git"})
        + "\n"
        + json.dumps({"swhid": seen[1]["swhid"] + ";origin=https://x.example/y"})
    )
    found = withdrawn.removed(runs, data, withdrawn.read_removals(file))
    assert found["found"] == len(
        {seen[1]["row_id"], *(row["row_id"] for row in seen if row["origin"] == origin)}
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not an object"),
        ('{"reason": "x"}', "line 2: names no row"),
        ('{"row_id": 7}', "line 2: row_id is not a text"),
        ("x" * 70_000, "line 2: longer than"),
    ],
    ids=["not json", "no object", "no row", "number", "long"],
)
def test_a_list_that_is_none_is_refused(tmp_path, line, message):
    (tmp_path / "list").write_text('{"row_id": "aa"}\n' + line + "\n")
    with pytest.raises(TrainingConfigError, match=message):
        withdrawn.read_removals(tmp_path / "list")


def test_against_a_newer_release(made, release, make_release, tmp_path):
    """Rows that are gone, and rows with another text, of those trained on."""
    _, _, folder = made
    runs, data = _opened(folder)
    newer = make_release(tmp_path, rows={"Python": 30, "C++": 20, "Shell": 10}, version="2.2")
    found = withdrawn.missing(runs, data, newer)
    kept = {row for batch in Release.open(newer).batches(["row_id"]) for row in batch["row_id"].to_pylist()}
    rows = _all_rows(runs, data)
    wanted = {row["row_id"] for row in rows if row["status"] == "seen"} - kept
    assert {row["row_id"] for row in found["rows"]} == wanted
    assert wanted
    assert found["against"] == {"version": "2.2", "digest": Release.open(newer).digest}
    assert withdrawn.missing(runs, data, release)["found"] == 0
    alien = make_release(tmp_path, rows={"Python": 3}, version="3.0", name="other")
    with pytest.raises(TrainingConfigError, match="which was not trained on"):
        withdrawn.missing(runs, data, alien)


def _call(*arguments):
    return CliRunner().invoke(app, ["lineage", *map(str, arguments)])


def test_the_command(made, release, tmp_path):
    """Exit codes and both forms of output."""
    _, _, folder = made
    output = folder.parents[1]
    told = _call(output)
    assert told.exit_code == 0, told.output
    for part in (
        "stackmill-test 2.1",
        Release.open(release).digest,
        "3 steps",
        "20 steps" if False else "epoch 0",
    ):
        assert part in told.stdout
    facts = json.loads(_call(folder, "--json").stdout)["runs"]
    assert facts[0]["seen"]["steps"] == STEPS
    runs, data = _opened(folder)
    rows = trace.ask(runs, data, trace.Question("owner", "example.org/owner1"))["runs"][0]["rows"]
    seen = next(row for row in rows if row["status"] == "seen")
    yes = _call(folder, "--id", seen["swhid"], "--steps")
    assert (yes.exit_code, "TRAINED ON" in yes.stdout, "step" in yes.stdout) == (0, True, True)
    no = _call(folder, "--origin", "https://example.org/nobody/nothing")
    assert (no.exit_code, "no row of it is in the releases" in no.stdout) == (1, True)
    listed = tmp_path / "removals.jsonl"
    listed.write_text(json.dumps({"row_id": seen["row_id"], "reason": "withdrawn"}) + "\n")
    written = tmp_path / "found.jsonl"
    result = _call(folder, "--removals", listed, "--out", written, "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["row_id"] for line in written.read_text().splitlines()] == [seen["row_id"]]
    listed.write_text("")
    assert _call(folder, "--removals", listed).exit_code == 1


def _code(arguments):
    """Exit code as the entry point gives it."""
    result = _call(*arguments)
    if isinstance(result.exception, StackmillError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def test_what_cannot_be_answered_is_refused(made, release, tmp_path, make_release):
    config, prepared, folder = made
    copied = tmp_path / "copy" / folder.name
    shutil.copytree(folder, copied)
    (copied / "lineage.json").write_text(
        (copied / "lineage.json").read_text().replace('"rank"', '"rang"') + " "
    )
    code, message = _code([copied])
    assert code == 4 and "lineage.json is not what was written" in message
    assert _code([tmp_path])[0] == 4
    assert _code([folder, "--origin", "a", "--id", "b"])[0] == 2
    assert _code([folder, "--steps"])[0] == 2
    other = make_release(tmp_path, rows={"Python": 3}, version="2.5")
    code, message = _code([folder, "--origin", "https://a.example/b", "--release", other])
    assert code == 2 and "was not trained on" in message and Release.open(release).digest in message
    # a release that is not where it was
    moved = tmp_path / "moved" / "2.1"
    shutil.copytree(release, moved)
    gone = TrainConfig.model_validate(
        {**config.model_dump(), "release": str(tmp_path / "gone"), "output": str(tmp_path / "o")}
    )
    elsewhere = write_checkpoint(gone, prepared, STEPS)
    code, message = _code([elsewhere, "--origin", "https://a.example/b"])
    assert code == 2 and Release.open(release).digest in message and "--release" in message
    assert (
        _code([elsewhere, "--origin", "https://example.org/owner1/repository1", "--release", moved])[0] == 0
    )
    # a damaged shard is found before an answer is given
    shard = next(moved.glob("data/Python/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    code, message = _code([elsewhere, "--origin", "https://a.example/b", "--release", moved])
    assert code == 4 and "is not the file that the manifest describes" in message


def test_a_plan_that_cannot_be_made_again_is_said_so(made):
    _, _, folder = made
    runs, data = _opened(folder)
    value = copy.deepcopy(json.loads((folder / "lineage.json").read_text()))
    value["stream_digest"] = "0" * 64
    runs = [trace.Run(0, folder.name, lineage_format.parse(value, "here"))]
    answer = trace.ask(runs, data, trace.Question("owner", "example.org/owner1"))
    with pytest.raises(CheckpointError, match="the stream of tokens made again has the digest"):
        places.add_places(folder, runs, data, answer, print)


def test_rows_inside_repository_documents_are_told_apart(made, tmp_path):
    """Several files in one document, cut over rows: each row is seen by its own tokens only."""
    config, _, base = made
    changed = {
        "output": str(tmp_path / "run"),
        "tokenizer": {"path": str(base)},
        "data": {"sequence_length": 320, "repository": {"rate": 1.0}},
    }
    config = TrainConfig.model_validate({**config.model_dump(), **changed})
    prepared = prepare(config, print)
    folder = write_checkpoint(config, prepared, STEPS)
    cache = prepared.epochs[0].cache
    assert len(cache.member_row) > len(cache.length)
    counter, order = SeenCounter(prepared), prepared.order
    begin = np.cumsum(cache.length) - cache.length
    at = begin[cache.member_document] + cache.member_token
    consumed = np.zeros(len(cache.tokens), dtype=bool)
    plan = order.plans[0]
    for step in range(STEPS):
        for fragment in np.flatnonzero(np.isin(plan.row, order.rows(step)[1])):
            consumed[plan.source[fragment] : plan.source[fragment] + plan.length[fragment]] = True
    first = np.append(True, cache.member_document[1:] != cache.member_document[:-1])
    at[first] = begin[cache.member_document[first]]  # the name of a repository counts to its first file
    ends = np.append(at[1:], len(cache.tokens))
    wanted = {row for row, a, b in zip(cache.member_row, at, ends, strict=True) if consumed[a:b].any()}
    assert set(np.flatnonzero(counter.rows(STEPS)).tolist()) == wanted
    assert 0 < len(wanted) < len(cache.member_row)
    assert counter.tokens(STEPS) == consumed.sum()
    runs, data = _opened(folder)
    answer = trace.ask(runs, data, trace.Question("owner", "example.org/owner2"))
    places.add_places(folder, runs, data, answer, print)
    assert any(len(row.get("places", [])) > 1 for row in answer["runs"][0]["rows"])


def test_a_base_of_which_nothing_is_known_is_said_so(made, tmp_path):
    """Breach: "not trained on" is read as true of the weights, where nobody knows what their base was trained on."""
    config, prepared, _ = made
    base = tmp_path / "base-of-strangers"
    base.mkdir()
    facts = {"kind": "folder", "name": base.name, "digest": "0" * 64}
    prepared = SimpleNamespace(**{**vars(prepared), "base": base, "base_facts": facts})
    config = config.model_copy(update={"output": str(tmp_path / "run")})
    folder = write_checkpoint(config, prepared, STEPS)
    assert "What base-of-strangers, where the first run began" in _call(folder).stdout
    answer = _call(folder, "--origin", "https://example.org/nobody/nothing")
    assert answer.exit_code == 1 and "was trained on is NOT known" in answer.stdout
    assert json.loads(_call(folder, "--json").stdout)["unknown_base"] == base.name


def test_a_row_of_two_sources_counts_once(made, release):
    """Breach: a row that a run read from two releases is counted twice."""
    runs, data = _opened(made[2])
    row = next(row for row in _all_rows(runs, data) if row["status"] == "seen")
    value = json.loads((made[2] / "lineage.json").read_text())
    value["sources"].append({**value["sources"][0], "name": "again"})
    runs = [trace.Run(0, "twice", lineage_format.parse(value, "here"))]
    found = withdrawn.removed(runs, data, [{"row_id": row["row_id"]}])
    assert (found["found"], found["by_generation"], found["rows"][0]["generations"]) == (1, [1], [0])


def test_something_else_where_the_release_was_does_not_hinder(made, release, tmp_path):
    """Breach: --release is not looked at, because a folder of that name is there and holds something else."""
    config, prepared, _ = made
    (tmp_path / "2.1").mkdir()
    changes = {"release": str(tmp_path / "2.1"), "output": str(tmp_path / "run")}
    folder = write_checkpoint(TrainConfig.model_validate({**config.model_dump(), **changes}), prepared, STEPS)
    asked = [folder, "--origin", "https://example.org/owner1/repository1"]
    code, message = _code(asked)
    assert code == 2 and "give its place with --release" in message
    assert _code([*asked, "--release", release])[0] == 0


def test_steps_are_told_without_touching_a_folder_of_somebody_else(made, tmp_path):
    """Breach: a model that was copied beside a folder named cache fills it with tokens."""
    _, _, folder = made
    model, cache = tmp_path / "models/mine", tmp_path / "cache"
    shutil.copytree(folder, model)
    cache.mkdir()
    answer = _call(model, "--owner", "example.org/owner2", "--steps", "--json")
    assert any(row.get("places") for row in json.loads(answer.stdout)["runs"][0]["rows"])
    assert list(cache.iterdir()) == []


def hostile():
    """(name, change of a lineage): what a stranger may send."""

    def at(value, keys, new):
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = new

    part = ("sources", 0, "parts", 0)
    return {
        "huge rows": lambda v: at(v, (*part, "rows"), 10**300),
        "many rows": lambda v: at(v, (*part, "rows"), 2**39),
        "no rows": lambda v: at(v, (*part, "rows"), -1),
        "rows of another kind": lambda v: at(v, (*part, "rows"), True),
        "a range beyond the end": lambda v: at(v, (*part, "seen", "ranges"), [[0, 10**9]]),
        "half a range": lambda v: at(v, (*part, "seen", "ranges"), [[0]]),
        "a path above": lambda v: at(v, (*part, "path"), "../../secret"),
        "another sha": lambda v: at(v, (*part, "sha256"), "0" * 64),
        "no bits": lambda v: at(v, (*part, "seen", "bits"), ""),
        "a file for a release": lambda v: at(v, ("sources", 0, "kind"), "jsonl"),
        "sources of numbers": lambda v: at(v, ("config", "sources"), [1, None]),
        "a text for sources": lambda v: at(v, ("config", "sources"), "abc"),
        "a lone surrogate": lambda v: at(v, ("sources", 0, "name"), "\ud800"),
        "no number": lambda v: at(v, ("mix", "max_repeats"), float("nan")),
        "a parent of another kind": lambda v: at(v, ("parent",), []),
        "endless parents": lambda v: at(v, ("parent",), deep(copy.copy(v))),
        "a name too long for a file": lambda v: at(v, ("config", "release"), "a" * 5000),
        "a name with a zero": lambda v: at(v, ("config", "release"), "a\0b"),
        "other names of sources": lambda v: at(v, ("sources", 0, "name"), "other"),
        "a forged row": lambda v: at(v, (*part, "seen"), v["sources"][0]["parts"][0]["held_out"]),
        "a configuration of nothing": lambda v: at(v, ("config",), {}),
    }


def deep(value):
    for _ in range(120):
        value = {**value, "parent": {"folder": "x", "checkpoint_digest": None, "lineage": value}}
    return value["parent"]


@pytest.mark.parametrize(
    "name", [*hostile(), "cut off", "brackets", "a number of 5,000 digits", "latin", "empty"]
)
def test_a_lineage_of_a_stranger_is_an_answer_or_an_error(made, release, tmp_path, name):
    """Breach: a traceback, or an answer from rows that the release does not have."""
    text = (made[2] / "lineage.json").read_text()
    if name in hostile():
        value = json.loads(text)
        hostile()[name](value)
        data = json.dumps(value).encode()
    else:
        data = {
            "cut off": text[: len(text) // 2].encode(),
            "brackets": b"[" * 200_000,
            "a number of 5,000 digits": text.replace('"seed": 0', '"seed": ' + "9" * 5000).encode(),
            "latin": text.encode().replace(b"Python", b"P\xffthon"),
            "empty": b"",
        }[name]
    temporary = tmp_path / "made.tmp-test"
    shutil.copytree(made[2], temporary)
    (temporary / "lineage.json").write_bytes(data)
    (temporary / checkpoint.SEAL).unlink()
    folder = tmp_path / f"step-{STEPS:08d}"
    checkpoint.seal(temporary, folder)
    codes = []
    for more in ([], ["--owner", "example.org/owner2", "--release", release, "--steps"]):
        result = _call(folder, *more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            assert isinstance(result.exception, StackmillError), repr(result.exception)
            codes.append(result.exception.exit_code)
        else:
            codes.append(result.exit_code)
    fine = name in ("a name too long for a file", "a name with a zero")  # where --release says
    assert codes[1] in ((0,) if fine else (2, 4)), codes
