"""Draw the picture of docs/active.md from what benchmarks/active.py measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results" / "active.json"
TITLES = {
    "neu_network": "NEU, features of the shipped network",
    "xsdd_texture": "X-SDD, texture features",
    "xsdd_network": "X-SDD, features that saw its labels",
}
STYLES = {"active": ("#0b6e99", "-"), "random": ("#999999", "--")}


def main() -> None:
    """Write pictures/active.svg beside this file."""
    answer = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 3), TITLES.items(), strict=True):
        for how, (colour, style) in STYLES.items():
            runs = 100 * np.array(answer["curves"][name][how])
            labels = answer["batch"] * np.arange(1, runs.shape[1] + 1)
            axes.plot(labels, runs.mean(axis=0), style, color=colour, label=how, linewidth=2)
            axes.fill_between(labels, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15)
        axes.set(title=title, xlabel="labels", ylabel="accuracy, %", ylim=(None, 100))
        axes.grid(color="#e6e6e6")
        axes.legend(loc="lower right", frameon=False)
    figure.savefig(HERE / "pictures" / "active.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
