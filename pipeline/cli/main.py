"""The command line: `pipeline COMMAND`. stdout is the result, stderr progress and log, the exit code says how it ended.

0 ok    1 unexpected    2 usage or configuration    3 a gate refused    4 integrity    5 source, disk or network
130 interrupted
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from pipeline.cli import (
    archive,
    clean,
    explain,
    export,
    generate,
    keys,
    ledger,
    license,
    lineage,
    merge,
    publish,
    query,
    release,
    review,
    scan,
    stats,
    tokenizer,
    train,
    verify,
    versions,
    views,
)
from pipeline.errors import StackmillError

app = typer.Typer(
    name="pipeline",
    help="From source-code archives to lawful, deduplicated, secret-free, versioned code datasets, and to models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# The order of the chain: input, release, what can be asked of it, training.
for _group in (
    archive,
    release,
    keys,
    verify,
    stats,
    versions,
    explain,
    ledger,
    license,
    review,
    query,
    views,
    publish,
    clean,
    scan,
    tokenizer,
    train,
    generate,
    lineage,
    merge,
    export,
):
    _group.register(app)

_INTERRUPTED = "interrupted; run the same command again to go on where it stopped"


def run() -> NoReturn:
    """Entry point: errors that a user can act on are one message and an exit code, never a stack trace."""
    if sys.getfilesystemencoding() != "utf-8":
        # A POSIX locale with PYTHONUTF8=0: names beyond ASCII would be what Arrow and DuckDB cannot take.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})
    try:
        app(standalone_mode=True)
    except StackmillError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, 130)
    except SystemExit as error:
        if error.code == 130:  # what typer makes of Ctrl-C, without a word
            _fail(_INTERRUPTED, 130)
        raise
    except BrokenPipeError:  # `pipeline ... | head`
        sys.stderr.close()
        sys.exit(0)
    except ValueError as error:
        # The pure packages raise their own small families of ValueError for input that cannot be used.
        if type(error).__module__.split(".")[0] not in ("licensing", "dedup", "pii", "manifests", "training"):
            raise
        _fail(str(error), 2)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    printable = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in message)
    print(f"error: {printable}", file=sys.stderr)  # noqa: T201 (the one place that prints errors)
    sys.exit(code)


if __name__ == "__main__":
    run()
