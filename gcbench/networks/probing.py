"""What the modules at some places give when a network is called as it is measured.

A copy of the network is called with a probe where each place is, so that what cannot be wrapped, or
is called by another name, shows before anything is put there. That copy has no numbers where the
network runs without, else it has them, on the CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from gcbench.errors import UsageError, told
from gcbench.networks.places import named
from gcbench.system.forked import ForkError, forked, is_known
from gcbench.tensors import copied, on_meta

T = TypeVar("T")
Sides = tuple[int, ...]
# makes of a network what is measured of it
Around = Callable[[nn.Module], nn.Module]

# the dimensions of what a block takes: (B, C, H, W), and (B, C, D, H, W) of some
DIMENSIONS = (4, 5)


@dataclass(frozen=True)
class Site:
    """What one place gives: the shape of its first output, and whether channels come last there.

    `given` is the shape of the first tensor that goes in; None where that is not one tensor alone.
    """

    shape: Sides
    last: bool
    given: Sides | None

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return self.shape[-1 if self.last else 1]

    @property
    def block_shape(self) -> Sides:
        """The shape that a block there is called on, channels second."""
        return first(self.shape) if self.last else self.shape


def first(shape: Sides) -> Sides:
    """A shape with its last dimension second."""
    return (shape[0], shape[-1], *shape[1:-1])


@dataclass(frozen=True)
class _Call:
    """One call of a place. `evidence` is what its modules say of where channels are."""

    output: Sides | str
    given: Sides | None
    evidence: bool | None


class Probe(nn.Module):
    """A module that remembers its calls."""

    def __init__(self, place: nn.Module, witness: "_Witness") -> None:
        """Stand before a module of a copy whose layers are watched."""
        super().__init__()
        self.place = place
        self.calls: list[_Call] = []
        self._witness = (witness,)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the module takes -> what it gives."""
        output = self.place(*args, **kwargs)
        alone = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        is_tensor = isinstance(output, Tensor)
        self.calls.append(
            _Call(
                tuple(output.shape) if is_tensor else f"a {type(output).__name__}",
                tuple(args[0].shape) if alone else None,
                self._witness[0].says(tuple(output.shape)) if is_tensor else None,
            )
        )
        return output


class _Witness:
    """Where channels are in tensors of some shape, by the last layer that gave one and knows."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: dict[Sides, bool] = {}
        for module in model.modules():
            # which take no hooks
            if not isinstance(module, torch.jit.ScriptModule):
                module.register_forward_hook(self._see)

    def says(self, shape: Sides) -> bool | None:
        """Whether channels come last; None where no layer says, or both would fit."""
        return self._seen.get(shape)

    def _see(self, module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in DIMENSIONS:
            shape = tuple(output.shape)
            last = _channels_last(module, shape)
            if last is not None and shape[1] != shape[-1]:
                self._seen[shape] = last


def _channels_last(module: nn.Module, shape: Sides) -> bool | None:
    """Where a layer of torch's has its channels, in an output of some shape."""
    if isinstance(module, torch.jit.ScriptModule):
        return None
    kind = type(module).forward
    if isinstance(module, _ConvNd):
        return False if module.out_channels == shape[1] else None
    if isinstance(module, _NormBase):
        return False if module.num_features == shape[1] else None
    if kind is nn.GroupNorm.forward:
        return False
    if kind is nn.LayerNorm.forward and isinstance(module, nn.LayerNorm):
        return True if tuple(module.normalized_shape) == shape[-1:] else None
    if kind is nn.Linear.forward:
        return True
    is_pool = type(module).__module__ == "torch.nn.modules.pooling"
    return False if is_pool or isinstance(module, nn.Upsample) else None


def probed(
    model: nn.Module, paths: Sequence[str], shape: Sides, around: Around, training: bool = False
) -> dict[str, Site]:
    """Tell what the modules at some paths give when what is measured is called on `shape`.

    `around` makes that of a copy of the model. In training mode it is called so too. Raises
    UsageError where one is outside of it, not reached, gives no tensor that a block takes, or
    different channels, and where it cannot be told which dimension those are.
    """
    return asked(
        model, lambda twin, device: _Asked(twin, shape, around, device).sites(paths, training)
    )


class _UncallableError(UsageError):
    """A network cannot be called on its input: on the meta device it may need numbers."""


