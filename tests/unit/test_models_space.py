"""A space's canonical JSON and fingerprint, which Rust and Triton's configurations must agree with to the byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ra_guard.models.build import BadModel
from ra_guard.models.pull import Wanted
from ra_guard.models.space import Space, Tower, UnknownSpace, canonical_json, names

SPACE = Space(
    name="démo",
    dim=4,
    cosine_range=(0.1, 0.6),
    preprocessing="conse:00ff",
    text=Tower("minilm", "aa"),
    image=Tower("conse", "bb"),
    labels=("person", "café"),
)
CANONICAL = (
    '{"cosine_range":[0.1,0.6],"dim":4,"dtype":"f32","image":{"kind":"conse","weights_sha256":"bb"},'
    '"name":"démo","preprocessing":"conse:00ff","text":{"kind":"minilm","weights_sha256":"aa"}}'
)


def test_json_is_canonical() -> None:
    assert SPACE.json() == CANONICAL


def test_fingerprint_is_the_known_one() -> None:
    assert SPACE.fingerprint == "fe642256c4bd25b07cfac290f778c448"
    assert SPACE.labels_digest == "a2818e89a85e79079a41edcb43835bf4"


@pytest.mark.parametrize(
    "other",
    [
        replace(SPACE, name="demo"),
        replace(SPACE, dim=5),
        replace(SPACE, cosine_range=(0.1, 0.7)),
        replace(SPACE, preprocessing="conse:00fe"),
        replace(SPACE, text=Tower("minilm", "ab")),
        replace(SPACE, image=Tower("clip_onnx", "bb")),
        replace(SPACE, label_threshold=0.8),
    ],
)
def test_everything_that_changes_vectors_changes_the_fingerprint(other: Space) -> None:
    assert other.fingerprint != SPACE.fingerprint


def test_labels_belong_to_the_detector() -> None:
    other = replace(SPACE, labels=("café", "person"))
    assert other.fingerprint == SPACE.fingerprint
    assert other.labels_digest != SPACE.labels_digest


@pytest.mark.parametrize("space", [SPACE, replace(SPACE, label_threshold=0.8)])
def test_load_returns_what_save_wrote(space: Space, tmp_path: Path) -> None:
    space.save(tmp_path)
    assert Space.load(tmp_path) == space
    assert (tmp_path / "space.json").read_bytes() == space.json().encode()


def test_what_is_saved_is_canonical(tmp_path: Path) -> None:
    SPACE.save(tmp_path)
    assert (tmp_path / "space.json").read_bytes() == CANONICAL.encode()


def test_an_absent_space_is_refused_with_the_ones_there(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    SPACE.save(tmp_path / "demo")
    with pytest.raises(UnknownSpace, match=r"'clip'.*there are: demo"):
        Space.load(tmp_path / "clip")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dim": 4}', CANONICAL.replace("0.1,", "")])
def test_a_garbled_space_is_refused(tmp_path: Path, text: str) -> None:
    SPACE.save(tmp_path)
    (tmp_path / "space.json").write_text(text)
    with pytest.raises(UnknownSpace):
        Space.load(tmp_path)


def test_names_skips_folders_that_are_being_built(tmp_path: Path) -> None:
    for name in ("demo", "clip", ".demo.new"):
        (tmp_path / name).mkdir()
        SPACE.save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["clip", "demo"]
    assert names(tmp_path / "absent") == []


def test_canonical_json_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match=r"range|JSON"):
        canonical_json({"cosine_range": float("nan")})
    assert json.loads(canonical_json({"b": 1, "a": 2})) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    "scale", [{"cosine_range": (0.5, 0.1)}, {"cosine_range": (0.1, float("nan"))}, {"label_threshold": 1.5}]
)
def test_a_scale_that_no_server_would_take_is_refused_before_a_space_is_built(scale: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match=next(iter(scale))):
        Wanted(**scale)
