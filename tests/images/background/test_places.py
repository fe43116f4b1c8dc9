"""Where models are found, and which are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tonnage.errors import ModelError
from tonnage.images.background import places
from tonnage.images.background.models import MODELS, Model, model_of


@pytest.mark.parametrize("layout", ["u2net.onnx", "models/u2net/u2net.onnx"])
def test_both_of_rembgs_layouts_are_understood(models_dir: Path, layout: str) -> None:
    """Where rembg has been used before, its files are used."""
    path = models_dir / layout
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert places.find(model_of("u2net")) == path


def test_rembgs_variable_and_directories_are_looked_at(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """U2NET_HOME names the directory; without any, rembg's own ones are looked at too."""
    monkeypatch.delenv("TONNAGE_MODELS_DIR")
    monkeypatch.setenv("U2NET_HOME", os.fspath(models_dir))
    assert places.directory() == models_dir
    monkeypatch.delenv("U2NET_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path))
    assert places.directory() == tmp_path / "tonnage" / "models"
    own = tmp_path / ".u2net" / "silueta.onnx"
    own.parent.mkdir()
    own.touch()
    assert places.find(model_of("silueta")) == own


def test_a_missing_model_says_how_to_get_it(models_dir: Path) -> None:
    """The small one by a command, another by hand."""
    with pytest.raises(ModelError, match=r"run tonnage models install$"):
        places.checked(model_of("u2netp"))
    with pytest.raises(ModelError, match=r"silueta\.onnx from rembg's releases.*--from FILE"):
        places.checked(model_of("silueta"))
    with pytest.raises(ModelError, match=r"there is no model /nowhere/own\.onnx"):
        places.checked(model_of("/nowhere/own.onnx"))


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_another_file_of_that_name_is_refused_whenever_it_changes(
    models_dir: Path, kind: str
) -> None:
    """It is looked at anew when its size, time or number has changed."""
    content = b"weights"
    model = Model("own", f"{kind}:{hashlib.new(kind, content).hexdigest()}", 320)
    path = models_dir / "own.onnx"
    path.write_bytes(content)
    assert places.checked(model) == path
    path.write_bytes(content + b" and more")
    with pytest.raises(ModelError, match=f"its {kind} is not"):
        places.checked(model)


def test_however_often_a_model_is_replaced_it_is_looked_at(models_dir: Path) -> None:
    """Which states of files were found right is remembered of so many."""
    path = models_dir / "own.onnx"
    for number in range(70):
        content = b"weights" * number
        model = Model("own", f"sha256:{hashlib.sha256(content).hexdigest()}", 320)
        path.write_bytes(content)
        assert places.checked(model) == path
    with pytest.raises(ModelError, match="its sha256 is not"):
        places.checked(Model("own", f"sha256:{hashlib.sha256(b'').hexdigest()}", 320))


def test_a_model_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    """Nothing is known of its bytes."""
    path = tmp_path / "own.onnx"
    path.write_bytes(b"anything")
    model = model_of(os.fspath(path))
    assert model.is_file
    assert places.checked(model) == path


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    """A typing error is seen at once."""
    with pytest.raises(ModelError, match="'u2nett' is no model: it is one of u2netp, u2net"):
        model_of("u2nett")


def test_every_model_has_a_sum() -> None:
    """None of a known name is used unchecked."""
    for model in MODELS.values():
        kind, _, digits = (model.sum or "").partition(":")
        assert len(digits) == 2 * hashlib.new(kind).digest_size
