"""Verifiers of personal data by name, for the registry: addresses, cards, bank accounts, phones, national ids, names."""

from __future__ import annotations

from collections.abc import Callable

from pii.banks import iban, us_account_number, us_routing_number
from pii.cards import credit_card
from pii.email_addresses import email_encoded_span, email_span, email_spelled_span
from pii.ip_addresses import ipv4_span, ipv6_reversed_span, ipv6_span
from pii.names import NAMES
from pii.national_ids import NATIONAL_IDS, machine_readable_zone
from pii.phones import phone_international_span, phone_span

Span = tuple[int, int]

PERSONAL: dict[str, Callable[[bytes, int, int], Span | None]] = {
    "credit_card": credit_card,
    "email": email_span,
    "email_encoded": email_encoded_span,
    "email_spelled": email_spelled_span,
    "ipv4": ipv4_span,
    "ipv6": ipv6_span,
    "ipv6_reversed": ipv6_reversed_span,
    "phone": phone_span,
    "phone_international": phone_international_span,
    "iban": iban,
    "us_routing_number": us_routing_number,
    "us_account_number": us_account_number,
    "machine_readable_zone": machine_readable_zone,
    **NATIONAL_IDS,
    **NAMES,
}
