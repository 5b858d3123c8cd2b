"""What of a network is called when it is measured, and what that gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from gcbench.errors import BlockError, UsageError
from gcbench.networks.called import called
from gcbench.networks.detectors import part_of
from gcbench.networks.inserting import Put
from gcbench.spec.cases import Network


class Measured(nn.Module):
    """A network, or the part of it that is measured, with an output of one kind.

    In evaluation mode it gives every tensor of the output, so that a compiler leaves none out. In
    training mode it gives a loss, the sum of their means, so that a backward pass reaches them all.
    """

    def __init__(
        self,
        model: nn.Module,
        network: Network,
        batch: int,
        size: tuple[int, int],
        put: Sequence[Put] = (),
    ) -> None:
        """Take the part of a model that is measured on images (batch, 3, *size).

        `put` says what was put into the model. Raises UsageError where the whole of a network is
        asked for that has no parts, or what it takes beside images cannot be made.
        """
        super().__init__()
        self.put = tuple(put)
        try:
            self.network = called(part_of(model, network.whole, batch, size), network)
        except ValueError as error:
            raise UsageError(f"network {network.spec!r}: {error}") from error

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images -> every tensor of the output; in training mode a loss, a scalar."""
        outputs = tuple(_tensors(self.network(x)))
        if not self.training:
            return outputs
        means = [output.mean() for output in outputs if output.is_floating_point()]
        if not means:
            raise BlockError("the network's output holds no tensor of which a loss can be made")
        return sum(means[1:], means[0])


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for each in output.values():
            yield from _tensors(each)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for each in output:
            yield from _tensors(each)
    elif is_dataclass(output):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name))
