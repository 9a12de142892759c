"""The second look: features around candidates, and heat maps with new scores."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from medvit.models.builders import nodule_detector
from medvit.models.heads.reduction import LEAST_LOGIT, Reduction, around, candidates

SILENT = -8.0


def heat_of(*peaks: tuple[int, int, int, float]) -> Tensor:
    heat = torch.full((1, 1, 8, 8, 8), SILENT)
    for z, y, x, logit in peaks:
        heat[0, 0, z, y, x] = logit
    return heat


def certain(correction: float) -> Reduction:
    """Return a second look that says the same of all candidates."""
    reduction = Reduction(4, 1)
    with torch.no_grad():
        dict(reduction.named_parameters())["verdict.3.bias"].fill_(correction)
    return reduction


def test_features_around_a_candidate_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    features = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    for level in (0, 1, 2):
        cells = torch.from_numpy(rng.integers([2, 4, 5, 6], size=(9, 4)) << [0] + [level] * 3)
        found = around(features, cells, level=level).view(9, 3, 3, 3, 3)
        for k, (item, *cell) in enumerate(cells.tolist()):
            for offset in np.ndindex(3, 3, 3):
                place = [(at >> level) + step - 1 for at, step in zip(cell, offset, strict=True)]
                outside = any(
                    not 0 <= at < n for at, n in zip(place, features.shape[2:], strict=True)
                )
                wanted = torch.zeros(3) if outside else features[item, :, *place]
                assert torch.equal(found[k, *offset], wanted)


def test_candidates_are_peaks_that_could_be_reported() -> None:
    heat = heat_of((2, 2, 2, 1.0), (2, 2, 3, 0.5), (6, 6, 6, LEAST_LOGIT - 0.1), (0, 7, 0, -1.0))
    assert candidates(heat).tolist() == [[0, 0, 7, 0], [0, 2, 2, 2]]


def test_a_candidate_and_its_neighbours_take_the_correction_and_the_rest_is_no_candidate() -> None:
    heat = heat_of((2, 2, 2, 1.0), (2, 2, 3, 0.5), (2, 2, 4, 0.2))  # a slope without a peak
    new = certain(-3.0).rescore(heat, [torch.zeros(1, 4, 8, 8, 8)])[0, 0].detach()
    assert new[2, 2, 2:6].tolist() == [-2.0, -2.5, torch.tensor(LEAST_LOGIT).item(), SILENT]
    assert new[1, 1, 1] == SILENT - 3


def test_between_two_candidates_the_corrections_are_averaged() -> None:
    class ByPlace(Reduction):
        def forward(self, pyramid: object, cells: Tensor) -> Tensor:
            return torch.where(cells[:, 3] == 2, -4.0, 2.0)

    heat = heat_of((2, 2, 2, 1.0), (2, 2, 4, 0.0))
    new = ByPlace(4, 1).rescore(heat, [torch.zeros(1, 4, 8, 8, 8)])[0, 0]
    assert new[2, 2, 1:6].tolist() == [SILENT - 4, -3.0, SILENT - 1, 2.0, SILENT + 2]


def test_a_new_second_look_changes_no_candidate_of_a_detector() -> None:
    torch.manual_seed(0)
    detector = nodule_detector(backbone="swin3d_tiny", width=8, reduction=True).eval()
    with torch.no_grad():
        dict(detector.named_parameters())["head.1.bias"][0] = 0
        x = torch.rand(1, 1, 32, 32, 32)
        first, second = detector.look(x)[0], detector(x)
    item, z, y, x_ = candidates(first.heat).unbind(1)
    assert len(item) > 5
    assert torch.equal(first.heat[item, 0, z, y, x_], second.heat[item, 0, z, y, x_])
    assert torch.equal(first.offset, second.offset)


def test_names_of_a_detector_without_a_second_look_stay_as_they_were() -> None:
    plain = nodule_detector(backbone="swin3d_tiny", width=8).state_dict()
    both = nodule_detector(backbone="swin3d_tiny", width=8, reduction=True).state_dict()
    assert list(plain) == [name for name in both if not name.startswith("reduction.")]
    assert math.prod(both["reduction.views.0.weight"].shape) == 27 * 8 * 16
