"""Secrets and personal data planted in real files: the labelled set on which recall is measured.

    python benchmarks/secrets_planted.py [--seed N] [--snippets N] [--folder DIR] [--digest]

Written from issuers' public documentation before the rules were tuned, and frozen by digest together with what it
imports: secrets_draw.py, secrets_tokens.py, secrets_blocks.py, secrets_forms.py, secrets_people.py and
secrets_national.py (tests/benchmarks/test_secrets_sets.py holds the digests and that none of them imports `pii`).
Values are assembled when it runs; none is in the tree.

`snippets` are made from the seed alone, so their digest does not depend on the machine; `planted` places them into
files of a folder (the installed Python packages by default) or makes them files of their own. A label gives byte
offsets of the secret itself: of a URL with a password the password, of a key block all of it from BEGIN to END.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from secrets_blocks import key_block
from secrets_draw import Document, Draw, Snippet, as_file, digest, hosts, place
from secrets_forms import (
    assigned_password,
    assigned_secret,
    bare_entropy,
    cloud_string,
    config_file,
    cookie,
    framework_key,
    token,
    url_password,
)
from secrets_national import national_id
from secrets_people import address, card, email, iban, name_tag, phone
from secrets_tokens import TOKENS

SEED = 7
SNIPPETS = 6_000

# Of a hundred snippets: how many of which sort. Tokens go through all types in turn.
_SHARES: tuple[tuple[int, Callable[[Draw], Snippet]], ...] = (
    (7, assigned_password), (5, assigned_secret), (2, framework_key), (2, bare_entropy), (8, key_block), (6, url_password),
    (3, cloud_string), (3, cookie), (8, email), (6, address), (4, card), (3, iban), (5, phone), (4, national_id), (3, name_tag),
)  # fmt: skip


def snippets(seed: int = SEED, count: int = SNIPPETS) -> list[tuple[str, Snippet]]:
    """Make the marked texts: pairs of a file name, empty if it is no file of its own, and a snippet."""
    out: list[tuple[str, Snippet]] = []
    wheel = [make for share, make in _SHARES for _ in range(share)]
    for i in range(count):
        draw = Draw("planted", seed, i)
        turn = i % 100
        if turn < len(wheel):
            out.append(("", wheel[turn](draw)))
        elif turn < len(wheel) + 6:
            out.append(config_file(draw))
        else:
            out.append(("", token(draw, TOKENS[(i // 100 * (100 - len(wheel) - 6) + turn) % len(TOKENS)])))
    return out


def planted(folder: Path | None = None, seed: int = SEED, count: int = SNIPPETS) -> list[Document]:
    """Place the snippets into files below `folder` (default: the installed packages), one to four in each."""
    draw = Draw("placing", seed)
    made = draw.shuffled(snippets(seed, count))
    stock = hosts(folder or Path(sysconfig.get_path("purelib")), count // 2)
    if not stock:
        raise ValueError("no text files to plant in")
    out: list[Document] = []
    waiting: list[Snippet] = []
    for i, (name, snippet) in enumerate(made):
        if name and draw.chance(0.6):
            out.append(as_file(f"{i:05d}/{name}", snippet))
        else:
            waiting.append(snippet)
    while waiting:
        name, body = stock[len(out) % len(stock)]
        now = draw.between(1, 4)
        out.append(place(draw, name, body, waiting[:now]))
        waiting = waiting[now:]
    return out


def snippets_digest(seed: int = SEED, count: int = SNIPPETS) -> str:
    """Digest of the snippets as files: what the freeze holds on every machine."""
    return digest(as_file(name, snippet) for name, snippet in snippets(seed, count))


def main() -> None:
    """Say what the set holds; no value is printed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--snippets", type=int, default=SNIPPETS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--digest", action="store_true", help="of the snippets alone, the same on every machine"
    )
    args = parser.parse_args()
    if args.digest:
        print(snippets_digest(args.seed, args.snippets))
        return
    documents = planted(args.folder, args.seed, args.snippets)
    labels = [label for document in documents for label in document.labels]
    print(
        json.dumps(
            {
                "documents": len(documents),
                "megabytes": round(sum(len(d.body) for d in documents) / 1e6, 2),
                "labels": len(labels),
                "types": len({(x.kind, x.type) for x in labels}),
                "by_kind": dict(sorted(Counter(x.kind for x in labels).items())),
            }
        )
    )


if __name__ == "__main__":
    main()
