"""The model card of a surface classifier as text for people."""

from __future__ import annotations

from typing import Any


def card_text(card: dict[str, Any]) -> str:
    """Return Markdown with what the model saw, how it measures, and what it is not for.

    Args:
        card: Fields of `ModelCard`; `{reference}` is left for `register` to fill in.
    """
    training, metrics = card["training"], card["metrics"]
    parents = ", ".join(card["parents"]) or "random weights"
    images = ", ".join(f"{count} {split}" for split, count in training["images"].items())
    lines = [
        "# {reference}",
        "",
        f"Tells {len(card['classes'])} classes of surface images apart: "
        f"{', '.join(card['classes'])}. {_sound(card['preprocessing'])}",
        "",
        "## Training",
        "",
        f"- Images: {images} by `{training['data']['manifest']}`; "
        f"{training['data']['side_px']} px, {training['data']['channels']}; "
        f"data SHA-256 `{training['data_sha256'][:16]}`.",
        f"- Started from {parents}; {_learnt(training, epochs=metrics['epochs'])}.",
        f"- Temperature {card['calibration']['temperature']:.3f}, "
        f"{'fitted on split val' if training['images']['val'] else 'not fitted: no split val'}.",
    ]
    lines += _noise(training)
    if metrics["cut_short"]:
        lines.append("- **Cut short** by train.max_minutes: figures below may be lower than usual.")
    return "\n".join([*lines, "", *_figures(metrics), ""])


def _learnt(training: dict[str, Any], *, epochs: int) -> str:
    """Return what was trained; a head of prototypes is computed."""
    tuning = training["tuning"]
    if tuning["method"] == "prototype":
        return f"its head is computed from labelled images ({tuning['prototype']}), nothing trained"
    return (
        f"{epochs} epochs, seed {training['train']['seed']}, loss {training['loss']['name']}, "
        f"sampler {training['sampler']['name']}"
    )


def _sound(how: dict[str, Any]) -> str:
    if "sound_class" not in how:
        return "There is no class for a sound surface: every image gets the nearest defect class."
    return (
        f"A surface without defect is {how['sound_class']}. The largest training image has "
        f"{how['image_px']} px; scans judge images beyond 1.5 times that in tiles of this size."
    )


def _noise(training: dict[str, Any]) -> list[str]:
    found = training.get("noise_found")
    if found is None:
        return []
    interval = found.get("interval")
    told = f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""
    done = (
        f"{found['left_out']} labels were left out"
        if found["method"] == "prune"
        else f"{found['method']}, this is the {found['ships']}"
    )
    return [f"- Wrong labels: {found['rate']:.1%}{told} by {found['source']}; {done}."]


def _figures(metrics: dict[str, Any]) -> list[str]:
    if not metrics["n"]:
        return ["## Figures", "", "None: the manifest has no labelled images in split test."]
    lines = [
        "## Figures, last epoch, split test",
        "",
        f"Accuracy {metrics['accuracy']:.3f}, balanced accuracy "
        f"{metrics['balanced_accuracy']:.3f}, macro F1 {metrics['macro_f1']:.3f}, "
        f"calibration error {metrics['ece']:.3f}; {metrics['n']} images.",
        "",
        "| class | images | precision | recall (95 % interval) | F1 |",
        "|---|---|---|---|---|",
    ]
    for name, row in metrics["per_class"].items():
        lines.append(
            f"| {name} | {row['n']} | {row['precision']:.3f} | {row['recall']:.3f} "
            f"({row['recall_low']:.3f} to {row['recall_high']:.3f}) | {row['f1']:.3f} |"
        )
    groups = metrics.get("by_frequency", {})
    if groups:
        told = "; ".join(f"{name} {row['recall']:.3f}" for name, row in groups.items())
        lines += ["", f"Mean recall by training images (more than 100, 20 to 100, less): {told}."]
    return lines
