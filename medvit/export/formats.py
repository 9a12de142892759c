"""The formats a network is written in, and what runs each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medvit.export.onnx import (
    CPU,
    INPUT,
    TENSORRT,
    export_onnx,
    needs,
    open_session,
    require_provider,
    run_session,
    trace,
)
from medvit.export.sidecar import Format, Sidecar

Run = Callable[[Tensor], tuple[Tensor, ...]]
"""Turns inputs (n, ...) into outputs."""

FILES: dict[Format, str] = {
    "onnx": "model.onnx",
    "onnx-int8": "model.int8.onnx",
    "tensorrt": "model.onnx",
    "torch": "model.pt2",
}
QUANTISED = ("MatMul", "Gemm", "Conv")
"""The rest (norms, softmax, GELU) stays in fp32: quantised as well, errors reach the spread of the
outputs."""


def require(wanted: Format) -> None:
    """Refuse a format that this machine cannot write or run, before any work is done.

    Raises:
        ConfigError: With what is missing.
    """
    if wanted == "torch":
        return
    needs("onnx", "onnxscript", "onnxruntime")
    require_provider(TENSORRT if wanted == "tensorrt" else CPU)


def write_network(
    network: nn.Module,
    folder: Path,
    *,
    wanted: Format,
    shape: tuple[int, ...],
    calibration: Sequence[Tensor] = (),
) -> tuple[str, ...]:
    """Write a network into a folder and return the names of its outputs.

    Args:
        shape: Shape of an input without the batch.
        calibration: Inputs (1, *shape) from which `onnx-int8` takes the ranges of its
            activations; none of them may be a case it is judged on.

    Raises:
        ValueError: If `onnx-int8` has nothing to calibrate with.
    """
    path = folder / FILES[wanted]
    if wanted == "torch":
        program, names = trace(network, shape=shape)
        torch.export.save(program, path)
        return names
    if wanted != "onnx-int8":
        return export_onnx(network, path, shape=shape)
    if not calibration:
        msg = "INT8 needs inputs to calibrate with, got none"
        raise ValueError(msg)
    wide = folder / "fp32.onnx"
    names = export_onnx(network, wide, shape=shape)
    _quantise(wide, path, calibration)
    wide.unlink()
    return names


def open_network(folder: Path, sidecar: Sidecar) -> Run:
    """Return what runs an exported network; its file is the one that the sidecar names."""
    path = folder / sidecar.file
    if sidecar.format == "torch":
        module = torch.export.load(path).module()

        def run_program(x: Tensor) -> tuple[Tensor, ...]:
            with torch.no_grad():
                return tuple(module(x))

        return run_program
    provider = TENSORRT if sidecar.format == "tensorrt" else CPU
    session = open_session(path, provider=provider, threads=torch.get_num_threads())

    def run_graph(x: Tensor) -> tuple[Tensor, ...]:
        found = run_session(session, x)
        return tuple(torch.from_numpy(found[name]) for name in sidecar.outputs)

    return run_graph


def _quantise(source: Path, target: Path, calibration: Sequence[Tensor]) -> None:
    """Write a graph with INT8 weights and UINT8 activations in `QUANTISED` (static, QDQ)."""
    from onnxruntime.quantization import (  # noqa: PLC0415 - belongs to an extra
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Inputs(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            x = next(self.left, None)
            return None if x is None else {INPUT: x.numpy()}

    quantize_static(
        source,
        target,
        Inputs(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