def asked(module: nn.Module, ask: Callable[[nn.Module, str], T]) -> T:
    """Ask a copy of a module on the meta device, or on the CPU where it does not answer there.

    Code of others is asked in a copy of this process, where what it keeps does no harm.
    """
    if any(tensor.is_meta for tensor in module.parameters()):
        return ask(on_meta(module), "meta")

    def without_numbers() -> list[T] | UsageError:
        try:
            return [ask(on_meta(module), "meta")]
        except _UncallableError:
            raise
        except UsageError as refusal:
            return refusal

    try:
        found = without_numbers() if is_known(module) else forked(without_numbers)
    except (ForkError, _UncallableError):
        return ask(copied(module).to("cpu"), "cpu")
    if isinstance(found, UsageError):
        raise found
    return found[0]


class _Asked:
    """A copy of a network, called as often as the question needs."""

    def __init__(self, twin: nn.Module, shape: Sides, around: Around, device: str) -> None:
        self._twin, self._shape, self._around, self._device = twin, shape, around, device

    def sites(self, paths: Sequence[str], training: bool) -> dict[str, Site]:
        """What each path gives, the second height asked for only where layers do not say."""
        require_measured(self._twin, paths, self._around)
        probes, failure = self._pass(paths, self._shape)
        if failure is not None:
            self._require_callable(probes, failure)
        for path, probe in probes.items():
            if not probe.calls:
                self._refuse_unreached(path)
            _require_one_kind(named(self._twin, path), probe.calls)
        if training:
            self._require_reached_in_training(paths)
        last = self._axes(probes)
        found = {}
        for path, probe in probes.items():
            shape = probe.calls[0].output
            assert isinstance(shape, tuple)
            found[path] = Site(shape, last[path], probe.calls[0].given)
            _require_one_width(named(self._twin, path), probe.calls, last[path])
        return found

    def _pass(
        self, paths: Sequence[str], shape: Sides, training: bool = False
    ) -> tuple[dict[str, Probe], BaseException | None]:
        """Call what is measured, with a probe at each path; and what that raised."""
        twin = copied(self._twin)
        witness = _Witness(twin)
        probes = {}
        # what lies within another first: its path is another once that is wrapped
        for path in sorted(paths, key=lambda path: -path.count(".")):
            probes[path] = Probe(twin.get_submodule(path), witness)
            twin.set_submodule(path, probes[path])
        return {path: probes[path] for path in paths}, self._call(twin, shape, training)

    def _call(self, twin: nn.Module, shape: Sides, training: bool = False) -> BaseException | None:
        try:
            work = self._around(twin).to(self._device).train(training)
            with torch.no_grad():
                work(torch.zeros(shape, device=self._device, dtype=dtype_of(twin)))
        except (Exception, SystemExit) as error:  # a network may raise anything
            return error
        return None

    def _require_callable(self, probes: Mapping[str, Probe], failure: BaseException) -> None:
        """Raise UsageError, with whose fault it is that a pass with probes did not end.

        What fails behind all places with or without them is the row's to tell.
        """
        plain = self._call(copied(self._twin), self._shape)
        if plain is None:
            self._refuse_to_wrap(list(probes), failure)
        if not all(probe.calls for probe in probes.values()):
            raise _UncallableError(
                f"the network cannot be called on an input {times(self._shape)}: {told(plain)}"
            )

    def _refuse_unreached(self, path: str) -> NoReturn:
        """Raise UsageError, with the other names of a module that is not called by this one."""
        module = self._twin.get_submodule(path)
        every = self._twin.named_modules(remove_duplicate=False)
        others = [name for name, each in every if each is module and name != path]
        more = f"; the module there is also {' and '.join(others[:2])}" if others else ""
        raise UsageError(
            f"place {named(self._twin, path)!r} is not reached when an input {times(self._shape)} "
            f"goes through{more}"
        )

    def _refuse_to_wrap(self, paths: Sequence[str], failure: BaseException) -> NoReturn:
        """Raise UsageError, with which of the places the network does not only call."""
        for path in paths:
            _, alone = self._pass([path], self._shape)
            if alone is not None:
                where = named(self._twin, path)
                inner = [n for n, _ in self._twin.get_submodule(path).named_children()]
                hint = f"; name one of its modules, as in {where}.{inner[-1]}" if inner else ""
                raise UsageError(
                    f"place {where!r} takes no block, since the network does not only call the "
                    f"module there ({told(alone)}){hint}"
                )
        raise UsageError(f"these places take no blocks together: {told(failure)}")

    def _require_reached_in_training(self, paths: Sequence[str]) -> None:
        probes, failure = self._pass(paths, self._shape, training=True)
        # what fails there alone is told of the row, which does the same
        for path, probe in probes.items():
            if failure is None and not probe.calls:
                raise UsageError(
                    f"place {named(self._twin, path)!r} is not reached in training mode"
                )

    def _axes(self, probes: Mapping[str, Probe]) -> dict[str, bool]:
        """Whether channels come last, by path."""
        found = {path: _by_layer(probe) for path, probe in probes.items()}
        # a linear layer may also mix what a network has in its last dimension for a while
        open_ones = [path for path, last in found.items() if last is not False]
        seen = self._by_second_height(open_ones, probes) if open_ones else {}
        for path in open_ones:
            said = (seen[path], found[path], probes[path].calls[0].evidence)
            found[path] = next((last for last in said if last is not None), None)
            if found[path] is None:
                found[path] = _declared(self._twin, path)
            if found[path] is None:
                raise UsageError(
                    f"place {named(self._twin, path)!r}: the output there is of shape "
                    f"{probes[path].calls[0].output}, and which dimension holds the channels "
                    "cannot be told"
                )
        return {path: bool(last) for path, last in found.items()}

    def _by_second_height(
        self, paths: Sequence[str], probes: Mapping[str, Probe]
    ) -> dict[str, bool | None]:
        """Where channels are, by the dimension that follows the images' height."""
        # of what has but three sides the last one: a width, or a length
        side = -2 if len(self._shape) > 3 else -1
        taller = [*self._shape]
        taller[side] *= 2
        others, _ = self._pass(paths, tuple(taller))
        return {path: _by_change(probes[path].calls, others[path].calls, side) for path in paths}


