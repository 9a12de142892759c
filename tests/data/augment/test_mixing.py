"""Mixed images and their targets: counted pixels, kept content, and true labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from medvit.data.augment.mixing import (
    Method,
    Mix,
    MixSettings,
    box_content,
    draw_mix,
    mix_images,
    mix_targets,
)

LABELS = torch.tensor([0, 1, 2, 0])


def drawn(method: Method, *, seed: int, within_class: bool = False) -> Mix:
    how = MixSettings(method, probability=1.0, within_class=within_class, patch_px=4)
    generator = torch.Generator().manual_seed(seed)
    mix = draw_mix(how, labels=LABELS, size=(18, 16), generator=generator)
    assert mix is not None
    return mix


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["mixup", "cutmix", "tokenmix"]))
def test_targets_sum_to_one_and_shares_are_those_of_the_pixels(seed: int, method: Method) -> None:
    mix = drawn(method, seed=seed)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 18, 16)
    mixed = mix_images(images, mix)
    targets = mix_targets(F.one_hot(LABELS, 3).float(), mix)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    partner = images[mix.partner]
    expected = mix.share * images + (1 - mix.share) * partner
    torch.testing.assert_close(mixed.mean((2, 3)), expected.mean((2, 3)), atol=1e-5, rtol=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 500))
def test_blocks_keep_to_the_grid_of_patches_and_partners_to_their_class(seed: int) -> None:
    taken = drawn("tokenmix", seed=seed).taken
    assert taken is not None
    whole = F.pad(taken, (0, 0, 0, 2)).view(5, 4, 4, 4).transpose(1, 2)[:4]
    assert bool((whole.flatten(2).all(2) | ~whole.flatten(2).any(2)).all())
    partner = drawn("cutmix", seed=seed, within_class=True).partner
    assert torch.equal(LABELS[partner], LABELS)
    assert sorted(partner.tolist()) == [0, 1, 2, 3]


def test_the_same_draw_gives_the_same_mixture_and_none_leaves_the_batch_alone() -> None:
    one, two = drawn("tokenmix", seed=3), drawn("tokenmix", seed=3)
    assert one.taken is not None
    assert two.taken is not None
    assert torch.equal(one.taken, two.taken)
    assert torch.equal(one.partner, two.partner)
    for how in (MixSettings("none"), MixSettings("mixup", probability=0.0)):
        generator = torch.Generator().manual_seed(0)
        assert draw_mix(how, labels=LABELS, size=(8, 8), generator=generator) is None


def test_a_target_counts_what_is_kept_of_the_defects_not_of_the_area() -> None:
    taken = torch.zeros(8, 8, dtype=torch.bool)
    taken[:, 4:] = True  # the right half comes from the partner
    mix = Mix(torch.tensor([1, 0]), 0.5, taken)
    boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[2.0, 0.0, 6.0, 4.0]])]
    content = box_content(boxes, size=(8, 8))
    targets = mix_targets(torch.eye(2), mix, content)
    # Image 0 keeps all of its defect and shows half of the other one: 1 against 0.5.
    torch.testing.assert_close(targets[0], torch.tensor([2 / 3, 1 / 3]))
    # Image 1 keeps half of its own and shows nothing of the other, which was at the left.
    torch.testing.assert_close(targets[1], torch.tensor([0.0, 1.0]))


def test_where_nothing_of_either_defect_is_kept_the_area_counts() -> None:
    taken = torch.zeros(4, 4, dtype=torch.bool)
    taken[:, :1] = True
    left = torch.tensor([[0.0, 0.0, 1.0, 4.0]])
    right = torch.tensor([[3.0, 0.0, 4.0, 4.0]])
    content = box_content([left, right], size=(4, 4))
    targets = mix_targets(torch.eye(2), Mix(torch.tensor([1, 0]), 0.75, taken), content)
    torch.testing.assert_close(targets[0], torch.tensor([0.75, 0.25]))


def test_an_image_without_boxes_counts_everywhere() -> None:
    maps = box_content([torch.empty(0, 4), torch.tensor([[-3.0, 1.0, 2.0, 9.0]])], size=(3, 4))
    assert float(maps[0].sum()) == 12
    assert maps[1].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_blend_by_hand() -> None:
    mix = Mix(torch.tensor([1, 0]), 0.25, None)
    images = torch.tensor([0.0, 8.0]).view(2, 1, 1, 1)
    assert mix_images(images, mix).flatten().tolist() == [6.0, 2.0]
    assert mix_targets(torch.eye(2), mix)[0].tolist() == pytest.approx([0.25, 0.75])
