"""Configs: YAML files, checked by pydantic, overridden by `key=value`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medvit.errors import ConfigError
from medvit.resources import configs_folder


class Settings(BaseModel):
    """What every settings model is: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


OF_DATA = {
    "data.root": ("data.manifest", "data.annotations"),
    "data.manifest": ("data.annotations",),
}
"""Keys that hold for certain data only, and the keys that name those."""

Model = TypeVar("Model", bound=BaseModel)


def load_config(model_cls: type[Model], path: Path | str, overrides: Sequence[str] = ()) -> Model:
    """Read a config file, apply overrides, and check the result.

    What the file says of its own data does not outlive them: with other ones, a key of `OF_DATA`
    that is not given anew takes its default.

    Args:
        path: A file, or the name of a shipped config such as `train/nodule_phantom`.
        overrides: `key=value`, dots between nested keys; values are read as YAML.

    Raises:
        ConfigError: If the file is missing or unreadable, a key is unknown or given
            twice, or a value breaks its bounds; the message names key and value.
    """
    found = find_config(path)
    values = parse_yaml(_read(found), name=found.name)
    for override in overrides:
        apply_override(values, override)
    _leave_out(values, given={override.partition("=")[0].strip() for override in overrides})
    return check_config(model_cls, values, name=found.name)


def _leave_out(values: dict[str, Any], *, given: set[str]) -> None:
    """Drop the keys of data that were replaced, but for those that were given with the new ones."""
    for key, data in OF_DATA.items():
        section, _, name = key.partition(".")
        if given.intersection(data) and key not in given and isinstance(values[section], dict):
            values[section].pop(name, None)


def find_config(path: Path | str) -> Path:
    """Return the file that a path or the name of a shipped config stands for."""
    given = Path(path)
    shipped = configs_folder()
    for candidate in (given, shipped / given, shipped / f"{given}.yaml"):
        if candidate.is_file():
            return candidate
    known = sorted(
        str(file.relative_to(shipped).with_suffix("")) for file in shipped.rglob("*.yaml")
    )
    msg = f"config {given} does not exist"
    near = get_close_matches(str(given.with_suffix("")), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(msg, hint=f"{hint}shipped configs: {', '.join(known) or 'none'}")


def write_config(path: Path, config: BaseModel) -> None:
    """Write the resolved form of a config; it can be fed back as a config."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def parse_yaml(text: str, *, name: str) -> dict[str, Any]:
    """Read YAML text that holds one mapping.

    Examples:
        >>> parse_yaml("train: {lr: 1e-4}", name="a.yaml")
        {'train': {'lr': '1e-4'}}
    """
    try:
        values = _load(text)
    except yaml.YAMLError as error:
        msg = f"{name}: not valid YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg, hint="correct the line that is named") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        msg = f"{name}: a config is a mapping of names to values, got {type(values).__name__}"
        raise ConfigError(msg, hint="write `key: value` lines")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `key=value` in nested values.

    Examples:
        >>> values = {"train": {"lr": 0.1}}
        >>> apply_override(values, "train.epochs=3")
        >>> values
        {'train': {'lr': 0.1, 'epochs': 3}}
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        msg = f"override {override!r} is not of the form key=value"
        raise ConfigError(msg, hint="for example train.lr=1e-4")
    try:
        value = _load(text)
    except yaml.YAMLError as error:
        msg = f"override {override!r}: the value is not valid YAML"
        raise ConfigError(msg, hint=f"quote it: {key}='\"...\"'") from error
    for depth, part in enumerate(parts[:-1], start=1):
        group: Any = values.get(part)
        if group is None:
            group = values[part] = {}
        if not isinstance(group, dict):
            prefix = ".".join(parts[:depth])
            msg = f"override {override!r}: {prefix}={group!r} is a value, not a group of keys"
            raise ConfigError(msg, hint=f"set {prefix} itself")
        values = group
    values[parts[-1]] = value


def check_config(model_cls: type[Model], values: dict[str, Any], *, name: str) -> Model:
    """Validate values against a settings model."""
    try:
        return model_cls.model_validate(values)
    except ValidationError as error:
        problems = [_describe(model_cls, dict(problem)) for problem in error.errors()]
        msg = f"{name}: " + "; ".join(sentence for sentence, _ in problems)
        hints = [hint for _, hint in problems if hint]
        raise ConfigError(msg, hint=" ".join(dict.fromkeys(hints))) from error


def hint(unknown: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known key, or all of them.

    Examples:
        >>> hint("warmup_epoch", ["base_lr", "warmup_epochs"])
        "did you mean 'warmup_epochs'?"
    """
    names = list(known)
    near = get_close_matches(unknown, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}."


class _UniqueKeyLoader(yaml.SafeLoader):
    """Loads plain data only, and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                problem = f"key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key, (str, int, float)):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_UniqueKeyLoader)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"config {path} cannot be read: {error}"
        raise ConfigError(msg, hint="a config is a text file in UTF-8") from error


def _describe(model_cls: type[BaseModel], problem: dict[str, Any]) -> tuple[str, str]:
    """Return a sentence and a hint for one problem that pydantic found."""
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place) or "the config"
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(model_cls, problem["loc"][:-1])
        return f"unknown key {key!r}", hint(place[-1], fields)
    if problem["type"] == "missing":
        return f"key {key!r} is missing", f"add it, or give {key}=... on the command line."
    rule = problem["msg"].removeprefix("Value error, ")
    return f"{key}={problem['input']!r}: {rule}", f"correct {key}."


def _fields_at(model_cls: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the names known at a place of a settings model, [] if it holds no model."""
    current: type[BaseModel] | None = model_cls
    for part in place:
        if current is None:
            return []
        field = current.model_fields.get(str(part))
        current = _model_in(field.annotation) if field else current
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first settings model that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _model_in(part)
        if found:
            return found
    return None
