"""What detect-secrets finds, in our terms: byte spans and kinds, and what explains a finding away.

Nothing that it finds is lost silently: each of its findings is a finding here, or spared with its explanation.
"""

from __future__ import annotations

import re

from pii.boundaries import closes_here, line_before, opens_here
from pii.detect_secrets_gate import LineFinding, gate
from pii.explained import explanation
from pii.matcher import Finding
from pii.negatives import is_placeholder, is_stock_password, is_template
from pii.pem import block_end
from pii.replacements import is_stand_in
from pii.secret_names import name_before
from pii.verify_generic import assignment_explanation

#: (start, end, kind, rule, why): a finding that is left as it is.
Spared = tuple[int, int, str, str, str]


# AWS: Amazon Resource Names; what stands in one names a resource.
_ARN = re.compile(rb"\barn:[a-z-]{2,16}:[a-z0-9-]{2,32}:[a-z0-9-]{0,20}:\Z")


def gate_findings(body: bytes, use_hyperscan: bool | None = None) -> tuple[list[Finding], list[Spared]]:
    """Findings of detect-secrets in a text (UTF-8, any bytes), and those that are explained; byte offsets."""
    found: list[Finding] = []
    spared: list[Spared] = []
    text = body.decode("utf-8", "surrogateescape")
    lines = gate(use_hyperscan).findings(text)
    offset = _byte_offsets(text, lines) if lines else {}
    for x in lines:
        judged = _judged(body, x, offset[x.start], offset[x.end])
        if len(judged) == 5:
            spared.append(judged)
        else:
            found.append(judged)
    return found, spared


def _byte_offsets(text: str, lines: list[LineFinding]) -> dict[int, int]:
    """Byte offset of every character offset that `lines` name, in one pass."""
    wanted = sorted({p for x in lines for p in (x.start, x.end)})
    if text.isascii():
        return {p: p for p in wanted}
    out: dict[int, int] = {}
    at = size = 0
    for p in wanted:
        size += len(text[at:p].encode("utf-8", "surrogateescape"))
        out[p] = size
        at = p
    return out


def _judged(body: bytes, found: LineFinding, start: int, end: int) -> Finding | Spared:
    """A finding of detect-secrets in our terms: one of five parts is spared, with the name of its explanation."""
    rule = "detect-secrets/" + "-".join(found.type.lower().replace("(", "").replace(")", "").split())
    kind = "key"
    why: str | None = None
    value = body[start:end]
    if is_stand_in(value):
        return start, end, kind, rule, "placeholder"
    if found.type == "Private Key":
        # The plugin marks the header, also in code that looks for one; a key has material behind it.
        stop = block_end(body, end)
        if stop is None:
            return start, end, "private_key", rule, "no-key-material"
        return start, stop, "private_key", rule
    if found.type == "Hex High Entropy String":
        why = explanation(body, start, end, hexadecimal=True)
    elif found.type == "Base64 High Entropy String":
        why = "code" if b"\\" in value else explanation(body, start, end, hexadecimal=False)
    elif found.type == "Basic Auth Credentials":
        kind = "password"
        why = _first(
            template=is_template(value),
            placeholder=is_placeholder(value),
            stock_password=is_stock_password(value),
        )
    elif found.type == "Secret Keyword":
        name = name_before(line_before(body, start, 200))
        matched = "key" if "key" in found.matched_name and "pass" not in found.matched_name else "password"
        kind = name.kind or matched
        why = assignment_explanation(body, start, end, name)
    else:
        why = _first(
            placeholder=is_placeholder(value),
            inside_run=found.type == "AWS Access Key"
            and not (opens_here(body, start) and closes_here(body, end)),
            identifier=bool(_ARN.search(line_before(body, start, 80))),
        )
    return (start, end, kind, rule) if why is None else (start, end, kind, rule, why)


def _first(**explanations: bool) -> str | None:
    """The name of the first explanation that is true."""
    return next((name.replace("_", "-") for name, holds in explanations.items() if holds), None)
