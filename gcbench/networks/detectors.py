"""Detectors of torchvision, and the part of one that is measured.

Ren, He, Girshick, Sun: "Faster R-CNN", arXiv 1506.01497; He, Gkioxari, Dollar, Girshick:
"Mask R-CNN", arXiv 1703.06870; Lin et al.: "Feature Pyramid Networks", arXiv 1612.03144, whose
equation 1 gives the level that a box is pooled from.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import roi_align

from gcbench.networks.classifiers import Style, styled

# COCO's 80 and the background, as the paper has them; torchvision's own checkpoints have 91
CLASSES = 81
PROPOSALS, DETECTIONS = 1000, 100
# a box of this side is pooled from the level of stride 16
_CANONICAL_SIDE = 224
_STRIDES = (4, 8, 16, 32)

Detector = type[FasterRCNN] | type[MaskRCNN]


def mask_rcnn(
    builder: Callable[..., nn.Module], *, num_classes: int = CLASSES, style: Style = "torchvision"
) -> nn.Module:
    """Make Mask R-CNN on a FPN over a classifier's four stages."""
    return _detector(MaskRCNN, builder, num_classes, style)


def faster_rcnn(
    builder: Callable[..., nn.Module], *, num_classes: int = CLASSES, style: Style = "torchvision"
) -> nn.Module:
    """Make Faster R-CNN on a FPN over a classifier's four stages."""
    return _detector(FasterRCNN, builder, num_classes, style)


def _detector(
    kind: Detector, builder: Callable[..., nn.Module], num_classes: int, style: Style
) -> nn.Module:
    # as torchvision's own builders put it together, but around any ResNet
    body: Any = styled(builder(weights=None), style)
    widths = [body.inplanes // 8 * 2**stage for stage in range(4)]
    stages = {f"layer{stage + 1}": str(stage) for stage in range(4)}
    backbone = BackboneWithFPN(body, stages, widths, 256)
    model: nn.Module = kind(backbone, num_classes=num_classes)
    return model


def is_detector(model: nn.Module) -> bool:
    """Whether a model resizes and batches its images itself, as torchvision's detectors do."""
    return isinstance(getattr(model, "transform", None), GeneralizedRCNNTransform)


def part_of(model: nn.Module, whole: bool, batch: int, size: tuple[int, int]) -> nn.Module:
    """The part of a model that is measured on images (batch, 3, *size).

    That is all of it; of a detector its backbone with the FPN or, where `whole`, all of it on fixed
    proposals. Raises ValueError where the whole of something else is asked for.
    """
    if not is_detector(model):
        if whole:
            raise ValueError("--whole is for detectors, and this is measured whole anyway")
        return model
    if not whole:
        backbone: nn.Module = model.get_submodule("backbone")
        return backbone
    if not isinstance(model, GeneralizedRCNN):
        raise ValueError(f"--whole needs a Faster or Mask R-CNN, not a {type(model).__name__}")
    return OnFixedProposals(model, batch, size)


class OnFixedProposals(nn.Module):
    """A detector whose work does not depend on its weights: its boxes are drawn beforehand.

    The RPN's head runs, but what it proposes goes nowhere; the box head sees 1000 proposals an
    image and the mask head 100, the same for every variant. Resizing, decoding of boxes and
    non-maximum suppression are left out: what they cost depends on what a network has learnt.
    """

    def __init__(self, model: Any, batch: int, size: tuple[int, int]) -> None:
        """Draw the boxes for images (batch, 3, *size)."""
        super().__init__()
        self.model = model
        self._draw("proposals", PROPOSALS, batch, size)
        self._draw("detections", DETECTIONS, batch, size)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> objectness and offsets of each level, then scores, boxes and masks."""
        features = list(self.model.backbone(x).values())
        objectness, offsets = self.model.rpn.head(features)
        heads = self.model.roi_heads
        boxes = heads.box_head(self._pooled(features, "proposals", 7))
        scores, regressed = heads.box_predictor(boxes)
        masks = []
        if heads.has_mask():
            pooled = self._pooled(features, "detections", 14)
            masks = [heads.mask_predictor(heads.mask_head(pooled))]
        return [*objectness, *offsets, scores, regressed, *masks]

    def _draw(self, name: str, number: int, batch: int, size: tuple[int, int]) -> None:
        for level, rois in enumerate(fixed_boxes(number, batch, size)):
            self.register_buffer(f"{name}_{level}", rois, persistent=False)

    def _pooled(self, features: list[Tensor], name: str, side: int) -> Tensor:
        """Pool every box from its level: (boxes, 256, side, side)."""
        return torch.cat(
            [
                roi_align(features[level], getattr(self, f"{name}_{level}"), side, 1 / stride, 2)
                for level, stride in enumerate(_STRIDES)
            ]
        )


def fixed_boxes(number: int, batch: int, size: tuple[int, int]) -> list[Tensor]:
    """Draw `number` boxes in each image: (boxes of a level, 5) for each of the FPN's four levels.

    Sides are log-uniform from 16 pixels to the image's, a row is (image, x1, y1, x2, y2), and the
    numbers are always the same for the same arguments.
    """
    drawn = torch.Generator(device="cpu").manual_seed(0)
    height, width = size
    limits = torch.tensor([width, height], dtype=torch.float32, device="cpu")
    u = torch.rand(batch * number, 2, 2, generator=drawn, device="cpu")
    sides = torch.minimum(16 * (max(size) / 16) ** u[:, 0], limits)
    corners = u[:, 1] * (limits - sides)
    image = torch.arange(batch, device="cpu").repeat_interleave(number).unsqueeze(1)
    rois = torch.cat([image.float(), corners, corners + sides], dim=1)
    level = (math.log2(16 / 4) + (sides.prod(1).sqrt() / _CANONICAL_SIDE).log2()).floor()
    level = level.clamp(0, len(_STRIDES) - 1)
    return [rois[level == each] for each in range(len(_STRIDES))]
