"""The model card of a detector of boxes as text for people."""

from __future__ import annotations

from typing import Any


def detector_text(card: dict[str, Any]) -> str:
    """Return Markdown with what the model saw, how it measures, and what it is not for.

    Args:
        card: Fields of `ModelCard`; `{reference}` is left for `register` to fill in.
    """
    training, metrics, how = card["training"], card["metrics"], card["preprocessing"]
    parents = ", ".join(card["parents"]) or "random weights"
    images = ", ".join(f"{count} {split}" for split, count in training["images"].items())
    lines = [
        "# {reference}",
        "",
        f"Finds boxes of {len(card['classes'])} kinds of defects on surface images: "
        f"{', '.join(card['classes'])}. Surfaces and defects unlike those of the training are "
        "not known to it.",
        "",
        "## Training",
        "",
        f"- Images: {images}, with boxes of `{training['data']['annotations']}`; the longer side "
        f"becomes {how['side_px']} px, {how['channels']}; data SHA-256 "
        f"`{training['data_sha256'][:16]}`.",
        f"- The largest training image has {how['image_px']} px; images beyond 1.5 times that "
        "are looked at in tiles of this size.",
        f"- Backbone {training['model']['backbone']}, from {parents}; {metrics['epochs']} epochs, "
        f"seed {training['train']['seed']}; the mean of the weights is kept.",
        "- Thresholds, best F1 on split val: "
        + ", ".join(f"{name} {value:.2f}" for name, value in card["thresholds"].items())
        + ".",
    ]
    if not card["calibration"]:
        lines.append("- Scores are no probabilities: split val was too small to calibrate them.")
    if metrics["cut_short"]:
        lines.append("- **Cut short** by train.max_minutes: figures below may be lower than usual.")
    return "\n".join([*lines, "", *_figures(metrics), ""])


def _figures(metrics: dict[str, Any]) -> list[str]:
    if "map50" not in metrics:
        return ["## Figures", "", "None: there are no labelled boxes in split test."]
    low, high = metrics["map50_interval"]
    lines = [
        "## Figures, last epoch, split test",
        "",
        f"mAP50 {metrics['map50']:.3f} (95 % interval {low:.3f} to {high:.3f}, groups of images "
        f"drawn), mAP50-95 {metrics['map50_95']:.3f}; {metrics['n']} images, rules of COCO.",
        "",
        "| class | true boxes | AP50 | AP50-95 |",
        "|---|---|---|---|",
    ]
    for name, row in metrics["per_class"].items():
        if row["ap50"] is not None:
            lines.append(
                f"| {name} | {row['true_boxes']} | {row['ap50']:.3f} | {row['ap50_95']:.3f} |"
            )
    return lines
