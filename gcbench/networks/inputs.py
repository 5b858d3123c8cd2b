"""What a network is called on, as it is written: shapes, or a function that makes tensors."""

import re
from collections.abc import Sequence

from gcbench.errors import UsageError
from gcbench.spec.cases import LARGEST

Sides = tuple[int, ...]

_SIDES = re.compile(r"[0-9]{1,10}(x[0-9]{1,10})*")
_FUNCTION = re.compile(r"[\w.]+:\w+")
# images of a batch and of channels have one side at least
LEAST_SIDES = 3


def read(texts: Sequence[str]) -> tuple[tuple[Sides, ...], str | None]:
    """Read inputs: the shape of each, the images first, or the function that makes all of them.

    Raises UsageError, which says what is allowed.

    >>> read(["1x3x64x64", "1x10"]), read(["my.module:make_inputs"])
    ((((1, 3, 64, 64), (1, 10)), None), ((), 'my.module:make_inputs'))
    """
    if len(texts) == 1 and _FUNCTION.fullmatch(texts[0]):
        return (), texts[0]
    shapes = tuple(map(_shape, texts))
    if shapes and len(shapes[0]) < LEAST_SIDES:
        raise UsageError(
            f"--input {texts[0]}: the first are the images, (B, C, H, W) or another shape of at "
            f"least {LEAST_SIDES} sides"
        )
    return shapes, None


def _shape(text: str) -> Sides:
    sides = tuple(map(int, text.split("x"))) if _SIDES.fullmatch(text) else (0,)
    if not all(1 <= side <= LARGEST for side in sides):
        raise UsageError(
            "--input takes a shape such as 1x1x64x64, once for each tensor that the network takes, "
            f"or one function that makes them all, such as my.module:make_inputs, not {text!r}"
        )
    return sides
