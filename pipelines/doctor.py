"""Check an installation: interpreter, packages, device, decoders, models, store."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from medvit.errors import MedvitError
from medvit.workspace import Workspace

OWN_ROOMS = ("medvit", "pipelines", "apps")
OLDEST_PYTHON = (3, 11)
PACKAGES = ("torch", "numpy", "pydicom", "nibabel", "streamlit", "SQLAlchemy")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        found: What is there, for people.
        hint: What to do when it is not ok; may be empty.
    """

    name: str
    ok: bool
    found: str
    hint: str = ""


def run(*, workspace: Workspace) -> tuple[Check, ...]:
    """Return every check; none of them raises, and the workspace is opened for real."""
    steps = (_python, _packages, _device, _decoders, _names, _models, _store)
    return tuple(check for step in steps for check in step(workspace))


def _python(_: Workspace) -> Iterator[Check]:
    found = f"{platform.python_version()} in {sys.prefix}"
    yield Check("python", sys.version_info >= OLDEST_PYTHON, found, "medvit needs Python 3.11")


def _packages(_: Workspace) -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, ok=True, found=version(name))
        except PackageNotFoundError:
            yield Check(name, ok=False, found="not installed", hint="pip install medvit")


def _device(_: Workspace) -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        found = f"cuda: {torch.cuda.get_device_name()}"
    else:
        found = f"cpu, {torch.get_num_threads()} threads"
    yield Check("device", ok=True, found=found)


def _decoders(_: Workspace) -> Iterator[Check]:
    from medvit.io.decoding.process import Decoder
    from medvit.io.dicom.pixels import CODECS, decoder_problem

    for syntax, codec in CODECS.items():
        problem = decoder_problem(syntax)
        found = "not there" if problem else f"by {codec.module}"
        hint = problem.rpartition(": ")[2]
        yield Check(f"decoder {codec.name}", ok=not problem, found=found, hint=hint)
    decoder = Decoder()
    try:
        decoder.start()
        yield Check("decoding process", ok=True, found="starts and answers")
    except MedvitError as error:
        yield Check("decoding process", ok=False, found=error.message, hint=error.hint)
    finally:
        decoder.close()


def _names(_: Workspace) -> Iterator[Check]:
    for name, owners in name_owners(packages_distributions()).items():
        others = sorted(set(owners) - {"medvit"})
        hint = f"uninstall {', '.join(others)}, or keep medvit in an environment of its own"
        yield Check(
            f"package {name}",
            ok=not others,
            found=f"also in {', '.join(others)}" if others else "medvit's own",
            hint=hint if others else "",
        )


def name_owners(installed: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return which distributions own each of medvit's three package names.

    `apps` and `pipelines` are generic: another distribution can overwrite them
    without a word from pip.
    """
    return {name: list(installed.get(name, [])) for name in OWN_ROOMS}


def _models(workspace: Workspace) -> Iterator[Check]:
    from medvit.models.weights import WEIGHTS_FILE, file_sha256
    from medvit.registry.registry import DEFAULT_NAMES, list_models

    try:
        models = list_models(workspace.models)
    except MedvitError as error:
        yield Check("models", ok=False, found=error.message, hint=error.hint)
        return
    for task, name in DEFAULT_NAMES.items():
        if not any(model.name == name for model in models):
            hint = "install medvit from a wheel that holds its weights"
            yield Check(f"default {task} model", ok=False, found=f"no {name}", hint=hint)
    for model in models:
        weights = model.folder / WEIGHTS_FILE
        whole = weights.is_file() and file_sha256(weights) == model.sha256
        hint = "" if whole else "restore the file, or install medvit anew"
        found = "as registered" if whole else "altered or missing"
        yield Check(f"model {model.reference}", whole, found, hint)


def _store(workspace: Workspace) -> Iterator[Check]:
    from medvit.store.store import Store

    try:
        workspace.prepare()
        with Store.open(workspace.store_url):
            yield Check("store", ok=True, found="opens, schema is current")
    except MedvitError as error:
        yield Check("store", ok=False, found=error.message, hint=error.hint)
