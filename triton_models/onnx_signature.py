"""Prints the inputs and outputs of an ONNX model as one line of JSON: ``onnx_signature.py MODEL_ONNX``.

``{"inputs": {name: [type, shape]}, "outputs": {...}}``; a shape's free dimensions are names or null. A step of
`ra-guard models pull`. Runs in the Triton environment.
"""

import json
import sys

from onnxruntime import InferenceSession

if __name__ == "__main__":
    session = InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    signature = {side: {each.name: [each.type, each.shape] for each in tensors} for side, tensors in sides.items()}
    sys.stdout.write(json.dumps(signature))
