"""The masked autoencoder: exact masks, no leak, and a loss on what was removed alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medvit.learn.pretraining.kept_patches import (
    draw_order,
    encode_kept,
    patchify,
    take,
    unpatchify,
)
from medvit.learn.pretraining.mae import (
    MaeLoss,
    MaeNet,
    MaeSettings,
    normalised,
    sine_positions,
)
from medvit.models.cnn import cnn_small
from medvit.models.vit import Vit, VitSettings, vit_tiny_stem

SIDE = 32


def tiny_vit(*, registers: int = 0) -> Vit:
    settings = VitSettings(
        embed_dim=16, depth=2, num_heads=2, stem_channels=(8, 8), drop_path=0, registers=registers
    )
    torch.manual_seed(0)
    return Vit(settings).eval()


def net(*, registers: int = 0) -> MaeNet:
    settings = MaeSettings(decoder_dim=16, decoder_depth=1, decoder_heads=2)
    return MaeNet(tiny_vit(registers=registers), side_px=SIDE, settings=settings).eval()


def images() -> torch.Tensor:
    return torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@given(seed=st.integers(0, 1000), patches=st.integers(2, 40))
def test_restoring_undoes_shuffling(seed: int, patches: int) -> None:
    order = draw_order(2, patches, generator=torch.Generator().manual_seed(seed))
    tokens = torch.rand(2, patches, 3, generator=torch.Generator().manual_seed(seed))
    assert take(take(tokens, order), order.argsort(dim=1)).equal(tokens)


def test_patches_and_back() -> None:
    patches = patchify(images(), patch_px=8)
    assert patches.shape == (3, 16, 64)
    assert unpatchify(patches, patch_px=8, side_px=SIDE).equal(images())
    once = normalised(patches)
    torch.testing.assert_close(once.mean(dim=2), torch.zeros(3, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(once.std(dim=2, correction=0), torch.ones(3, 16), atol=1e-3, rtol=0)


def test_a_quarter_is_kept_of_each_image() -> None:
    assert net().kept == 4
    order = draw_order(5, 16)
    assert (order.sort(dim=1).values == torch.arange(16)).all()


def test_what_is_removed_does_not_reach_the_encoder() -> None:
    model, order = net(), draw_order(3, 16, generator=torch.Generator().manual_seed(1))
    kept = order[:, :4]
    hidden = torch.ones(3, 16, dtype=torch.bool).scatter(1, kept, value=False)
    patches = patchify(images(), patch_px=8)
    other = torch.where(hidden[..., None], torch.zeros(()), patches)
    changed = unpatchify(other, patch_px=8, side_px=SIDE)
    seen = encode_kept(model.backbone, images(), kept, side=4)
    torch.testing.assert_close(encode_kept(model.backbone, changed, kept, side=4), seen)
    assert seen.shape == (3, 4, 16)


@pytest.mark.parametrize("registers", [0, 2])
def test_with_all_patches_kept_it_is_the_backbone(registers: int) -> None:
    vit = tiny_vit(registers=registers)
    order = torch.arange(16).expand(3, 16)
    whole = vit(images()).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encode_kept(vit, images(), order, side=4), whole)


def test_only_removed_patches_of_the_target_count() -> None:
    loss, order = MaeLoss(net()), draw_order(3, 16, generator=torch.Generator().manual_seed(1))
    expected = loss.of(images(), order, target=images())
    for place, changes in ((order[0, 0], False), (order[0, -1], True)):
        patches = patchify(images(), patch_px=8)
        patches[0, place] = torch.linspace(0, 1, 64)
        target = unpatchify(patches, patch_px=8, side_px=SIDE)
        found = loss.of(images(), order, target=target)
        assert bool(found != expected) is changes


def test_the_loss_is_a_mean_of_squares_by_hand() -> None:
    model, order = net(), draw_order(3, 16, generator=torch.Generator().manual_seed(1))
    painted, total = model(images(), order).detach(), 0.0
    truth = normalised(patchify(images(), patch_px=8))
    for image in range(3):
        for place in order[image, 4:].tolist():
            total += float((painted[image, place] - truth[image, place]).square().mean())
    found = float(MaeLoss(model).of(images(), order).detach())
    assert found == pytest.approx(total / 36, rel=1e-5)


def test_every_place_has_a_position_of_its_own() -> None:
    positions = sine_positions(6, 16)
    assert positions.shape == (36, 16)
    assert len({tuple(row) for row in positions.tolist()}) == 36


def test_what_is_no_vit_and_views_that_patches_do_not_fill_are_refused() -> None:
    with pytest.raises(ValueError, match="only a Vit can: Cnn"):
        MaeNet(cnn_small(), side_px=SIDE, settings=MaeSettings())
    with pytest.raises(ValueError, match="patches of 8 px do not fill a view of 36 px"):
        MaeNet(vit_tiny_stem(), side_px=36, settings=MaeSettings())
    with pytest.raises(ValueError, match=r"got 1\.0 and 96"):
        MaeSettings(mask_share=1.0)
