"""ONNX Runtime, on its CPU provider: a module exported to ONNX by torch's exporter."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcbench.measure.runtimes.foreign import ForeignRuntime

# what ONNX Runtime calls the elements of a tensor
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
_ELEMENTS = {torch.float32: 1, torch.float16: 10}
_ERRORS_ALONE = 3


class OnnxRuntime(ForeignRuntime):
    """Threads are those of a pool of its own, which rests between calls; there is no float64."""

    dtypes: ClassVar = ("float32", "float16")
    packages: ClassVar = ("onnxruntime", "onnxscript", "onnx")
    settings: ClassVar = {
        "providers": "CPUExecutionProvider",
        "intra_op_num_threads": "threads",
        "inter_op_num_threads": "1",
        "session.force_spinning_stop": "1",
    }

    def export(self, module: nn.Module, x: Tensor) -> bytes:
        """Make a model in ONNX, for the shape of `x` alone."""
        program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
        assert program
        model: bytes = program.model_proto.SerializeToString()
        return model

    def files(self, artefact: bytes) -> dict[str, bytes]:
        """The model, with its weights inside."""
        return {".onnx": artefact}

    def loading(self, file: str, dtype: str) -> str:
        """Make a session, with threads as ONNX Runtime has them."""
        return f"import onnxruntime; session = onnxruntime.InferenceSession({file!r})"

    def load(self, artefact: bytes, x: Tensor, threads: int) -> "Session":
        """Make a session of a model, bound to `x`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ALONE
        options.add_session_config_entry("session.force_spinning_stop", "1")
        providers = [self.settings["providers"]]
        return Session(onnxruntime.InferenceSession(artefact, options, providers), x)


class Session:
    """A session with its input and outputs bound to tensors of torch, where those lie."""

    def __init__(self, session: Any, x: Tensor) -> None:
        """Bind `x`, and make tensors for the outputs."""
        self._session, self._x = session, x
        self._binding = session.io_binding()
        [given] = session.get_inputs()
        self._bind(self._binding.bind_input, given.name, x)
        found = session.get_outputs()
        self.outputs: Sequence[Tensor] = [
            torch.empty(output.shape, dtype=_DTYPES[output.type]) for output in found
        ]
        for output, tensor in zip(found, self.outputs, strict=True):
            self._bind(self._binding.bind_output, output.name, tensor)

    def _bind(self, bind: Any, name: str, tensor: Tensor) -> None:
        element = _ELEMENTS[tensor.dtype]
        bind(name, "cpu", 0, element, list(tensor.shape), tensor.data_ptr())

    def call(self) -> None:
        """Compute the outputs."""
        self._session.run_with_iobinding(self._binding)
