"""The 3D Swin beside MONAI's with the same weights: seconds, peak memory, and the floor.

Networks take turns, so that a slow moment of the machine falls on all of them; the best
round counts. Peak memory is measured in a process of its own for each network. The floor
is the operations that the result needs over the rate of a large matrix product.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from claims import RESULTS, Claim, write_claims
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from medvit.models.builders import build_model
from medvit.models.layers.windows import cut_grid, fit_window
from medvit.models.swin3d import Swin3d

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured.

    Attributes:
        side: Voxels of the cubic volume.
        window: Tokens on a side of a window.
        dtype: `fp32`, or `bf16` for autocast.
        records: Forward and backward instead of forward alone.
    """

    side: int
    window: int
    dtype: str = "fp32"
    records: bool = False

    @property
    def name(self) -> str:
        """A few words."""
        passes = "forward + backward" if self.records else "forward"
        return f"{passes} {self.dtype}, {self.side}^3, window {self.window}"


JOBS = (
    *(
        Job(side, window)
        for side, window in ((64, 7), (64, 8), (96, 7), (96, 6), (128, 7), (128, 8))
    ),
    *(
        Job(side, window, "bf16")
        for side, window in ((64, 7), (96, 7), (96, 6), (128, 7), (128, 8))
    ),
    *(Job(side, window, records=True) for side, window in ((64, 7), (96, 7), (96, 6), (128, 7))),
)
# Times as fast as MONAI eager in fp32, and as its flash path.
TARGETS = {"fp32": (4.0, 2.0), "bf16": (8.0, None), "records": (3.0, None)}
OWN_WINDOW = (Job(96, 6), Job(96, 7), 6.0)


def build(kind: str, window: int) -> nn.Module:
    """Return `ours`, `eager` or `flash`, all with the same weights."""
    torch.manual_seed(0)
    heads, depths = (3, 6, 12, 24), (2, 2, 2, 2)
    theirs = SwinTransformer(
        *(1, 48, (window,) * 3, (2, 2, 2), depths, heads), use_flash_attention=kind == "flash"
    )
    if kind != "ours":
        return theirs.eval()
    ours = Swin3d(window_size=window)
    ours.load_monai(theirs.state_dict(), merging="1.5")
    return ours.eval()


def once(net: nn.Module, x: Tensor, job: Job) -> None:
    """Take one measured pass."""
    with torch.autocast("cpu", torch.bfloat16, enabled=job.dtype == "bf16"):
        if not job.records:
            with torch.inference_mode():
                net(x)
            return
        loss: Tensor = sum((level.float() ** 2).mean() for level in net(x))
    loss.backward()  # type: ignore[no-untyped-call]


def seconds_in_turns(passes: dict[str, Callable[[], None]], rounds: int) -> Row:
    """Return best wall and CPU seconds of each, taking turns after a round to warm up."""
    best: dict[str, list[float]] = {name: [float("inf")] * 2 for name in passes}
    for number in range(rounds + 1):
        for name, take in passes.items():
            wall, cpu = time.perf_counter(), time.process_time()
            take()
            spent = (time.perf_counter() - wall, time.process_time() - cpu)
            if number:
                best[name] = [min(pair) for pair in zip(best[name], spent, strict=True)]
    return {name: {"seconds": wall, "cpu_seconds": cpu} for name, (wall, cpu) in best.items()}


def _square(a: Tensor) -> None:
    torch.mm(a, a)


def matrix_rates() -> dict[str, float]:
    """Return operations a second of a product of two 2048^2 matrices, by type."""
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(2048, 2048).to(dtype)
        best = seconds_in_turns({"product": partial(_square, a)}, rounds=5)
        rates[name] = 2 * 2048**3 / best["product"]["seconds"]
    return rates


