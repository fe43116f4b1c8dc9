"""A model of a few bytes, made here: what is bright is in front."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.missing import give_up

from tonnage.images.background import places
from tonnage.images.background.models import DEFAULT, model_of

SIDE = 64


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX file with the inputs and outputs of U2-Net's, and one convolution in it."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("Conv", ["input.1", "weight", "bias"], ["sum"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["sum"], ["mask"]),
        helper.make_node("Neg", ["mask"], ["another"]),
    ]
    shape = [1, 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, SIDE, SIDE])
            for name in ("mask", "another")
        ],
        [
            helper.make_tensor("weight", TensorProto.FLOAT, [1, 3, 1, 1], [4.0, 4.0, 4.0]),
            helper.make_tensor("bias", TensorProto.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    path = tmp_path_factory.mktemp("model") / "bright.onnx"
    save(model, path)
    return path


@pytest.fixture(scope="session", autouse=True)
def installed() -> Path | None:
    """Return the file of the real u2netp, before any test looks for models elsewhere."""
    return places.find(model_of(DEFAULT))


@pytest.fixture
def u2netp(installed: Path | None) -> Path:
    """Return the file of the real u2netp; make test installs it."""
    if installed is None:
        give_up(f"the model {DEFAULT}", "run tonnage models install")
    return installed


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory that models are looked for in."""
    for name in ("TONNAGE_MODELS_DIR", "U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "models"
    directory.mkdir()
    monkeypatch.setenv("TONNAGE_MODELS_DIR", os.fspath(directory))
    return directory
