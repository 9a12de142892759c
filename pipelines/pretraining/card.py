"""The model card of a pretrained image backbone: what it saw, how it fared, and whether it paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.pretraining.image_config import PretrainConfig

if TYPE_CHECKING:
    from medvit.learn.fit import FitResult
    from medvit.learn.pretraining.watch import PretrainingWatch

METHODS = {
    "simclr": "SimCLR (two views of an image attract, all others repel)",
    "moco_v3": "MoCo v3 (a net predicts its own running mean)",
    "mae": "a masked autoencoder (painting the patches that were left out)",
}


def backbone_card(
    config: PretrainConfig,
    result: FitResult,
    *,
    watch: PretrainingWatch,
    payoff: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the fields of `ModelCard` that do not depend on the data."""
    health = watch.health
    metrics: dict[str, Any] = {
        "loss": result.loss,
        "epochs": result.epochs,
        "cut_short": result.cut_short,
    }
    if health is not None:
        metrics |= {
            "spread": round(health.spread, 4),
            "rank": round(health.rank, 2),
            "collapsed": health.has_collapsed,
        }
    asked = [row["neighbours_right"] for row in watch.rows if "neighbours_right" in row]
    if asked:
        metrics["neighbours_right"] = round(asked[-1], 4)
    if payoff is not None:
        metrics["payoff"] = payoff
    return {
        "task": "backbone",
        "classes": (),
        "preprocessing": {"side_px": config.data.side_px, "channels": "grey", "range": [0, 1]},
        "training": config.model_dump(mode="json"),
        "metrics": metrics,
    }


def backbone_text(config: PretrainConfig, card: dict[str, Any]) -> str:
    """Return the card as Markdown; `{reference}` is left for `register` to fill in."""
    metrics = card["metrics"]
    cut = ", cut short by train.max_minutes" if metrics["cut_short"] else ""
    lines = [
        "# {reference}",
        "",
        f"A {config.model.backbone} backbone, pretrained with {METHODS[config.pretrain.method]} on "
        f"the training images of `{config.data.manifest}`. The loss saw no label.",
        f"Epochs {metrics['epochs']}, last loss {metrics['loss']:.4f}{cut}; started from "
        f"{', '.join(card['parents']) or 'random weights'}.",
    ]
    if metrics.get("collapsed"):
        lines.append("**Collapsed**: it cannot tell images apart. Do not use it.")
    if "neighbours_right" in metrics:
        lines.append(
            f"Nearest neighbours of other groups name {metrics['neighbours_right']:.1%} of the "
            "labelled images rightly."
        )
    if config.pretrain.method == "mae":
        lines.append(
            "Features of a masked autoencoder are made to be fine-tuned: prototypes and neighbours "
            "do poorly on them."
        )
    if "payoff" in metrics:
        lines += ["", *payoff_lines(metrics["payoff"])]
    start = "start a training from it with `model.weights={reference}`."
    return "\n".join([*lines, "", f"Not a model to scan with: {start}", ""])


def payoff_lines(payoff: dict[str, Any]) -> list[str]:
    """Return the report as lines of Markdown."""
    lines = [
        "## Did it pay?",
        "",
        f"**{payoff['verdict'].capitalize()}**, against {payoff['against']}: accuracy in percent, "
        f"mean and sd over {payoff['draws']} draws of labels; asked for {payoff['asked']}.",
        "",
        "| labels a class | way | with | without | gain (95 % interval) | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row in payoff["rows"]:
        shots = row["shots"] or "all"
        given, plain = (
            f"{100 * row[name]:.1f} +- {100 * row[name + '_sd']:.1f}" for name in ("given", "plain")
        )
        gain = 100 * (row["given"] - row["plain"])
        ends = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        lines.append(
            f"| {shots} | {row['way']} | {given} | {plain} | {gain:+.1f} ({ends}) "
            f"| {row['verdict']} |"
        )
    return lines