def operations(net: Swin3d, side: int) -> float:
    """Return multiplications and additions of a forward pass, padded queries left out."""
    length, total = side // 2, 2.0 * 8 * 48 * (side // 2) ** 3
    for level, stage in enumerate(net.stages):
        width = net.widths[level]
        grid = (length, length, length)
        window, shift = fit_window(grid, window=net.window_size, shift=net.window_size // 2)
        for cut in ((0, 0, 0), shift):
            kinds = cut_grid(
                *(grid, window, cut),
                table_side=net.window_size,
                exact=True,
                device=torch.device("cpu"),
            )
            seen = sum(kind.tokens.shape[0] * kind.rows.numel() for kind in kinds)
            total += len(stage.blocks) / 2 * (24 * width**2 * length**3 + 4 * width * seen)  # type: ignore[arg-type]
        length = -(-length // 2)
        total += 2 * 8 * width * 2 * width * length**3
    return total


def status_mb(field: str) -> float:
    """Return a figure of this process from the kernel."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def extra_mb(kind: str, job: Job) -> float:
    """Return how far one pass lifts the peak of this process above what it held before."""
    net, x = build(kind, job.window), torch.randn(1, 1, job.side, job.side, job.side)
    before = status_mb("VmRSS")
    once(net, x, job)
    return round(status_mb("VmHWM") - before, 1)


def extra_in_fresh_process(kind: str, job: Job) -> float | None:
    """Return `extra_mb` as a process of its own finds it; None where memory does not suffice."""
    command = [sys.executable, __file__, "--memory", kind, json.dumps(asdict(job))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "allocate memory" in done.stderr:
        return None
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return float(done.stdout.splitlines()[-1])


def measure(job: Job, rounds: int, rates: dict[str, float]) -> Row:
    """Measure one job for all networks; MONAI's stay in fp32."""
    plain = Job(job.side, job.window, records=job.records)
    x = torch.randn(1, 1, job.side, job.side, job.side)
    # MONAI's flash path is bypassed where gradients are on.
    kinds = ("ours", "eager") if job.records else ("ours", "eager", "flash")
    jobs = {kind: job if kind == "ours" else plain for kind in kinds}
    extra = {kind: extra_in_fresh_process(kind, jobs[kind]) for kind in kinds}
    nets = {kind: build(kind, job.window) for kind in kinds if extra[kind] is not None}
    row = seconds_in_turns(
        {kind: partial(once, net, x, jobs[kind]) for kind, net in nets.items()}, rounds
    )
    for kind in nets:
        row[kind]["extra_mb"] = extra[kind]
    ours = nets["ours"]
    needed = operations(ours, job.side) * (3 if job.records else 1)  # type: ignore[arg-type]
    floor = needed / rates[job.dtype]
    return {
        **row,
        "does_not_fit": [kind for kind in kinds if kind not in nets],
        "gflop": round(needed / 1e9, 1),
        "floor_seconds": round(floor, 4),
        "gap": round(row["ours"]["seconds"] / floor, 2),
    }


def claims_of(job: Job, row: Row) -> Iterator[Claim]:
    """Compare one job with MONAI."""
    ours = row["ours"]
    for kind, factor in zip(
        ("eager", "flash"), TARGETS["records" if job.records else job.dtype], strict=True
    ):
        if kind in row:
            rival = row[kind]["seconds"]
            yield Claim(
                job.name,
                *(round(ours["seconds"], 4), "s", f"MONAI {kind} fp32", round(rival, 4)),
                round(rival / factor, 4) if factor else None,
                larger_is_better=False,
            )
    if "eager" not in row:
        return
    rival = row["eager"]["extra_mb"]
    yield Claim(
        f"extra memory of {job.name}",
        *(ours["extra_mb"], "MiB", "MONAI eager fp32", rival, round(rival / 3, 1)),
        larger_is_better=False,
    )


def claim_of_own_window(rows: dict[str, Row]) -> Iterator[Claim]:
    """Compare the window that needs no padding with MONAI's usual one."""
    own, usual, factor = OWN_WINDOW
    if own.name in rows and "eager" in rows.get(usual.name, {}):
        rival = rows[usual.name]["eager"]["seconds"]
        yield Claim(
            own.name,
            *(round(rows[own.name]["ours"]["seconds"], 4), "s", "MONAI eager fp32, window 7"),
            *(round(rival, 4), round(rival / factor, 4)),
            larger_is_better=False,
        )


def detector(rounds: int) -> Row:
    """Measure the shipped nodule detector on one tile of a scan."""
    torch.manual_seed(0)
    net, x = (
        build_model("nodule_detector", backbone="swin3d_tiny").eval(),
        torch.rand(1, 1, 96, 96, 96),
    )
    encoder: nn.Module = net.backbone  # type: ignore[assignment]
    jobs = {dtype: Job(96, 4, dtype) for dtype in ("fp32", "bf16")}
    return seconds_in_turns(
        {
            f"{part} {dtype}": partial(once, module, x, job)
            for part, module in (("whole", net), ("backbone", encoder))
            for dtype, job in jobs.items()
        },
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--keep", action="store_true", help="keep what the results file has")
    parser.add_argument("--most-gib", type=float, default=24.0, help="memory of each process")
    parser.add_argument("--memory", nargs=2, metavar=("KIND", "JOB"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(extra_mb(given.memory[0], Job(**json.loads(given.memory[1]))))
        return
    limit_memory(given.most_gib)
    rates = matrix_rates()
    rows = kept_rows() if given.keep else {}
    for job in (job for job in JOBS if job.side in given.sides):
        rows[job.name] = {**measure(job, given.rounds, rates), "rounds": given.rounds}
        print(job.name, json.dumps(rows[job.name]), flush=True)
        with contextlib.redirect_stdout(io.StringIO()):  # told once, at the end
            write(rows, rates)
    write(rows, rates, detector_on_one_tile=detector(given.rounds))


def kept_rows() -> dict[str, Row]:
    """Return the rows of the results file, if there is one."""
    path = RESULTS / "swin3d.json"
    rows: dict[str, Row] = {}
    if path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def write(rows: dict[str, Row], rates: dict[str, float], **more: Any) -> None:
    """Write the results file with the rows that there are."""
    jobs = {job.name: job for job in JOBS}
    claims = [
        claim for name, row in rows.items() if name in jobs for claim in claims_of(jobs[name], row)
    ]
    write_claims(
        "swin3d",
        [*claims, *claim_of_own_window(rows)],
        threads=torch.get_num_threads(),
        gflop_a_second={name: round(rate / 1e9, 1) for name, rate in rates.items()},
        **more,
        rows=rows,
    )


def limit_memory(most_gib: float) -> None:
    """Let an allocation beyond this fail, here and in the processes that measure memory."""
    most = int(most_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
