"""The registry of verifiers: what a linear-time expression cannot say about a match.

A verifier gets the text and the matched span, reads a bounded number of bytes around it, and returns the span
of the finding (perhaps moved) or None.  It never keeps, logs or raises with the value.
"""

from __future__ import annotations

from collections.abc import Callable

from pii import verify_generic as generic
from pii.pem import encoded_key, encoded_pem, openvpn_block, pem_block, putty_block
from pii.verify_connections import connection_password, random_password
from pii.verify_generic import random_value, url_password
from pii.verify_personal import PERSONAL
from pii.verify_services import (
    basic_credentials,
    bearer_value,
    bot_token,
    django_key,
    extended_key,
    file_password,
    hash_value,
    intercom_token,
    json_web_encryption,
    json_web_token,
    kubernetes_secret,
    lone_token,
    lone_uuid,
    long_token,
    matrix_token,
    named_value,
    neptune_token,
    npmrc_value,
    plain_password,
    private_member,
    pubnub_key,
    query_signature,
    secret_map_token,
    telegram_token,
    twitter_bearer,
    wordpress_value,
    workos_key,
)
from pii.verify_tokens import (
    aws_key_id,
    azure_account_key,
    azure_key,
    blob,
    crc32_token,
    entra_secret,
    keyed_uuid,
    random_token,
    sas_signature,
    token,
)

Span = tuple[int, int]
Verifier = Callable[[bytes, int, int], Span | None]


VERIFIERS: dict[str, Verifier] = {
    **PERSONAL,
    "token": token,
    "random_token": random_token,
    "blob": blob,
    "crc32_token": crc32_token,
    "aws_key_id": aws_key_id,
    "azure_account_key": azure_account_key,
    "azure_key": azure_key,
    "entra_secret": entra_secret,
    "sas_signature": sas_signature,
    "keyed_uuid": keyed_uuid,
    "connection_password": connection_password,
    "random_password": random_password,
    "json_web_token": json_web_token,
    "url_password": url_password,
    "random_value": random_value,
    "pem_block": pem_block,
    "putty_block": putty_block,
    "openvpn_block": openvpn_block,
    "encoded_pem": encoded_pem,
    "encoded_key": encoded_key,
    "basic_credentials": basic_credentials,
    "bearer_value": bearer_value,
    "bot_token": bot_token,
    "django_key": django_key,
    "extended_key": extended_key,
    "file_password": file_password,
    "hash_value": hash_value,
    "intercom_token": intercom_token,
    "json_web_encryption": json_web_encryption,
    "kubernetes_secret": kubernetes_secret,
    "lone_token": lone_token,
    "lone_uuid": lone_uuid,
    "long_token": long_token,
    "matrix_token": matrix_token,
    "named_value": named_value,
    "neptune_token": neptune_token,
    "npmrc_value": npmrc_value,
    "private_member": private_member,
    "pubnub_key": pubnub_key,
    "query_signature": query_signature,
    "secret_map_token": secret_map_token,
    "telegram_token": telegram_token,
    "twitter_bearer": twitter_bearer,
    "plain_password": plain_password,
    "unquoted_password": generic.unquoted_password,
    "wordpress_value": wordpress_value,
    "workos_key": workos_key,
    "quoted_password": generic.quoted_password,
    "quoted_word_password": generic.quoted_word_password,
    "quoted_key": generic.quoted_key,
    "unquoted_key": generic.unquoted_key,
    "element_password": generic.element_password,
    "element_key": generic.element_key,
    "named_password": generic.named_password,
    "named_key": generic.named_key,
}
