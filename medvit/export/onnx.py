"""Networks as ONNX files, and a check that they give the same numbers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medvit.errors import ConfigError, GateRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT = "input"
CPU = "CPUExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
PROVIDER_HINTS = {
    TENSORRT: "TensorRT needs an NVIDIA GPU, TensorRT's libraries and the onnxruntime-gpu package; "
    "use --format onnx without them"
}
MOST_DIFFERENCE = 1e-4
MOST_RELATIVE = 1e-3
TRACED_BATCH = 2
"""A batch of one would be taken for a constant."""

MOST_OPTIMISED = 4000
"""Nodes of a graph. The 13,000 of a 3D Swin take minutes, and runtimes fold as they load."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported network is from its source.

    Attributes:
        samples: Volumes compared.
        batches: Sizes of the batches they came in.
        difference: Absolute difference of the output that is furthest off.
        relative: That difference over the largest absolute value of this output.
    """

    samples: int
    batches: tuple[int, ...]
    difference: float
    relative: float


class _Tupled(nn.Module):
    """A network whose outputs come as a plain tuple, whatever it returns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        out = self.network(x)
        return (out,) if isinstance(out, Tensor) else tuple(out)


def trace(
    network: nn.Module, *, shape: tuple[int, ...]
) -> tuple[torch.export.ExportedProgram, tuple[str, ...]]:
    """Return a network as a program with a fixed input and a free batch, and its outputs' names.

    Args:
        shape: Shape of an input without the batch.
    """
    network.eval()
    sample = torch.rand(TRACED_BATCH, *shape, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        names = _names(network(sample))  # also fills caches that must not hold traced tensors
        program = torch.export.export(_Tupled(network), (sample,), dynamic_shapes=({0: batch},))
    return program, names


def export_onnx(network: nn.Module, path: Path, *, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Write a network as ONNX with a fixed input and a free batch.

    Args:
        network: Takes (n, *shape); returns a tensor, a list or a named tuple of them.
        path: The file to write, with the weights inside.
        shape: Shape of an input without the batch, such as (c, z, y, x).

    Returns:
        Names of the outputs: the fields of a named tuple, or `map0`, `map1` and so on.

    Raises:
        ConfigError: If the `export` extra is not installed.
    """
    needs("onnx", "onnxscript")
    program, names = trace(network, shape=shape)
    # It warns of operators of a package that no network here uses.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with torch.no_grad():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=list(names),
            dynamic_shapes=({0: "batch"},),
            verbose=False,
            optimize=False,
        )
    if exported is None:
        msg = f"torch wrote no ONNX program for {type(network).__name__}"
        raise RuntimeError(msg)
    if len(exported.model.graph) <= MOST_OPTIMISED:
        exported.optimize()
    exported.save(path)
    return names


def check_parity(network: nn.Module, path: Path, batches: Iterable[Tensor]) -> Parity:
    """Hold an exported file to the numbers of its source.

    Args:
        batches: Inputs (n, c, z, y, x); batches of several sizes prove that the batch is free.

    Raises:
        GateRefusedError: If any output differs by more than `MOST_DIFFERENCE` and by more than
            `MOST_RELATIVE` of its range, is not finite, or if there was nothing to compare.
        ConfigError: If the `export` extra is not installed.
    """
    session = open_session(path)
    sizes: list[int] = []
    distances: list[tuple[float, float, str]] = []
    for x in batches:
        with torch.inference_mode():
            expected = _Tupled(network.eval())(x)
        found = run_session(session, x)
        distances += [
            (*distance(wanted, torch.from_numpy(value)), name)
            for wanted, (name, value) in zip(expected, found.items(), strict=True)
        ]
        sizes.append(len(x))
    if not distances:
        msg = f"{path.name}: nothing to compare, and an export that was not compared is refused"
        raise GateRefusedError(msg, hint="give at least one batch of volumes")
    difference, relative, name = max(distances, key=lambda found: excess(*found[:2]))
    if excess(difference, relative) > 1:
        msg = (
            f"{path.name}: output {name} differs by {difference:.2e} from the source "
            f"({relative:.2e} of its range), but at most {MOST_DIFFERENCE:.0e} is let through"
        )
        raise GateRefusedError(msg, hint="do not use the exported file; export it anew")
    return Parity(sum(sizes), tuple(sizes), difference, relative)


def excess(difference: float, relative: float) -> float:
    """Return how many times the tolerance an output is off; the milder bound counts."""
    return min(difference / MOST_DIFFERENCE, relative / MOST_RELATIVE)


def open_session(path: Path, *, threads: int = 0, provider: str = CPU) -> Any:
    """Return an onnxruntime session; `threads` 0 leaves their number to it.

    Raises:
        ConfigError: If onnxruntime is not installed, or was built without the provider.
    """
    require_provider(provider)
    import onnxruntime  # noqa: PLC0415 - belongs to an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=[provider])


def require_provider(provider: str) -> None:
    """Refuse to go on without onnxruntime, or without what it computes on."""
    needs("onnxruntime")
    import onnxruntime  # noqa: PLC0415 - belongs to an extra

    there = onnxruntime.get_available_providers()
    if provider not in there:
        msg = f"onnxruntime has no {provider} here, only {', '.join(there)}"
        raise ConfigError(msg, hint=PROVIDER_HINTS.get(provider, ""))


def run_session(session: Any, x: Tensor) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of an exported network by name."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {session.get_inputs()[0].name: x.numpy()})
    return dict(zip(names, values, strict=True))


def distance(expected: Tensor, found: Tensor) -> tuple[float, float]:
    """Return the largest difference and its share of the range; infinite if not comparable."""
    if expected.shape != found.shape or not torch.isfinite(found).all():
        return float("inf"), float("inf")
    difference = float((expected.float() - found).abs().max())
    return difference, difference / max(float(expected.abs().max()), 1e-12)


def _names(outputs: Any) -> tuple[str, ...]:
    if isinstance(outputs, Tensor):
        return ("logits",)
    fields: tuple[str, ...] | None = getattr(outputs, "_fields", None)
    return fields or tuple(f"map{level}" for level in range(len(outputs)))


def needs(*packages: str) -> None:
    """Refuse to go on without packages of the `export` extra."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"ONNX export needs {' and '.join(missing)}, not installed"
        raise ConfigError(msg, hint='pip install "medvit[export]"')
