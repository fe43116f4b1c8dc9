"""Models of one operation, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def passing_model(
    directory: Path,
    given: str,
    shape: tuple[int, ...],
    operation: str = "Identity",
    attributes: dict[str, Any] | None = None,
) -> Path:
    """Return an ONNX file that takes *given* of *shape*, and gives what *operation* makes of it.

    Args:
        directory: where it is put.
        given: the name of a type of ONNX.
        shape: of what it takes.
        operation: an operator of ONNX; ``Reshape`` reshapes it to what it cannot become.
        attributes: of the operator.
    """
    from onnx import TensorProto, helper, save

    kind = TensorProto.DataType.Value(given)
    inputs, constants = ["input"], []
    if operation == "Reshape":
        inputs.append("form")
        constants.append(helper.make_tensor("form", TensorProto.INT64, [1], [5]))
    made = attributes["to"] if operation == "Cast" and attributes else kind
    graph = helper.make_graph(
        [helper.make_node(operation, inputs, ["mask"], **(attributes or {}))],
        "one",
        [helper.make_tensor_value_info("input", kind, list(shape))],
        [helper.make_tensor_value_info("mask", made, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    path = directory / f"{operation}-{given}.onnx"
    save(model, path)
    return path
