"""The words of a release's card, and of the sheets beside it, under its configuration.

`card_facts` reads the resolved configuration as it stands in a release's `config.yaml`: so the card of any release can be
made again from what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from manifests.card_facts import CardFacts
from manifests.quality_signals import WORDS as QUALITY_SIGNALS
from manifests.secrets_spared import WORDS as SPARED
from pipeline import config as configuration
from pipeline.config_quality import profile_name


def card_facts(config: Mapping[str, Any], *, opt_out_entries: int | None = None) -> CardFacts:
    """The words for a resolved configuration (`pipeline.config.resolved`). `opt_out_entries`: see CardFacts."""
    publisher = dict(config.get("card", {}))
    publisher["pretty_name"] = publisher.get("pretty_name") or config["name"]
    return CardFacts(
        **publisher,
        source=_source(config["origins"]),
        deduplication=_deduplication(config["near_duplicates"]),
        redaction=_redaction(config["secrets"], config["quality"]["notebooks"]),
        steps=_steps(config),
        opt_out_entries=opt_out_entries,
        signals=_signals(config),
    )


def words_of(config_yaml: bytes) -> CardFacts | None:
    """The words for a release's `config.yaml`; None for one that this version of the software cannot read."""
    try:
        given = yaml.safe_load(config_yaml)
        return card_facts(configuration.resolved(configuration.parse(given)))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _source(origins: Mapping[str, Any]) -> str:
    said = [
        "An archive of source code in the layout of Software Heritage: the graph of repositories and the contents."
    ]
    if origins["forges"] or origins["prefixes"]:
        named = ", ".join(f"`{name}`" for name in (*origins["forges"], *origins["prefixes"]))
        said.append(f"Of it, the repositories of {named} were taken.")
    if origins["limit"] is not None:
        said.append(f"At most {origins['limit']:,} repositories, the first by the hash of their address.")
    if origins["as_of"] is not None:
        said.append(f"Each is taken as it was at its last full visit up to {origins['as_of'][:10]}.")
    return " ".join(said)


def _deduplication(near: Mapping[str, Any]) -> str:
    exact = "Files with the same bytes, or with the same released text, are one row."
    if not near["enabled"]:
        return f"{exact} Near-duplicates were not removed in this release."
    tokens = "5-token shingles, punctuation included" if near["operators"] else "5-token shingles"
    found = (
        f"{exact} Near-duplicates are found by sketches of their {tokens} ({near['bands']} bands of"
        f" {near['rows']} values)"
    )
    limits = "" if near["across_languages"] else " Only files of the same language were compared."
    if near["across_origins_only"]:
        limits += " Files of the same origin were not compared with each other."
    if (shortcut := near["shortcut"]) is not None:
        return (
            f"{found}. **Which of them are removed is not exact in this release:** pairs of which at least {shortcut['accept']}"
            f" of the sketch's values are equal were taken for similar, pairs with less than {shortcut['reject']} for different,"
            f" without a comparison of their texts; only the pairs between were compared (Jaccard similarity of at least"
            f" {near['threshold']}).{limits}"
        )
    return (
        f"{found}, and confirmed by an exact Jaccard similarity of at least {near['threshold']} before a file"
        f" is dropped in favour of another, which is in the release.{limits}"
    )


def _signals(config: Mapping[str, Any]) -> str | None:
    """What the two files of signals have, where the release has them."""
    contained, repeated = config["near_duplicates"]["containment"], config["near_duplicates"]["repeated"]
    said = []
    if config["quality"]["signals"] == "public":
        said.append(QUALITY_SIGNALS)
    if contained is not None or repeated is not None:
        said.append("`signals.parquet` tells more of some rows, by `row_id`; no row was cut for it.")
    if contained is not None:
        said.append(
            f"`contained_in` names a bigger row that holds at least {contained['least']} of a row's 5-token shingles,"
            " and `containment` the share; bigger rows are sought by a sample of the shingles, so some are missed."
        )
    if repeated is not None:
        said.append(
            f"`repeated_share` is the share of a row's lines, in bytes, that lie in blocks of {repeated['lines']} lines which"
            f" {repeated['contents']:,} files of {repeated['origins']:,} repositories or more have in common."
        )
    return " ".join(said) or None


