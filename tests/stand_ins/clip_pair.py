"""A CLIP pair small enough to make in a test: real ONNX graphs with CLIP's own names, a tokenizer, a preprocessor.

It understands nothing, but embeds deterministically: a text is the mean of its words' vectors, an image is linear in
its mean colour.
"""

import json
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper, save

DIM = 16
EDGE = 32
WORDS = ("<start>", "<end>", "<unknown>", "a", "photo", "of", "cat", "dog", "red", "green", "blue")
OPSET = 17
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def write(folder: Path, *, text_dim: int = DIM, text_output: str = "text_embeds") -> Path:
    """Writes the four files of a pair, laid out as exporters do. Returns the folder."""
    (folder / "onnx").mkdir(parents=True)
    save(text_model(text_dim, text_output), folder / "onnx" / "text_model.onnx")
    save(vision_model(), folder / "onnx" / "vision_model.onnx")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor()))
    return folder


def text_model(dim: int, output: str) -> ModelProto:
    """``input_ids, attention_mask (batch, sequence) int64 -> text_embeds (batch, dim)``."""
    table = np.random.default_rng(1).standard_normal((len(WORDS), dim)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["wide_mask"]),
        helper.make_node("Mul", ["words", "wide_mask"], ["attended"]),
        helper.make_node("ReduceSum", ["attended", "words_axis"], [output], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([2]), "last_axis"),
        numpy_helper.from_array(np.array([1]), "words_axis"),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    embeds = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", dim])
    return _model(helper.make_graph(nodes, "text", ids, [embeds], constants))


def vision_model() -> ModelProto:
    """``pixel_values (batch, 3, 32, 32) float32 -> image_embeds (batch, 16)``."""
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["colour", "projection"], ["image_embeds"]),
    ]
    constants = [numpy_helper.from_array(projection(), "projection")]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, EDGE, EDGE])
    embeds = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch", DIM])
    return _model(helper.make_graph(nodes, "vision", [pixels], [embeds], constants))


def projection() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The vision model's weights, ``(3, 16)``, for a test to compute what it should answer."""
    return np.random.default_rng(2).standard_normal((3, DIM)).astype(np.float32)


def preprocessor() -> dict[str, object]:
    """CLIP's, with a smaller crop."""
    return {
        "crop_size": {"height": EDGE, "width": EDGE},
        "size": {"shortest_edge": EDGE},
        "resample": 3,
        "image_mean": MEAN,
        "image_std": DEVIATION,
    }


def tokenizer() -> dict[str, object]:
    """Whole words between a start and an end token."""
    start, end = ({"SpecialToken": {"id": word, "type_id": 0}} for word in WORDS[:2])
    text = {"Sequence": {"id": "A", "type_id": 0}}
    specials = {word: {"id": word, "ids": [number], "tokens": [word]} for number, word in enumerate(WORDS[:2])}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, text, end],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": specials,
        },
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "<unknown>",
        },
    }


def _model(graph: GraphProto) -> ModelProto:
    # The oldest file version that the opset allows: ONNX Runtime trails the onnx package.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
