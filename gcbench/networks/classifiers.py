"""Classifiers of torchvision, as the table of networks makes them: never with weights.

He, Zhang, Ren, Sun: "Deep Residual Learning", arXiv 1512.03385; Xie et al.: "Aggregated Residual
Transformations" (ResNeXt), arXiv 1611.05431; Zagoruyko, Komodakis: "Wide Residual Networks", arXiv
1605.07146.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

Style = Literal["torchvision", "caffe"]


def make(
    builder: Callable[..., nn.Module], *, num_classes: int = 1000, style: Style = "torchvision"
) -> nn.Module:
    """Make a ResNet of torchvision's. `style` says which convolution of a residual block strides.

    Raises ValueError where there is no such style, or the network has no block that it changes.
    """
    return styled(builder(weights=None, num_classes=num_classes), style)


def styled(model: nn.Module, style: Style) -> nn.Module:
    """Move the stride of every residual block to where a style has it; weights keep their shapes.

    `torchvision` strides in the 3x3 convolution. `caffe` strides in the 1x1 before it, as the
    GCNet paper's ResNet-50 does, which makes the 3x3 four times as cheap there.
    """
    if style == "torchvision":
        return model
    if style != "caffe":
        raise ValueError(f"style={style} is not one of torchvision, caffe")
    blocks: list[Any] = [module for module in model.modules() if isinstance(module, Bottleneck)]
    if not blocks:
        raise ValueError("style=caffe moves a stride into a 1x1 convolution, and here is none")
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return model


def resnext101_32x4d(*, weights: None = None, num_classes: int = 1000) -> nn.Module:
    """Make the ResNeXt-101 of the GCNet paper, which torchvision's ResNet can be but does not name.

    `weights` is there as torchvision's builders have it.
    """
    model: nn.Module = ResNet(
        Bottleneck, [3, 4, 23, 3], num_classes=num_classes, groups=32, width_per_group=4
    )
    return model