def _by_layer(probe: Probe) -> bool | None:
    """What the layer itself says, where a place is one."""
    shape = probe.calls[0].output
    assert isinstance(shape, tuple)
    return _channels_last(_innermost(probe.place), shape)


def _by_change(calls: Sequence[_Call], taller: Sequence[_Call], side: int) -> bool | None:
    """Where channels are, by which dimension alone follows a side of the images."""
    if not taller:
        return None
    here, there = calls[0].output, taller[0].output
    if isinstance(here, str) or isinstance(there, str) or len(here) != len(there):
        return None
    changed = [i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b]
    if len(changed) != 1:
        return None
    return {side: False, side - 1: True}.get(changed[0] - len(here))


def _declared(model: nn.Module, path: str) -> bool | None:
    """What timm's networks say of their own outputs, nearest to a place."""
    names = path.split(".")
    for depth in range(len(names), -1, -1):
        said = str(getattr(model.get_submodule(".".join(names[:depth])), "output_fmt", ""))
        found = {"NHWC": True, "NCHW": False}.get(said.rpartition(".")[2])
        if found is not None:
            return found
    return None


def _innermost(module: nn.Module) -> nn.Module:
    return _innermost(module.place) if isinstance(module, Probe) else module


def require_measured(model: nn.Module, paths: Sequence[str], around: Around) -> None:
    """Raise UsageError where a module is outside of what is measured of a model."""
    inside = {id(module) for module in around(model).modules()}
    for path in paths:
        if id(model.get_submodule(path)) not in inside:
            raise UsageError(
                f"place {named(model, path)!r} is outside of what is measured of a detector, its "
                "backbone and FPN: measure all of it with --whole"
            )


def _require_one_kind(path: str, calls: Sequence[_Call]) -> None:
    """Raise UsageError where a place gives what no block takes."""
    for call in calls:
        if isinstance(call.output, str) or len(call.output) not in DIMENSIONS:
            what = call.output if isinstance(call.output, str) else f"of shape {call.output}"
            raise UsageError(f"place {path!r}: the output there is {what}, no (B, C, H, W) tensor")


def _require_one_width(path: str, calls: Sequence[_Call], last: bool) -> None:
    widths = {call.output[-1 if last else 1] for call in calls if isinstance(call.output, tuple)}
    if len(widths) > 1:
        told_widths = ", ".join(map(str, sorted(widths)))
        raise UsageError(f"place {path!r} is called more than once, with {told_widths} channels")


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a model's weights: the first of its floating-point parameters."""
    floating = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(floating, torch.float32)


def times(shape: Sequence[int]) -> str:
    """Write a shape: 1x3x224x224."""
    return "x".join(map(str, shape))