def _benchmarks(contamination: Mapping[str, Any]) -> str:
    """The words on benchmarks, as the end of a sentence; nothing where none was looked for."""
    names = [one["name"] for one in contamination.get("benchmarks", ())]
    if not names:
        return ""
    return (
        f"; files that hold a share of {contamination['threshold']} or more of a text of {', '.join(names)}, in"
        f" {contamination['ngram']}-grams of words"
    )


def _repeated(near: Mapping[str, Any]) -> str:
    repeated = near["repeated"]
    if repeated is None or repeated["drop_above"] is None:
        return ""
    return (
        f"; then files of which more than {repeated['drop_above']} are blocks of {repeated['lines']} lines that"
        f" {repeated['contents']:,} or more hold"
    )


def _redaction(secrets: Mapping[str, Any], notebooks: str) -> str:
    stripped = " Jupyter notebooks have no outputs, execution counts and attached images: these are emptied, all else is kept."
    other = [f"{kind} {level}" for kind, level in secrets["kinds"].items()]
    levels = "".join([f"sensitivity `{secrets['sensitivity']}`", *(f", {one}" for one in other)])
    if secrets["languages"]:
        levels += f"; other levels for files in {', '.join(secrets['languages'])} alone"
    model = " and by a model" if secrets["model"] is not None else ""
    form = "stand-ins of the same form" if secrets["replacement"] == "fake" else "placeholders"
    spares = secrets["allow"] or secrets["obey_pragmas"]
    return (
        f"Secrets and personal data found by the pinned rules ({levels}){model} are replaced by"
        f" {form}; `redactions` lists the kind and the byte offsets of each. A file with more than"
        f" {secrets['max_findings']:,} findings is left out."
        + (f" {SPARED}" if spares else "")
        + (stripped if notebooks == "strip_outputs" else "")
    )


def _steps(config: Mapping[str, Any]) -> dict[str, str]:
    files, licenses, quality = config["files"], config["licenses"], config["quality"]
    near = config["near_duplicates"]
    vendored = ", files in folders of third-party copies" if files["vendored"] == "drop" else ""
    opted = "Repositories and owners that opted out are left out first, from the archive's graph alone"
    detectors = (
        "a table of known texts, ScanCode, SPDX tags and package manifests"
        if licenses["scancode"]
        else "SPDX tags and package manifests (no texts of license files are recognised in this release)"
    )
    profile = {
        "the-stack-v2": "the thresholds of The Stack v2 (line lengths, shares of letters, encoded data)",
        "none": "no thresholds of quality",
    }.get(profile_name(quality["profile"])) or (
        f"the quality rules of the profile {profile_name(quality['profile'])!r}"
    )
    generated = ", machine-written files" if quality["generated"] == "drop" else ""
    chosen = (
        f"languages other than {', '.join(files['languages'])}" if files["languages"] else "unknown languages"
    )
    return {
        "graph": f"{opted}; then what is no file, is over {files['max_bytes']:,} bytes or has an impossible path{vendored}",
        "licenses": f"by the license files nearest to a file; read by {detectors}",
        "contents": f"from the bytes: unreadable and binary files, license statements that veto, {chosen}{generated}, and"
        f" {profile}{_benchmarks(config.get('contamination', {}))}",
        "election": "one place is elected for each content and each released text: not a fork, more stars and forks, earlier",
        "similarity": (
            f"near-duplicates at a Jaccard similarity of {near['threshold']} or more"
            f"{' (most of them estimated, not exact)' if near['shortcut'] else ''}, in favour of a file that is kept"
            if near["enabled"]
            else "near-duplicates were not looked for in this release"
        )
        + _repeated(near),
    }
