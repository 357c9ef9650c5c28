from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ra_guard.errors import TritonUnavailable
from ra_guard.gallery.errors import RefusedByModel, UnusableFeatures
from ra_guard.gallery.features import Featurizer, unit_rows
from ra_guard.gallery.label_embeddings import label_embeddings, template
from ra_guard.gallery.rows import Features, Row, columns
from ra_guard.models.space import Space, Tower

from tests.stand_ins.gallery_models import (
    DIM,
    LABELS,
    SPACE,
    NotFiniteModels,
    PickyModels,
    StandInModels,
    UnreachableModels,
    WrongShapeModels,
    direction,
)
from tests.stand_ins.pictures import picture


def test_features_come_in_the_order_of_the_images() -> None:
    images = [picture(colour, seed=seed) for seed, colour in enumerate(("red", "green", "blue"))]
    found = Featurizer(StandInModels(), SPACE, 1.0).features(images)
    for position, (image, features) in enumerate(zip(images, found, strict=True)):
        assert isinstance(features, Features)
        np.testing.assert_allclose(features.embedding, direction(image), atol=1e-6)
        np.testing.assert_array_equal(features.detections, [[position, 0.75, 0.25, 0.25, 0.75, 0.75]])


def test_one_refused_image_does_not_cost_the_others() -> None:
    images = [picture(seed=1), picture(size=(33, 40)), picture(seed=2)]
    found = Featurizer(PickyModels(refused_width=33), SPACE, 1.0).features(images)
    assert [type(item) for item in found] == [Features, RefusedByModel, Features]


@pytest.mark.parametrize("models", [WrongShapeModels(), NotFiniteModels()])
def test_nonsense_from_a_model_stops_the_work(models: StandInModels) -> None:
    with pytest.raises(UnusableFeatures, match="clip_image"):
        Featurizer(models, SPACE, 1.0).features([picture(), picture("blue")])


def test_rows_are_scaled_to_unit_length_and_refused_when_they_are_far_from_it() -> None:
    rows = np.stack([direction(b"a") * np.float32(1.0005), direction(b"b")])
    np.testing.assert_allclose(np.linalg.norm(unit_rows(rows, (2, DIM), "m"), axis=1), 1, atol=1e-6)
    with pytest.raises(UnusableFeatures, match="length 2, wanted 1"):
        unit_rows(rows * np.array([[1], [2]], np.float32), (2, DIM), "m")
    with pytest.raises(UnusableFeatures, match="length 0"):
        unit_rows(np.zeros((1, DIM), np.float32), (1, DIM), "m")


def test_label_embeddings_are_computed_once(tmp_path: Path) -> None:
    models = StandInModels()
    first = label_embeddings(models, SPACE, tmp_path, 1.0)
    assert models.texts == len(LABELS)
    np.testing.assert_array_equal(first, label_embeddings(UnreachableModels(), SPACE, tmp_path, 1.0))
    np.testing.assert_allclose(first[0], direction(b"red thing"), atol=1e-6)


def test_label_embeddings_of_another_space_are_not_taken_for_ours(tmp_path: Path) -> None:
    label_embeddings(StandInModels(), SPACE, tmp_path, 1.0)
    other = replace(SPACE, name="other")
    with pytest.raises(TritonUnavailable):
        label_embeddings(UnreachableModels(), other, tmp_path, 1.0)


def test_clip_labels_are_phrased_as_captions() -> None:
    clip = Space("clip", DIM, (0.1, 0.4), "p", Tower("clip_onnx", "0"), Tower("clip_onnx", "1"), LABELS)
    assert template(clip).format(label="dog") == "a photo of a dog"
    assert template(SPACE).format(label="dog") == "dog"


def test_columns_of_warm_and_cold_rows() -> None:
    boxes = np.array([[1, 0.5, 0, 0, 1, 1], [2, 0.25, 0, 0, 0.5, 0.5]], np.float32)
    rows = [
        Row("a", "flowers", "", 7, Features(direction(b"a"), boxes)),
        Row("b", "birds", "cc0", 2**63, None),
        Row("c", "flowers", "cc0", 0, Features(direction(b"c"), boxes[:0])),
    ]
    found = columns(rows, DIM, ["birds", "flowers"], ["", "cc0"])
    assert found["domains"] == bytes([1, 0, 1])
    assert found["licences"] == bytes([0, 1, 1])
    assert np.frombuffer(found["phashes"], np.uint64).tolist() == [7, 2**63, 0]
    assert np.frombuffer(found["detection_counts"], np.int32).tolist() == [2, -1, 0]
    np.testing.assert_array_equal(np.frombuffer(found["detections"], np.float32).reshape(-1, 6), boxes)
    embeddings = np.frombuffer(found["embeddings"], np.float32).reshape(3, DIM)
    np.testing.assert_array_equal(np.isnan(embeddings).all(axis=1), [False, True, False])
