"""How long a retraining with fifty new labels takes, and how well a class from five is found.

    python benchmarks/retrain.py

Reads X-SDD and NEU beside the project; nothing of NEU leaves its folder.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from claims import Claim, write_claims
from torch import Tensor, nn

from medvit.data.surface import load_images
from medvit.findings.finding import CaseResult
from medvit.io.discover import discover
from medvit.learn.classify import predict_features
from medvit.learn.tuning.new_class import add_class
from medvit.learn.tuning.novel_class import add_novel_class
from medvit.learn.tuning.prototype import tied_covariance_head
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retrain import RetrainSettings, run

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "defects"
LABELS = 50
SHOTS = 5
DRAWS = 5
LIMIT_S = 300.0

AddClass = Callable[[nn.Module, Tensor, Tensor], nn.Module]


def seconds_of_fifty(folder: Path) -> tuple[float, float, dict[str, object]]:
    """Retrain the shipped model on fifty named images; return wall and CPU seconds, the answer."""
    with (DATA / "x-sdd" / "x-sdd-dev.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chosen = np.random.default_rng(0).choice(len(rows), LABELS, replace=False).tolist()
    delivery = folder / "delivery"
    delivery.mkdir()
    truth = {}
    for place in chosen:
        source = find_image(DATA / "x-sdd" / "images", rows[place]["image"])
        (delivery / source.name).symlink_to(source)
        truth[source.name] = rows[place]["class"]
    workspace = Workspace(folder / "workspace")
    workspace.prepare()
    champion = find_model(None, task="defect", models=workspace.models)
    with Store.open(workspace.store_url) as store:
        number = store.start_run("scan", {}, model=champion.reference, model_sha256=champion.sha256)
        for case in discover(delivery).cases:
            store.save_result(
                number, CaseResult(case, "accept", "ok", "", "red_iron", 0.5, (), 0.1, 1.0)
            )
            label = truth[case.files[0].name]
            store.decide(Decision(case.case_id, None, "relabel", "ann", label=label))
    wall, cpu = time.monotonic(), time.process_time()
    answer = run(RetrainSettings(task="defect"), workspace)
    return time.monotonic() - wall, time.process_time() - cpu, answer.as_json()


def find_image(folder: Path, name: str) -> Path:
    """Return the file of an image that a list names with or without folder and suffix."""
    if (folder / name).is_file():
        return folder / name
    return next(iter(sorted(folder.rglob(f"{Path(name).stem}.*"))))


def withheld_recalls() -> dict[str, dict[str, list[float]]]:
    """Withhold each class of NEU in turn; return recall of the newcomer and share of old lost."""
    with (DATA / "neu-det" / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    net, _ = load_model(find_model(None, task="defect").folder)
    paths = [f"{row['image']}.jpg" for row in rows]
    images = load_images(DATA / "neu-det" / "images", paths, side_px=128, channels="grey")
    features = predict_features(net, images)  # type: ignore[arg-type]
    names = sorted({row["class"] for row in rows})
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        for kind, add in (("likelihood ratio", add_novel_class), ("cosine row", add_class)):
            found.setdefault(kind, {})[name] = recalls(features, rows, name, add)
    return found


def recalls(
    features: Tensor, rows: Sequence[Mapping[str, str]], withheld: str, add: AddClass
) -> list[float]:
    """Return mean recall of the newcomer on fold 0, and mean share of old images lost there."""
    is_new = torch.tensor([row["class"] == withheld for row in rows])
    asked = torch.tensor([row["fold"] == "0" for row in rows])
    old = sorted({row["class"] for row in rows} - {withheld})
    numbers = torch.tensor([old.index(r["class"]) if r["class"] in old else -1 for r in rows])
    learnt = ~is_new & ~asked
    base = tied_covariance_head(features[learnt], numbers[learnt], names=old)
    fresh = (is_new & ~asked).nonzero().flatten().tolist()
    single = list({rows[at]["group"]: at for at in fresh}.values())
    shares, lost = [], []
    for draw in range(DRAWS):
        support = np.random.default_rng(draw).permutation(single)[:SHOTS].tolist()
        head = add(base, features[support], features[learnt])
        with torch.no_grad():
            before, after = base(features[asked]), head(features[asked]).argmax(1)
        right = before.argmax(1) == numbers[asked]
        shares.append(float((after[is_new[asked]] == len(old)).float().mean()))
        known = ~is_new[asked]
        lost.append(float((right & (after == len(old)))[known].float().mean()))
    return [float(np.mean(shares)), float(np.mean(lost))]


def main() -> None:
    """Measure, print and write `results/retrain.json`."""
    with tempfile.TemporaryDirectory() as folder:
        wall_s, cpu_s, answer = seconds_of_fifty(Path(folder))
    found = withheld_recalls()
    ratio, cosine = (
        float(np.mean([own[0] for own in found[kind].values()]))
        for kind in ("likelihood ratio", "cosine row")
    )
    lost = float(np.mean([own[1] for own in found["likelihood ratio"].values()]))
    write_claims(
        "retrain",
        [
            Claim("fifty_labels", round(wall_s, 1), "s", "", None, LIMIT_S, larger_is_better=False),
            Claim("newcomer", round(ratio, 3), "recall", "cosine row", round(cosine, 3), 0.85),
            Claim("known_lost", round(lost, 4), "share", "", None, 0.01, larger_is_better=False),
        ],
        cpu_s=round(cpu_s, 1),
        strategy=answer["strategy"],
        dataset=answer["dataset"],
        withheld=found,
    )


if __name__ == "__main__":
    main()
