"""Software Heritage's principles for language models, held against a release: what it meets, by which file or figure.

The principles are those of its statement of 19 October 2023 (`SOURCE`), told here in our words.
"""

from __future__ import annotations

from manifests import names
from manifests.card_facts import CardFacts
from manifests.manifest import Manifest
from manifests.markdown import bullets
from manifests.schema import DATA

SOURCE = "https://www.softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code/"


def identified_rows(manifest: Manifest) -> int:
    """Return how many rows carry a SWHID: all, since no row of the schema can be without."""
    return 0 if DATA.field("swhid").nullable else sum(shard.rows for shard in manifest.shards)


def principles(manifest: Manifest, text: CardFacts) -> str:
    """Return the section: each principle, how this release meets it, what proves it, what is left to the trainer."""
    rows, known = manifest.totals.kept, identified_rows(manifest)
    share = f"{100 * known / rows:.0f} %" if rows else "-"
    left_out = manifest.totals.dropped.get("opted_out", 0)
    return "\n\n".join(
        [
            "## Software Heritage's principles for language models",
            f"Software Heritage has [stated]({SOURCE}) under which principles models may be trained on its archive. They bind"
            " whoever trains; here they are in our words, with what this release does for each and what it cannot do.",
            "### 1. What is learned from the archive is given back",
            "Models trained on it are to be available under an open license, with the documentation and tools that their use"
            " takes.",
            bullets(
                [
                    "**This release:** every step from the archive to the rows is open: `config.yaml` is the whole"
                    f" configuration (digest `{manifest.digests.configuration}`), `manifest.json` names the code"
                    f" (`{manifest.digests.code}`) and the versions of all detectors, and the software is Apache-2.0.",
                    "**Left to the trainer:** all of the rest. A data set cannot make a model open. To publish model, code and"
                    " documentation under an open license is the duty of who trains.",
                ]
            ),
            "### 2. The training data is identified, fully and exactly",
            "For example by publishing the SWHIDs of what was taken from the archive.",
            bullets(
                [
                    f"**This release:** met. {known:,} of {rows:,} rows ({share}) carry the SWHID of their original; the"
                    " column `swhid` cannot be null, and `pipeline verify` holds it against the row's own git hash. Each row"
                    " also names origin, revision and path.",
                    f"**Proof:** `{names.IDS_FILE}` lists every row; its Merkle root `{manifest.merkle_root}` stands in"
                    " `manifest.json`, so that the presence of a file can be proven, and its absence.",
                    "**Left to the trainer:** to name this release by its digest (the SHA-256 of `manifest.json`), and the"
                    " rows, mix and number of passes that were used of it.",
                ]
            ),
            "### 3. Authors can have their code left out before training begins",
            bullets(
                [
                    f"**This release:** {_opt_out(text, left_out)}",
                    f"**Proof:** `manifest.json`, `opt_out_head` `{manifest.opt_out_head}` pins the state of the registry;"
                    " `totals.dropped.opted_out` is the count. Rows of earlier releases that were withdrawn"
                    " are named in `removals.jsonl`, from the second release on.",
                    "**Left to the trainer:** to train on the newest release, or to apply its removals before training begins."
                    " What a model has learned already, no registry takes back.",
                ]
            ),
        ]
    )


def _opt_out(text: CardFacts, left_out: int) -> str:
    rule = "opt-outs are applied to the input before anything else is decided"
    if text.opt_out_entries == 0:
        return (
            f"{rule}, but the registry of this release is empty: the mechanism is there, and nobody has used it. Whoever"
            " publishes this release has to say how authors reach it."
        )
    entries = f", {text.opt_out_entries:,} entries" if text.opt_out_entries is not None else ""
    return f"met. By the registry{entries}, {rule}; {left_out:,} occurrences were left out."
