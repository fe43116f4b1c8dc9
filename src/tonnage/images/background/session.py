"""ONNX Runtime, set to take little memory; one model at a time, kept while the process lives.

Measured with u2netp on random input, peak and afterwards, in MB:

==============================================================  =====  =====
ONNX Runtime's own settings, first run / later ones              340    541
neither arena nor pattern; extended optimisation                 270    190
and the allocator's thresholds low                               230     70
and no reuse of buffers: what is used here                       172     70
==============================================================  =====  =====

Reusing a buffer means that a large one, once dead, is kept for what comes later; the arena keeps
what the allocator would give back. The last row costs a tenth of the time. Twenty runs in one
process: the peak stays.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, ModelError
from tonnage.host.cpu import discover_cpus

if TYPE_CHECKING:
    from pathlib import Path

    import numpy
    import numpy.typing

    from tonnage.images.background.models import Model

    Floats = numpy.typing.NDArray[numpy.float32]

# More threads are hardly faster with models of this size.
_MOST_THREADS: Final = 2

# Of malloc.h: which setting is meant. Blocks from 64 KB on are given back as they are freed.
_TRIM_THRESHOLD: Final = (-1, 128 * 1024)
_MMAP_THRESHOLD: Final = (-3, 64 * 1024)
_ARENA_MAX: Final = (-8, 1)
_STACK_BYTES: Final = 1024 * 1024
# More than a pthread_attr_t has anywhere.
_ATTRIBUTES_BYTES: Final = 128

# Nothing is logged by ONNX Runtime but what ends the process: its errors are raised too.
_FATAL_ONLY: Final = 4
_SHORT_WORDS: Final = ("bad_alloc", "Failed to allocate memory", "Cannot allocate memory")
_SHORT: Final = "the model needs more memory than the job may have"


@dataclass(frozen=True, slots=True)
class Session:
    """A model that is loaded.

    Attributes:
        model: which.
        path: its file.
        side: width and height of its input, in pixels.
    """

    model: Model
    path: Path
    side: int
    _runner: Any
    _input: str
    _output: str

    def run(self, given: Floats) -> Floats:
        """Return the model's first output for *given*, of shape 1, 3, side, side.

        Raises:
            MemoryError: there is not enough memory.
            ModelError: it cannot be run, or what it gives is no mask.
        """
        try:
            (found,) = self._runner.run([self._output], {self._input: given})
        # Its errors have no base of their own.
        except Exception as error:
            if _is_short_of_memory(error):
                raise MemoryError(_SHORT) from error
            raise ModelError(
                f"the model {self.path} cannot be run: {_first_line(error)}"
            ) from error
        result: Floats = found
        if not _is_mask(found):
            raise ModelError(
                f"the model {self.path} gives no mask: that is numbers of shape (1, 1, height,"
                " width), none of them infinite"
            )
        return result


_loaded: Session | None = None


def session_of(model: Model, path: Path) -> Session:
    """Return *model* of the file *path*, loaded; another one that was loaded before is let go.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        ModelError: the file cannot be loaded, or does not make a mask of a picture.
        MemoryError: there is not enough memory.
    """
    global _loaded  # one for a process
    if _loaded is None or (_loaded.model, _loaded.path) != (model, path):
        _loaded = None
        _loaded = _load(model, path)
    return _loaded


def spare_memory() -> None:
    """Have this process's allocator give large blocks back at once, and threads have small stacks.

    With glibc only. Stacks are 8 MB otherwise: little of that is ever used, but all of it counts
    against what a job may allocate.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, set_default = library.mallopt, library.pthread_setattr_default_np
    except (OSError, AttributeError):
        return
    for which, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX):
        mallopt(which, value)
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    library.pthread_attr_init(attributes)
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK_BYTES))
    set_default(attributes)
    library.pthread_attr_destroy(attributes)


def _load(model: Model, path: Path) -> Session:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "onnxruntime is needed for this: pip install 'tonnage[background]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.enable_mem_reuse = False
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = min(_MOST_THREADS, discover_cpus().whole)
    options.inter_op_num_threads = 1
    # Idle threads sleep: they would take the processor from those who answer requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL_ONLY
    try:
        runner = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    # Its errors have no base of their own.
    except Exception as error:
        if _is_short_of_memory(error):
            raise MemoryError(_SHORT) from error
        raise ModelError(f"the model {path} cannot be loaded: {_first_line(error)}") from error
    return _session(model, path, runner)


def _session(model: Model, path: Path, runner: Any) -> Session:
    given = runner.get_inputs()
    shape = given[0].shape if len(given) == 1 else []
    side = model.side or (shape[-1] if len(shape) == 4 else 0)
    if not (isinstance(side, int) and side > 0 and _takes(given[0], side)):
        raise ModelError(
            f"the model {path} does not take one picture of a fixed size, 32-bit floats of shape"
            " (1, 3, side, side)"
        )
    return Session(model, path, side, runner, given[0].name, runner.get_outputs()[0].name)


def _takes(given: Any, side: int) -> bool:
    """Return whether the input *given* takes a square picture; sizes that are free have names."""
    wanted = (1, 3, side, side)
    return (
        given.type == "tensor(float)"
        and len(given.shape) == len(wanted)
        and all(
            size == right or not isinstance(size, int)
            for size, right in zip(given.shape, wanted, strict=True)
        )
    )


def _is_mask(found: Any) -> bool:
    import numpy

    return (
        isinstance(found, numpy.ndarray)
        and found.dtype.kind == "f"
        and found.ndim == 4
        and found.size > 0
        and bool(numpy.isfinite(found[0, 0]).all())
    )


def _is_short_of_memory(error: Exception) -> bool:
    """Return whether *error*, of ONNX Runtime, means that there was not enough memory."""
    return any(word in str(error) for word in _SHORT_WORDS)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
