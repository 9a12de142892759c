"""The `medvit` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

import medvit
from apps.cli import app as review
from apps.cli import (
    convert,
    demo,
    doctor,
    evaluate,
    explain,
    export,
    identity,
    inspect,
    labels,
    models,
    phantom,
    plan,
    retrain,
    scan,
    split,
    tracking,
    training,
)
from apps.cli.command import report
from apps.cli.exit_codes import ExitCode

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Threads that wait must not spin: beside one busy process, 40 images on two cores took
# 90 s with spinning and 9 s without. Read when torch is imported, which comes later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

cli = typer.Typer(
    name="medvit",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example: medvit demo",
)
for group in (
    scan,
    inspect,
    convert,
    identity,
    demo,
    review,
    phantom,
    labels,
    split,
    plan,
    training,
    evaluate,
    explain,
    export,
    models,
    retrain,
    tracking,
    doctor,
):
    group.register(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = cli(list(arguments), prog_name="medvit", standalone_mode=False)
    except TyperException as error:
        hint = "see `medvit --help`"
        report("usage", error.format_message(), hint, as_json="--json" in arguments)
        return ExitCode.UNUSABLE
    return int(code or 0)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"medvit {medvit.__version__}")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find lung nodules in CT scans and defects in surface images.

    Research software, not a medical device.
    """


if __name__ == "__main__":
    main()
