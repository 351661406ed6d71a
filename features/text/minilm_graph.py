"""``python -m features.text.minilm_graph FROM TO``: MiniLM's graph for onnxruntime, from a local folder of weights.

FROM holds ``model.safetensors``, ``config.json`` and ``tokenizer.json`` as published for all-MiniLM-L6-v2 (a BERT with
mean pooling); TO gets ``model.onnx`` and ``tokenizer.json``. Needs the package onnx, and nothing else: no torch.
"""

import json
import shutil
import struct
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import MarqueeError
from features.text.encoder import EncoderError
from features.text.minilm import MODEL, TOKENIZER

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
OPSET: Final = 17
_IR_VERSION: Final = 8

Weights = dict[str, npt.NDArray[np.float32]]


def build(source: Path, target: Path) -> None:
    """Write `model.onnx` and `tokenizer.json` into a folder."""
    for name in (WEIGHTS, CONFIG, TOKENIZER):
        if not (source / name).is_file():
            raise EncoderError(
                f"building model.onnx: {source / name} is missing; name the folder of the published model."
            )
    try:
        import onnx  # noqa: PLC0415 - for this command alone
    except ImportError as error:
        raise EncoderError("building model.onnx: package onnx is not installed; `make minilm`.") from error
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    model = _Graph(onnx, read_weights(source / WEIGHTS), config).model()
    onnx.checker.check_model(model)
    target.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target / MODEL))
    shutil.copyfile(source / TOKENIZER, target / TOKENIZER)


def read_weights(path: Path) -> Weights:
    """Return the float32 arrays of a safetensors file by name."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    body = memoryview(raw)[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


class _Graph:
    """Nodes of the model in the order they run; every method returns the name of what it computes."""

    def __init__(self, onnx: Any, weights: Weights, config: dict[str, Any]) -> None:
        self._onnx, self._weights, self._config = onnx, weights, config
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self) -> Any:
        """Return the model: input_ids and attention_mask (n, length) in, vectors (n, hidden) of length one out."""
        onnx, width = self._onnx, int(self._config["hidden_size"])
        state = self._embeddings()
        for layer in range(int(self._config["num_hidden_layers"])):
            state = self._layer(state, f"encoder.layer.{layer}.")
        self._node("Identity", [self._pooled(state)], output="vectors")
        integers, singles = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
        inputs = [
            onnx.helper.make_tensor_value_info(name, integers, ["n", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [onnx.helper.make_tensor_value_info("vectors", singles, ["n", width])]
        graph = onnx.helper.make_graph(self._nodes, "minilm", inputs, outputs, list(self._constants.values()))
        return onnx.helper.make_model(
            graph, ir_version=_IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
        )

    def _embeddings(self) -> str:
        words = self._node("Gather", [self._weight("embeddings.word_embeddings.weight"), "input_ids"])
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]  # one text, no pairs
        places = self._constant("places", self._weights["embeddings.position_embeddings.weight"] + kind)
        length = self._node("Slice", [self._node("Shape", ["input_ids"]), self._ints(1), self._ints(2)])
        standing = self._node("Slice", [places, self._ints(0), length, self._ints(0)])
        return self._normed(self._node("Add", [words, standing]), "embeddings.LayerNorm")

    def _layer(self, state: str, prefix: str) -> str:
        attended = self._linear(self._attention(state, prefix + "attention.self."), prefix + "attention.output.dense")
        state = self._normed(self._node("Add", [state, attended]), prefix + "attention.output.LayerNorm")
        wide = self._gelu(self._linear(state, prefix + "intermediate.dense"))
        narrow = self._linear(wide, prefix + "output.dense")
        return self._normed(self._node("Add", [state, narrow]), prefix + "output.LayerNorm")

    def _attention(self, state: str, prefix: str) -> str:
        heads, width = int(self._config["num_attention_heads"]), int(self._config["hidden_size"])

        def part(name: str, order: list[int]) -> str:
            split = self._node("Reshape", [self._linear(state, prefix + name), self._ints(0, 0, heads, width // heads)])
            return self._node("Transpose", [split], perm=order)

        query, key, value = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        scale = self._constant("scale", np.array((width // heads) ** -0.5, np.float32))
        scores = self._node("Mul", [self._node("MatMul", [query, key]), scale])
        shares = self._node("Softmax", [self._node("Add", [scores, self._mask()])], axis=-1)
        mixed = self._node("Transpose", [self._node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        return self._node("Reshape", [mixed, self._ints(0, 0, width)])

    def _mask(self) -> str:
        """Return 0 where there is a token and a large negative number where there is padding, (n, 1, 1, length)."""
        there = self._node("Cast", ["attention_mask"], to=self._onnx.TensorProto.FLOAT)
        away = self._node("Sub", [there, self._constant("one", np.array(1, np.float32))])
        far = self._node("Mul", [away, self._constant("far", np.array(1e9, np.float32))])
        return self._node("Unsqueeze", [far, self._ints(1, 2)])

    def _pooled(self, state: str) -> str:
        """Return the mean over tokens, of length one."""
        there = self._node("Cast", ["attention_mask"], to=self._onnx.TensorProto.FLOAT)
        weights = self._node("Unsqueeze", [there, self._ints(2)])
        total = self._node("ReduceSum", [self._node("Mul", [state, weights]), self._ints(1)], keepdims=0)
        mean = self._node("Div", [total, self._node("ReduceSum", [there, self._ints(1)], keepdims=1)])
        return self._node("Div", [mean, self._node("ReduceL2", [mean], axes=[1], keepdims=1)])

    def _linear(self, state: str, name: str) -> str:
        turned = self._constant(f"{name}.turned", np.ascontiguousarray(self._weights[f"{name}.weight"].T))
        return self._node("Add", [self._node("MatMul", [state, turned]), self._weight(f"{name}.bias")])

    def _gelu(self, state: str) -> str:
        root, one = (self._constant(f"gelu{n}", np.array(n, np.float32)) for n in (2**-0.5, 1.0))
        error = self._node("Erf", [self._node("Mul", [state, root])])
        half = self._constant("half", np.array(0.5, np.float32))
        return self._node("Mul", [self._node("Mul", [state, self._node("Add", [error, one])]), half])

    def _normed(self, state: str, name: str) -> str:
        inputs = [state, self._weight(f"{name}.weight"), self._weight(f"{name}.bias")]
        return self._node("LayerNormalization", inputs, axis=-1, epsilon=float(self._config["layer_norm_eps"]))

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _ints(self, *values: int) -> str:
        return self._constant("ints " + " ".join(map(str, values)), np.array(values, np.int64))

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(value, name)
        return name

    def _node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind} {len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output


def main(arguments: list[str]) -> int:
    """Build from the command line and return the exit code."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        build(Path(arguments[0]), Path(arguments[1]))
    except MarqueeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
