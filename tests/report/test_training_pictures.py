"""Pictures of a training: what is written, and that what matters can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medvit.report.training_pictures import (
    BAND_PX,
    CELL_PX,
    write_confusion,
    write_labels,
    write_mosaic,
    write_results,
)


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_results_are_a_line_an_epoch_and_empty_cells_stay_empty(tmp_path: Path) -> None:
    write_results(tmp_path, [{"epoch": 1, "train/loss": 0.5}, {"epoch": 2, "val/loss": 1 / 3}])
    lines = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["epoch,train/loss,val/loss", "1,0.5,", "2,,0.333333"]
    assert pixels(tmp_path / "results.png").std() > 0


def test_a_training_without_epochs_has_a_header_and_no_curve(tmp_path: Path) -> None:
    write_results(tmp_path, [])
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == "epoch\n"
    assert not (tmp_path / "results.png").exists()


def test_a_confusion_shows_its_diagonal_darker_than_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    write_confusion(path, [[9, 0], [0, 0]], classes=("a", "b"), title="split test")
    blue = np.array([8, 48, 107])  # the end of the scale
    share = (np.abs(pixels(path).astype(int) - blue).sum(2) < 12).mean()
    assert 0.05 < share < 0.3  # one cell of four; a class without images divides by nothing


def test_labels_are_drawn_for_many_classes(tmp_path: Path) -> None:
    counts = {"train": {f"class {k}": k for k in range(12)}, "val": dict.fromkeys("ab", 0)}
    write_labels(tmp_path / "labels.jpg", counts)
    assert pixels(tmp_path / "labels.jpg").shape[0] > 500


def test_a_mosaic_shows_images_in_rows_of_four_and_mistakes_in_red(tmp_path: Path) -> None:
    images = [np.full((8, 8), 10 * k, np.uint8) for k in range(5)]
    images.append(np.full((8, 8, 3), (0, 255, 0), np.uint8))
    path = tmp_path / "batch.jpg"
    captions = ["right", "!wrong", "a very long name of a class that does not fit", "", "", ""]
    write_mosaic(path, images, captions=captions)
    sheet = pixels(path).astype(int)
    assert sheet.shape == (2 * (CELL_PX + BAND_PX), 4 * CELL_PX, 3)
    green = sheet[CELL_PX + BAND_PX + CELL_PX // 2, CELL_PX + CELL_PX // 2]
    assert green[1] > 240
    assert green[0] < 15
    red = sheet[..., 0] - sheet[..., 1]
    band = slice(CELL_PX, CELL_PX + BAND_PX)
    assert red[band, CELL_PX : 2 * CELL_PX].max() > 80
    assert red[band, :CELL_PX].max() < 40
