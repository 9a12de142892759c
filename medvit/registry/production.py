"""What a name means: promoted, rolled back, and written down who did so and why.

`models/<name>/production` names the version, and below it the seal of the last line of
`history.jsonl` that it follows. The line is written first and the pointer moved after it, each
whole or not at all: a scan that starts meanwhile takes the old version or the new one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from medvit import atomic
from medvit.errors import ModelError, NothingToDoError
from medvit.models.card import WEIGHTS_FILE, file_sha256
from medvit.registry.history import (
    HISTORY_FILE,
    Action,
    Change,
    append_change,
    read_history,
    versions_back,
)
from medvit.registry.locks import locked
from medvit.registry.registry import (
    POINTER,
    SHIPPED,
    ModelVersion,
    check_name,
    find_model,
    pinned_version,
)

MOST_WORDS = 1000
"""Characters of a name or a reason; it is kept for ever."""


def promote(  # noqa: PLR0913 - the last two are for callers with a reason
    models: Path,
    name: str,
    version: str,
    *,
    by: str,
    reason: str,
    instead_of: str | None = None,
    shipped: Path = SHIPPED,
) -> Change:
    """Let a name mean one version from now on; scans that run keep the model they have.

    Args:
        models: The workspace's `models` folder.
        name: Of the model.
        version: Of the workspace, or the shipped one.
        by: Who decides.
        reason: Why; kept for ever.
        instead_of: The version that was in production when this was decided; if it is another
            one by now, nothing is changed.

    Returns:
        The change; the one of before if it is this promotion that a crash had cut short.

    Raises:
        ModelError: If there is no such version, its weights were altered, production is not
            `instead_of` any more, or the registry cannot be written to.
        NothingToDoError: If it is in production already.
    """
    _check_words(by=by, reason=reason)
    target = find_model(f"{name}@{version}", models=models, shipped=shipped)
    check_weights(target)
    with locked(models / name):
        cut_short = _finish(models, name)
        if cut_short is not None and (cut_short.action, cut_short.to_version) == (
            "promote",
            version,
        ):
            return cut_short
        current = _meant(models, name, shipped=shipped)
        if instead_of is not None and current != instead_of:
            msg = (
                f"{name}@{current} is in production since {name}@{version} was weighed "
                f"against {name}@{instead_of}"
            )
            raise ModelError(msg, hint="compare it with what is in production now")
        if pinned_version(models, name) == version:
            msg = f"{name}@{version} is in production already"
            raise NothingToDoError(msg)
        return _move(models, "promote", target, current=current, by=by, reason=reason)


def rollback(models: Path, name: str, *, by: str, reason: str, shipped: Path = SHIPPED) -> Change:
    """Let a name mean what it meant before the last promotion; again goes one further back.

    Raises:
        ModelError: If nothing was promoted, or what was there before is gone or was altered.
    """
    _check_words(by=by, reason=reason)
    check_name(name)
    with locked(models / name):
        _finish(models, name)
        standing = versions_back(read_history(models / name / HISTORY_FILE))
        if len(standing) < 2:
            msg = f"{name}: nothing was in production before {_named(standing)}"
            raise ModelError(msg, hint=f"see `medvit models history {name}`")
        target = find_model(f"{name}@{standing[-2]}", models=models, shipped=shipped)
        check_weights(target)
        return _move(models, "rollback", target, current=standing[-1], by=by, reason=reason)


def history(models: Path, name: str | None = None) -> tuple[Change, ...]:
    """Return every change of what a name meant, or of all names by time, the oldest first.

    Raises:
        ModelError: If a history was altered.
    """
    if name is not None:
        check_name(name)
        return read_history(models / name / HISTORY_FILE)
    files = sorted(models.glob(f"*/{HISTORY_FILE}"))
    return tuple(sorted((c for file in files for c in read_history(file)), key=lambda c: c.at))


def check_weights(version: ModelVersion) -> None:
    """Say so if the weights of a version are not those of its card.

    Raises:
        ModelError: Names the file.
    """
    file = version.folder / WEIGHTS_FILE
    found = file_sha256(file) if file.is_file() else "missing"
    if found != version.sha256:
        msg = f"{file}: sha256 {found[:12]} is not the card's {version.sha256[:12]}"
        raise ModelError(msg, hint="the file was altered; production stays as it is")


def _meant(models: Path, name: str, *, shipped: Path) -> str:
    """Return the version that a name means, also if it is gone."""
    pinned = pinned_version(models, name)
    return pinned or find_model(name, models=models, shipped=shipped).version


def _move(
    models: Path, action: Action, target: ModelVersion, *, current: str, by: str, reason: str
) -> Change:
    """Write the change down, then move the pointer."""
    folder = models / target.name
    change = Change(
        number=0,
        action=action,
        name=target.name,
        from_version=current,
        to_version=target.version,
        weights_sha256=target.sha256,
        by=by,
        reason=reason,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    sealed = append_change(folder / HISTORY_FILE, change)
    _point(folder, sealed)
    return sealed


def _point(folder: Path, change: Change) -> None:
    try:
        atomic.write_text(folder / POINTER, f"{change.to_version}\n{change.sha256}\n")
    except OSError as error:
        msg = f"{folder / POINTER}: the pointer cannot be moved ({error.strerror})"
        hint = "production stays as it is until the next promotion or rollback takes it up"
        raise ModelError(msg, hint=hint) from error


def _finish(models: Path, name: str) -> Change | None:
    """Move the pointer to the last line of the history, if a crash came between the two.

    Returns:
        That line, None where nothing was cut short.

    Raises:
        ModelError: If the pointer follows another line: one of the two files was altered.
    """
    changes = read_history(models / name / HISTORY_FILE)
    fault = pointer_fault(models / name, changes)
    if fault == CUT_SHORT:
        _point(models / name, changes[-1])
        return changes[-1]
    if fault:
        msg = f"{models / name / POINTER}: {fault}"
        raise ModelError(msg, hint="restore it from a backup")
    return None


CUT_SHORT = "a promotion was cut short; the next one takes it up"


def pointer_fault(folder: Path, changes: tuple[Change, ...]) -> str:
    """Return what is wrong with a pointer, given the history beside it; empty if nothing."""
    file = folder / POINTER
    lines = file.read_text(encoding="utf-8").split() if file.is_file() else []
    version, seal = (*lines, "", "")[:2]
    if not changes:
        return "the history it follows is gone" if seal else ""
    if (version, seal) == (changes[-1].to_version, changes[-1].sha256):
        return ""
    before = changes[-2] if len(changes) > 1 else None
    expected = (before.to_version, before.sha256) if before else (version, "")
    if (version, seal) == expected:
        return CUT_SHORT
    return f"it names {version or 'nothing'}, the history {changes[-1].to_version}"


def _check_words(**words: str) -> None:
    for name, text in words.items():
        if name == "by" and not text.strip():
            msg = "who changes production must be named, got an empty name"
            raise ModelError(msg, hint="name them with --by")
        if len(text) > MOST_WORDS:
            msg = f"{name} must be at most {MOST_WORDS} characters, got {len(text)}"
            raise ModelError(msg)


def _named(standing: tuple[str, ...]) -> str:
    return standing[-1] if standing else "the version that is there now"
