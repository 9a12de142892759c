"""What the README promises exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from apps.cli.__main__ import cli
from docs.make_benchmarks import PAGE as FIGURES
from docs.make_benchmarks import page as figures

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def lines_of(text: str) -> list[str]:
    """Return the lines of all shell blocks of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


LINES = lines_of(README)
PAGES = sorted((PROJECT / "docs").glob("*.md"))
PAGE_LINES = [line for page in PAGES for line in lines_of(page.read_text(encoding="utf-8"))]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize(
    "line", [line for line in [*LINES, *PAGE_LINES] if line.startswith("medvit ")]
)
def test_commands_of_readme_and_docs_are_understood(line: str) -> None:
    command = typer.main.get_command(cli)
    words = words_of(line)
    while hasattr(command, "commands"):
        name = words[1]
        assert name in command.commands, line
        command, words = command.commands[name], words[1:]
    context = command.make_context(words[0], words[1:])  # raises on an unknown option
    assert context.params


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_targets_of_the_readme_exist(line: str) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert {word for word in words_of(line)[1:] if "=" not in word} <= targets


def test_the_page_of_figures_is_what_the_benchmarks_wrote() -> None:
    assert FIGURES.read_text(encoding="utf-8") == figures(), "run: python docs/make_benchmarks.py"


def test_every_block_is_checked() -> None:
    assert LINES
    assert all(line.startswith(("medvit ", "make ")) for line in LINES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_docs_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_of_the_readme_lead_somewhere(link: str) -> None:
    assert (PROJECT / link).exists()


def test_the_readme_says_what_medvit_is_not() -> None:
    assert "not a medical device" in README


@pytest.mark.parametrize("folder", sorted((PROJECT / "configs").glob("*/*.yaml")), ids=str)
def test_configs_say_what_they_are_in_a_comment(folder: Path) -> None:
    assert folder.read_text(encoding="utf-8").startswith("# ")
