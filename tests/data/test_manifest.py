"""Manifests: reading, and refusing with file, line, value and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.errors import ConfigError, InputError, MedvitError


def manifest_file(folder: Path, text: str) -> Path:
    file = folder / "m.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rows = (ManifestRow('a,"b".png', "dent", "train", "g1"), ManifestRow("c.png", "", "", ""))
    write_manifest(tmp_path / "m.csv", rows)
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.rows == rows
    assert manifest.classes == ("dent",)
    assert manifest.of("train") == rows[:1]


def test_group_may_be_left_out_and_a_byte_order_mark_is_no_name(tmp_path: Path) -> None:
    file = manifest_file(tmp_path, "\ufeffpath,label,split\na.png,dent,test\n")
    assert read_manifest(file).rows == (ManifestRow("a.png", "dent", "test", ""),)


def test_soft_columns_are_probabilities_in_the_order_of_the_header(tmp_path: Path) -> None:
    text = "path,label,split,label:b,label:a\nx.png,,train,0.25,0.75\ny.png,a,train,,\n"
    manifest = read_manifest(manifest_file(tmp_path, text))
    assert manifest.soft_classes == ("b", "a")
    assert [row.soft for row in manifest.rows] == [(0.25, 0.75), ()]
    assert manifest.classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na,b\n", "line 1: the header must name 'split', got 'path,label'"),
        ("path,label,split,colour\n", "line 1: columns are .* got 'colour'"),
        ("path,label,split,path\n", "line 1: a column is named once, got 'path'"),
        ("path,label,split\na,b\n", "line 2: a row has 3 values as the header, found 2"),
        ("path,label,split\n,b,train\n", "line 2: path must not be empty, got ''"),
        ("path,label,split\na,b,training\n", "line 2: split must be .* got 'training'"),
        ("path,label,split,label:b\na,,train,x\n", "line 2: label:b must be a number .* got 'x'"),
        ("path,label,split,label:b\na,,train,1.5\n", "line 2: label:b must .* got '1.5'"),
        ("path,label,split,label:b\na,,train,0.5\n", "line 2: soft labels .* got '0.5'"),
        ("path,label,split\n", "at least one row below its header, found 0"),
        ("path,label,split\na,b,train\na,c,train\n", "'a' is there twice"),
        ("path,label,split,group\na,b,train,g\nc,b,test,g\n", "'g' is in 'train' and 'test'"),
    ],
)
def test_a_broken_rule_is_named_with_the_value(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_manifest(manifest_file(tmp_path, text))
    assert "m.csv" in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_manifest(tmp_path / "absent.csv")


def test_a_binary_file_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MedvitError, match="readable UTF-8"):
        read_manifest(tmp_path / "m.csv")
