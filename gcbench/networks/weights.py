"""Weights from a file of the user's: tensors by name, read without running anything.

What training scripts put around a state dict is taken off by one rule: of a dict that is none
itself, the first of `WRAPPERS` that holds a dict, as often as there is one; then, where every name
begins with one of `PREFIXES` and none is a name of the network, that.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.errors import UsageError, cause

# where training scripts keep a network's weights among other things
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "network", "net", "module", "params"),
    *("state_dict_ema", "model_ema", "ema"),
)
# what DataParallel, torch.compile and trainers put before every name
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
# frozen norms, as torchvision's detectors were trained with, keep none
_COUNTER = ".num_batches_tracked"
# what torch's averaged models count beside their weights
_AVERAGED = "n_averaged"


def load(model: nn.Module, path: Path) -> None:
    """Load a state dict into a model, every name of it and no other; on meta it is only checked.

    Only the counters of batches that norms have met may be missing.

    Raises UsageError where the file is no state dict, or not one of this model.
    """
    put(model, read(path), path)


def put(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load what was read of a file, as `load` does."""
    expected = model.state_dict()
    state = _unprefixed(state, expected)
    missing = [name for name in expected if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise UsageError(f"--weights {path} is of another network: {_names(missing, unexpected)}")
    for name, tensor in expected.items():
        if name in state and state[name].shape != tensor.shape:
            raise UsageError(
                f"--weights {path} is of another network: {name} has shape "
                f"{tuple(state[name].shape)}, not {tuple(tensor.shape)}"
            )
        if name in state and not _is_taken(state[name], tensor):
            raise UsageError(
                f"--weights {path}: {name} is {_how_kept(state[name])}, which does not go into "
                f"{_how_kept(tensor)}"
            )
    if not any(tensor.is_meta for tensor in expected.values()):
        model.load_state_dict(state, strict=False)


def read(path: Path) -> dict[str, Tensor]:
    """Read a state dict; nothing but tensors and plain values is ever made of a file.

    Raises UsageError where there is no file, or it is not one of weights.
    """
    found = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    while not _is_state(found) and isinstance(found, dict):
        inner = next((found[name] for name in WRAPPERS if isinstance(found.get(name), dict)), None)
        if inner is None:
            break
        found = inner
    if not _is_state(found):
        raise UsageError(
            f"--weights {path} holds {_what(found)}, no state dict: save one with "
            "torch.save(model.state_dict(), FILE)"
        )
    state: dict[str, Tensor] = found
    return state


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # of a pickle's protocol: what cannot be read is told below
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"--weights {path}: cannot read it: {cause(error)}") from error
    except Exception as error:  # what is wrong with a file, torch tells in many ways
        raise UsageError(
            f"--weights {path} is no file of weights that can be loaded safely"
            f"{_why(error)} (torch.load, weights_only=True, raised {type(error).__name__})"
        ) from error


def _why(error: Exception) -> str:
    """What a file is that torch does not load, as far as what it raised tells."""
    if "TorchScript" in str(error):
        return ": it is a TorchScript archive; save its state_dict() instead"
    kind = re.search(r"GLOBAL ([\w.]+)", str(error))
    if kind:
        return f": it holds objects of {kind[1]}; save the network's state_dict() alone"
    return ""


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(
            f"--weights {path} needs safetensors, which is not installed: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except OSError as error:
        raise UsageError(f"--weights {path}: cannot read it: {cause(error)}") from error
    except SafetensorError as error:
        raise UsageError(f"--weights {path} is no file of safetensors: {error}") from error


def _unprefixed(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict less what stands before all of its names, where no name is of the network."""
    counters = {_AVERAGED} - expected.keys()
    state = {name: tensor for name, tensor in state.items() if name not in counters}
    for prefix in PREFIXES:
        is_before_all = bool(state) and all(name.startswith(prefix) for name in state)
        if is_before_all and not expected.keys() & state.keys():
            return _unprefixed({n.removeprefix(prefix): t for n, t in state.items()}, expected)
    return state


def _is_taken(given: Tensor, tensor: Tensor) -> bool:
    """Tell whether numbers can be copied without losing what they mean."""
    plain = given.layout == torch.strided and not given.is_meta and not given.is_quantized
    return plain and (given.is_floating_point() or not tensor.is_floating_point())


def _how_kept(tensor: Tensor) -> str:
    kept = (tensor.dtype, tensor.layout, *(["on meta"] if tensor.is_meta else []))
    return " ".join(str(each).removeprefix("torch.") for each in kept)


def _is_state(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and bool(found)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items())
    )


def _what(found: Any) -> str:
    if isinstance(found, dict) and found:
        keys = list(map(str, found))
        more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
        return f"a dict of {', '.join(keys[:4])}{more}"
    return "an empty dict" if found == {} else f"a {type(found).__name__}"


def _names(missing: list[str], unexpected: list[str]) -> str:
    said = []
    if missing:
        said.append(f"it lacks {len(missing)} tensors, such as {missing[0]}")
    if unexpected:
        said.append(f"it has {len(unexpected)} that are unknown here, such as {unexpected[0]}")
    return "; ".join(said)
