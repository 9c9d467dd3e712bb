"""The error tree of the pipeline, and the exit code of each branch.

    StackmillError                 exit 1   never raised itself
    ├── ConfigError   (ValueError) exit 2   usage or configuration: key, type, file, version
    ├── GateError                  exit 3   a gate refused: conservation, license, opt-out
    ├── IntegrityError             exit 4   stored bytes are not what they claim to be
    └── SourceError                exit 5   archive, object store, disk or network
        ├── DeniedError            exit 5   the store refuses this request: credentials, policy
        └── TransientError         exit 5   worth retrying: timed out, reset, truncated
            └── ThrottledError     exit 5   the store asks for fewer requests: 503 SlowDown, 429

A message says what, where (file, line, key, object id) and what to do next. The pure packages raise their own
small subclasses of ValueError; the command line translates them to exit code 2.
"""

from __future__ import annotations


class StackmillError(Exception):
    """Base of every error that is shown to a user as one message without a stack trace."""

    exit_code = 1


class ConfigError(StackmillError, ValueError):
    """The user's configuration, arguments or files cannot be used as given."""

    exit_code = 2


class GateError(StackmillError):
    """A release gate refused: counts do not add up, or something unlawful would be published."""

    exit_code = 3


class IntegrityError(StackmillError):
    """Stored bytes do not match their recorded size, hash or schema."""

    exit_code = 4


class SourceError(StackmillError):
    """An archive, object store, disk or network could not deliver or take what was asked."""

    exit_code = 5


class DeniedError(SourceError):
    """A store refuses a request: wrong or expired credentials, or a policy on the bucket or the object."""


class TransientError(SourceError):
    """A source failed in a way that a later try may not: time-out, reset connection, truncated body."""


class ThrottledError(TransientError):
    """A store asks for fewer requests. Whoever gets it should have the whole process ask less often."""
