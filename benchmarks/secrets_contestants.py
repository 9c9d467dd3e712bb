"""The scanners that are compared: each takes a text and gives byte spans, called as its users call it.

A peer is imported when it is first asked for; one that is not installed stays in every table, marked so.
Spans are for the labelled sets; `work` is what is timed. Where a peer gives values instead of places
(detect-secrets), every occurrence of the value in the line of the finding counts as its span: to its advantage.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

#: (start, end, kind) in bytes of the text.
Span = tuple[int, int, str]


@dataclass(frozen=True)
class Contestant:
    """One scanner.

    `kinds`: what it looks for, in the words of the labels; `load` gives what the other two take; `work` scans texts
    and gives the number of findings; `spans` gives those of one text, with the name of its file.
    """

    name: str
    distribution: str
    kinds: tuple[str, ...]
    load: Callable[[], Any]
    work: Callable[[Any, Sequence[bytes]], int]
    spans: Callable[[Any, bytes, str], list[Span]]
    note: str = ""

    def version(self) -> str | None:
        """Return the installed version; None if there is none, "" if it is ours."""
        if not self.distribution:
            return ""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


ALL = (
    "key",
    "password",
    "private_key",
    "email",
    "ip_address",
    "credit_card",
    "iban",
    "phone",
    "national_id",
    "name",
)


# ---------------------------------------------------------------------------------------------- ours


def _ours(sensitivity: str) -> Contestant:
    def load() -> Any:
        from pii import Settings, scan_one
        from pii.detect_secrets_gate import gate

        plain = Settings(sensitivity=sensitivity)
        names = Settings(sensitivity=sensitivity, kinds=(("name", sensitivity),))
        scan_one(b"warm = 1", plain)
        if sensitivity == "high":
            gate()
        return plain, names

    def work(settings: Any, texts: Sequence[bytes]) -> int:
        from pii import scan

        count = 0
        for i in range(0, len(texts), 1000):
            findings = scan(pa.array(texts[i : i + 1000], pa.large_binary()), settings[0])
            count += findings.num_rows - findings["spared"].length() + findings["spared"].null_count
        return count

    def spans(settings: Any, body: bytes, _name: str) -> list[Span]:
        from pii import scan_one

        return [(s, e, "iban" if k == "bank_account" else k) for s, e, k, _ in scan_one(body, settings[1])]

    note = "default settings when timed; names, off by default, are on for the labelled sets"
    return Contestant(f"stackmill {sensitivity}", "", ALL, load, work, spans, note)


# ---------------------------------------------------------------------------------------------- detect-secrets

_TYPES = {
    "Private Key": "private_key",
    "Basic Auth Credentials": "password",
    "Secret Keyword": "password",
    "Public IP (ipv4)": "ip_address",
}

#: The file name for texts whose own name must not decide.
NEUTRAL = "content"


def detect_secrets_lines(body: bytes, name: str = NEUTRAL) -> Iterator[tuple[int, str, str]]:
    """(line number from 1, value, type) of what detect-secrets finds, by the entry that it uses for files."""
    from detect_secrets.core import scan

    lines = body.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for secret in scan._process_line_based_plugins(list(enumerate(lines, 1)), name):
        yield secret.line_number, secret.secret_value, secret.type


def line_spans(body: bytes, found: Iterable[tuple[int, str, str]]) -> list[tuple[int, int, str]]:
    """(start, end, type) in bytes of every occurrence of the values in their lines."""
    bounds = [m.span() for m in re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)", body)]
    out = []
    for number, value, type_ in found:
        low, high = bounds[number - 1]
        wanted = value.encode()
        at = body.find(wanted, low, high)
        while at >= 0 and wanted:
            out.append((at, at + len(wanted), type_))
            at = body.find(wanted, at + 1, high)
    return out


def _detect_secrets() -> Contestant:
    def load() -> Any:
        from detect_secrets.settings import default_settings

        return default_settings

    def work(settings: Any, texts: Sequence[bytes]) -> int:
        with settings():
            return sum(1 for body in texts for _ in detect_secrets_lines(body))

    def spans(settings: Any, body: bytes, name: str) -> list[Span]:
        with settings():
            found = line_spans(body, detect_secrets_lines(body, name))
        return [(s, e, _TYPES.get(t, "key")) for s, e, t in found]

    note = "default plugins and filters, line entry; file names are given on the labelled sets"
    return Contestant(
        "detect-secrets", "detect-secrets", ("key", "password", "private_key"), load, work, spans, note
    )


# ---------------------------------------------------------------------------------------------- BigCode-style


# Written from the published description of BigCode's PII step (facts: an e-mail and an IP expression, private
# addresses and name servers left, keys by detect-secrets with a part of its plugins), not from its code. Its
# classifier of gibberish and its filter of files with many hashes are left out.
_BIG_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,}\b")
_BIG_IP4 = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])")
_BIG_IP6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_NAME_SERVERS = {
    *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"),
    *(
        "149.112.112.112",
        "76.76.19.19",
        "94.140.14.14",
        "8.26.56.26",
        "77.88.8.8",
        "64.6.64.6",
        "84.200.69.80",
    ),
}
_BIG_PLUGINS = (
    *(
        "Artifactory",
        "AWSKey",
        "AzureStorageKey",
        "Cloudant",
        "DiscordBotToken",
        "GitHubToken",
        "IbmCloudIam",
    ),
    *("IbmCosHmac", "JwtToken", "Mailchimp", "Npm", "SendGrid", "Slack", "Softlayer", "Stripe", "TwilioKey"),
    "PrivateKey",
)


def _characters_to_bytes(text: str, spans: list[Span]) -> list[Span]:
    if text.isascii():
        return spans
    return [(len(text[:s].encode()), len(text[:e].encode()), k) for s, e, k in spans]


def _big_code() -> Contestant:
    def load() -> Any:
        from detect_secrets.settings import transient_settings

        plugins = [{"name": f"{name}Detector"} for name in _BIG_PLUGINS]
        plugins += [
            {"name": "Base64HighEntropyString", "limit": 4.5},
            {"name": "HexHighEntropyString", "limit": 3.0},
        ]
        kept = ("is_potential_uuid", "is_likely_id_string", "is_templated_secret", "is_sequential_string")
        filters = [{"path": f"detect_secrets.filters.heuristic.{name}"} for name in kept]
        return lambda: transient_settings({"plugins_used": plugins, "filters_used": filters})

    def addresses(text: str) -> list[Span]:
        out = [(*m.span(), "email") for m in _BIG_EMAIL.finditer(text)]
        for expression in (_BIG_IP4, _BIG_IP6):
            for m in expression.finditer(text):
                try:
                    address = ipaddress.ip_address(m[0])
                except ValueError:
                    continue
                if not address.is_private and m[0] not in _NAME_SERVERS:
                    out.append((*m.span(), "ip_address"))
        return out

    def work(settings: Any, texts: Sequence[bytes]) -> int:
        with settings():
            return sum(len(addresses(b.decode())) + sum(1 for _ in detect_secrets_lines(b)) for b in texts)

    def spans(settings: Any, body: bytes, name: str) -> list[Span]:
        text = body.decode()
        with settings():
            keys = line_spans(body, detect_secrets_lines(body, name))
        return [
            *_characters_to_bytes(text, addresses(text)),
            *((s, e, _TYPES.get(t, "key")) for s, e, t in keys),
        ]

    note = "own re-implementation from the published description: it is no package; without its gibberish classifier"
    kinds = ("key", "private_key", "email", "ip_address")
    return Contestant("BigCode-style regexes", "detect-secrets", kinds, load, work, spans, note)


# ---------------------------------------------------------------------------------------------- presidio


def _presidio() -> Contestant:
    kinds = {
        "EMAIL_ADDRESS": "email",
        "IP_ADDRESS": "ip_address",
        "CREDIT_CARD": "credit_card",
        "IBAN_CODE": "iban",
        "PHONE_NUMBER": "phone",
        "US_SSN": "national_id",
    }

    def load() -> Any:
        import presidio_analyzer.predefined_recognizers as p
        import tldextract

        # The list of top-level domains that it ships: no look-up in the network.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
        names = ("Email", "Ip", "CreditCard", "Iban", "Phone", "UsSsn")
        return [getattr(p, f"{name}Recognizer")() for name in names]

    def found(recognizers: Any, text: str) -> list[Span]:
        out = []
        for one in recognizers:
            # Without a model of a language, as pattern recognisers work: no words around a match count.
            for r in one.analyze(text, one.supported_entities, None) or ():
                out.append((r.start, r.end, kinds[r.entity_type]))
        return out

    def work(recognizers: Any, texts: Sequence[bytes]) -> int:
        return sum(len(found(recognizers, body.decode())) for body in texts)

    def spans(recognizers: Any, body: bytes, _name: str) -> list[Span]:
        text = body.decode()
        return _characters_to_bytes(text, found(recognizers, text))

    note = "six pattern recognisers (e-mail, IP, card, IBAN, phone, US SSN), no language model, every score"
    return Contestant(
        "presidio-analyzer", "presidio-analyzer", tuple(kinds.values()), load, work, spans, note
    )


# ---------------------------------------------------------------------------------------------- datatrove


def _datatrove() -> Contestant:
    def load() -> Any:
        from datatrove.pipeline.formatters.pii import PIIFormatter

        return PIIFormatter()

    def work(formatter: Any, texts: Sequence[bytes]) -> int:
        # It substitutes and counts nothing: the number of findings is that of `spans`.
        for body in texts:
            formatter.format(body.decode())
        return -1

    def spans(formatter: Any, body: bytes, _name: str) -> list[Span]:
        text = body.decode()
        out = []
        for replacer, kind in ((formatter.emails_replacer, "email"), (formatter.ip_replacer, "ip_address")):
            for m in replacer.regex.finditer(text):
                if replacer.validator is None or replacer.validator(m[0]):
                    out.append((*m.span(), kind))
        return _characters_to_bytes(text, out)

    return Contestant("datatrove PIIFormatter", "datatrove", ("email", "ip_address"), load, work, spans, "")


CONTESTANTS: tuple[Contestant, ...] = (
    _ours("low"), _ours("medium"), _ours("high"), _detect_secrets(), _big_code(), _presidio(), _datatrove(),
)  # fmt: skip
