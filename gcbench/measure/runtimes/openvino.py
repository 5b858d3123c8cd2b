"""OpenVINO, on its CPU plugin: a module as torch.export makes it, converted."""

import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gcbench.measure.runtimes.foreign import ForeignRuntime

# what OpenVINO computes in where it is asked for each
_PRECISIONS = {torch.float32: "f32", torch.float16: "f16"}


class OpenVino(ForeignRuntime):
    """It takes float64 too, and computes in float32 without a word: that is refused."""

    dtypes: ClassVar = ("float32", "float16")
    packages: ClassVar = ("openvino",)
    settings: ClassVar = {
        "INFERENCE_NUM_THREADS": "threads",
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "that of the case",
    }

    def export(self, module: nn.Module, x: Tensor) -> Any:
        """Convert what torch.export makes of a module, for the shape of `x` alone."""
        program = torch.export.export(module, (x,))
        # without its input's shape a model is dynamic, and slower
        model = silent().convert_model(program, input=[list(x.shape)])
        if model.is_dynamic():
            raise ValueError("OpenVINO makes a model of it whose shapes are not fixed")
        return model

    def files(self, artefact: Any) -> dict[str, bytes]:
        """The model, and beside it its weights, as wide as they are."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.xml"
            silent().save_model(artefact, str(path), compress_to_fp16=False)
            return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}

    def loading(self, file: str, dtype: str) -> str:
        """Compile a model; where nobody asks for a precision, some CPUs compute in bfloat16."""
        hint = {"INFERENCE_PRECISION_HINT": _PRECISIONS[getattr(torch, dtype)]}
        return f"import openvino; model = openvino.Core().compile_model({file!r}, 'CPU', {hint})"

    def load(self, artefact: Any, x: Tensor, threads: int) -> "Request":
        """Compile a model, and make a request bound to `x`."""
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[x.dtype],
        }
        return Request(_core().compile_model(artefact, "CPU", settings), x)


class Request:
    """A request of a compiled model, with input and outputs that are tensors of torch."""

    def __init__(self, compiled: Any, x: Tensor) -> None:
        """Bind `x`, and make tensors for the outputs."""
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self.outputs: Sequence[Tensor] = [
            torch.empty(tuple(output.shape), dtype=_dtype(output)) for output in compiled.outputs
        ]
        # what is bound is kept: the request has but the address
        self._kept = [_shared(tensor) for tensor in (x, *self.outputs)]
        self._request.set_input_tensor(0, self._kept[0])
        for number, tensor in enumerate(self._kept[1:]):
            self._request.set_output_tensor(number, tensor)

    def call(self) -> None:
        """Compute the outputs where they are bound; results are shared, not copied."""
        self._request.infer(share_outputs=True)


def _dtype(output: Any) -> torch.dtype:
    return torch.from_numpy(np.empty(0, output.element_type.to_dtype())).dtype


def _shared(tensor: Tensor) -> Any:
    return silent().Tensor(tensor.numpy(), shared_memory=True)


@cache
def silent() -> Any:
    """The module openvino, which sends nothing: it looks for its telemetry when it is imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def _core() -> Any:
    return silent().Core()
