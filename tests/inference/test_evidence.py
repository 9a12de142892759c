"""Evidence maps: what they add up to, and that they find a planted patch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from medvit.inference.evidence import FlatGrids, ask, evidence_map, margin
from medvit.models.cnn import Cnn
from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit, VitSettings, draw_weights

MANY = tuple((step + 0.5) / 64 for step in range(64))


def classifier() -> DefectClassifier:
    vit = Vit(VitSettings(embed_dim=16, depth=2, num_heads=2, stem_channels=(4, 8)))
    net = DefectClassifier(vit, classes=3).eval()
    generator = torch.Generator().manual_seed(0)
    draw_weights(net, generator=generator)
    for parameter in net.parameters():
        if parameter.ndim == 1:  # without biases a flat image is all zeros, and norms explode
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3, generator=generator)
    assert isinstance(net.head, torch.nn.Linear)
    torch.nn.init.normal_(net.head.weight, generator=generator)
    return net


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_map_adds_up_to_the_margin_over_a_flat_image(label: int) -> None:
    net, x = classifier(), torch.rand(1, 1, 40, 32, generator=torch.Generator().manual_seed(2))
    evidence = evidence_map(net, x, label, shares=MANY)
    assert evidence.shape == (5, 4)
    with torch.no_grad():
        expected = margin(net(x), label) - margin(net(torch.full_like(x, 0.7)), label)
    assert float(evidence.sum()) == pytest.approx(float(expected), abs=2e-2)


def test_what_speaks_for_one_of_two_classes_speaks_against_the_other() -> None:
    vit = Vit(VitSettings(embed_dim=16, depth=1, num_heads=2, stem_channels=(4, 8)))
    net, x = DefectClassifier(vit, classes=2).eval(), torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(evidence_map(net, x, 0), -evidence_map(net, x, 1))


def test_a_flat_image_has_no_evidence() -> None:
    evidence = evidence_map(classifier(), torch.full((1, 1, 32, 32), 0.4), 1)
    assert float(evidence.abs().max()) < 1e-4


def test_the_net_keeps_no_gradient_behind() -> None:
    net = classifier()
    evidence_map(net, torch.rand(1, 1, 32, 32), 0)
    assert all(parameter.grad is None for parameter in net.parameters())


def convolutional() -> DefectClassifier:
    torch.manual_seed(0)
    net = DefectClassifier(Cnn((4, 8, 16)), classes=3)
    net(torch.rand(16, 1, 64, 64))  # batch norms have seen something
    return net.eval()


def test_evidence_of_a_convolutional_net_adds_up_after_its_first_level() -> None:
    net, x = convolutional(), torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(2))
    evidence = evidence_map(net, x, 1, shares=MANY)
    assert evidence.shape == (16, 12)
    with torch.no_grad():
        expected = margin(net(x), 1) - margin(net(torch.zeros_like(x)), 1)
    assert float(evidence.sum()) == pytest.approx(float(expected), abs=2e-2)


@pytest.mark.parametrize("make", [classifier, convolutional])
def test_what_is_known_already_changes_nothing(make: Callable[[], DefectClassifier]) -> None:
    net = make()
    flats = FlatGrids(net)
    for sides in ((32, 32), (48, 32), (32, 32)):
        x = torch.rand(1, 1, *sides)
        answer = ask(net, x)
        with torch.no_grad():
            torch.testing.assert_close(answer.logits, net(x))
        given = evidence_map(net, x, 1, answer=answer, flats=flats)
        assert torch.equal(given, evidence_map(net, x, 1))


def test_slopes_at_the_image_itself_are_those_of_a_path_of_one_point() -> None:
    net, x = convolutional(), torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(3))
    assert net.backbone.evidence_shares == (1.0,)
    net.backbone.evidence_shares = (0.5,)
    untraced = ask(net, x)
    assert not untraced.logits.requires_grad
    there = evidence_map(net, x, 2, shares=(1.0,), answer=untraced)
    net.backbone.evidence_shares = (1.0,)
    torch.testing.assert_close(evidence_map(net, x, 2), there)
    assert not torch.allclose(there, evidence_map(net, x, 2, shares=(0.5,)))


def test_one_answer_tells_of_every_class() -> None:
    net, x = convolutional(), torch.rand(1, 1, 32, 32)
    answer = ask(net, x)
    for label in range(3):
        assert torch.equal(evidence_map(net, x, label, answer=answer), evidence_map(net, x, label))
