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

from gcbench.errors import told
from gcbench.networks.classifiers import Style, styled
from gcbench.tensors import on_meta

# COCO's 80 and the background, as the paper has them; torchvision's own checkpoints have 91
CLASSES = 81
PROPOSALS, DETECTIONS = 1000, 100
# a box of this side is pooled from the level of stride 16
_CANONICAL_SIDE = 224
_STRIDES = (4, 8, 16, 32)
# what a FPN over a ResNet's four stages calls its levels, and whose strides those are
_FPN_LEVELS = ["0", "1", "2", "3"]
_FPN_STAGES = {f"layer{stage + 1}": str(stage) for stage in range(4)}

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
    backbone = BackboneWithFPN(body, dict(_FPN_STAGES), widths, 256)
    model: nn.Module = kind(backbone, num_classes=num_classes)
    return model


def is_detector(model: nn.Module) -> bool:
    """Whether a model resizes and batches its images itself, as torchvision's detectors do."""
    return isinstance(getattr(model, "transform", None), GeneralizedRCNNTransform)


def part_of(model: nn.Module, whole: bool | None, batch: int, size: tuple[int, int]) -> nn.Module:
    """The part of a model that is measured on images (batch, 3, *size).

    That is all of it; of a detector its backbone with the FPN or, where `whole`, all of it that
    does not depend on what it has learnt. With None it is the most that there is. Raises ValueError
    where the whole of something else is asked for.
    """
    if not is_detector(model):
        if whole:
            raise ValueError("--whole is for detectors, and this is measured whole anyway")
        return model
    if whole is False:
        backbone: nn.Module = model.get_submodule("backbone")
        return backbone
    if isinstance(model, GeneralizedRCNN) and hasattr(model, "roi_heads"):
        return OnFixedProposals(model, batch, size)
    if hasattr(model, "head"):
        return WithHead(model)
    if whole:
        raise ValueError(f"--whole knows no {type(model).__name__}, whose heads have other names")
    return model.get_submodule("backbone")


class WithHead(nn.Module):
    """A detector of one stage, less anchors, decoding of boxes and non-maximum suppression.

    RetinaNet, FCOS and SSD have one head over all levels of their features.
    """

    def __init__(self, model: Any) -> None:
        """Take a detector with a `backbone` and a `head`."""
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> what the head gives for all levels together."""
        output: dict[str, Tensor] = self.model.head(_levels(self.model.backbone(x)))
        return output


class OnFixedProposals(nn.Module):
    """A detector whose work does not depend on its weights: its boxes are drawn beforehand.

    The RPN's head runs, but what it proposes goes nowhere; the box head sees 1000 proposals an
    image, and the heads of masks and keypoints 100, the same for every variant. Resizing, decoding
    of boxes and non-maximum suppression are left out: what they cost depends on what a network has
    learnt.
    """

    def __init__(self, model: Any, batch: int, size: tuple[int, int]) -> None:
        """Draw the boxes for images (batch, 3, *size)."""
        super().__init__()
        self.model = model
        self.levels = list(model.roi_heads.box_roi_pool.featmap_names)
        self.strides = _strides(model, self.levels, size)
        self._draw("proposals", PROPOSALS, batch, size)
        self._draw("detections", DETECTIONS, batch, size)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> objectness and offsets of each level, then what each head gives."""
        features = self.model.backbone(x)
        features = features if isinstance(features, dict) else {"0": features}
        objectness, offsets = self.model.rpn.head(list(features.values()))
        heads = self.model.roi_heads
        pooled = self._pooled(features, "proposals", heads.box_roi_pool)
        scores, regressed = heads.box_predictor(heads.box_head(pooled))
        found = [*objectness, *offsets, scores, regressed]
        if heads.has_mask():
            pooled = self._pooled(features, "detections", heads.mask_roi_pool)
            found.append(heads.mask_predictor(heads.mask_head(pooled)))
        if heads.has_keypoint():
            pooled = self._pooled(features, "detections", heads.keypoint_roi_pool)
            found.append(heads.keypoint_predictor(heads.keypoint_head(pooled)))
        return found

    def _draw(self, name: str, number: int, batch: int, size: tuple[int, int]) -> None:
        for level, rois in enumerate(fixed_boxes(number, batch, size, self.strides)):
            self.register_buffer(f"{name}_{level}", rois, persistent=False)

    def _pooled(self, features: dict[str, Tensor], name: str, pool: Any) -> Tensor:
        """Pool every box from its level: (boxes, channels, *the pool's size)."""
        return torch.cat(
            [
                roi_align(
                    features[level],
                    getattr(self, f"{name}_{number}"),
                    pool.output_size,
                    1 / stride,
                    pool.sampling_ratio,
                )
                for number, (level, stride) in enumerate(
                    zip(self.levels, self.strides, strict=True)
                )
            ]
        )


def _levels(features: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features.values())


def _strides(model: Any, names: list[str], size: tuple[int, int]) -> tuple[int, ...]:
    """How far apart the positions of each level lie, in pixels: a power of two, as pools have it.

    Levels that the features lack are left out of `names`.
    """
    if names == _FPN_LEVELS and isinstance(getattr(model.backbone, "body", None), nn.Module):
        body = model.backbone.body
        if getattr(body, "return_layers", None) == _FPN_STAGES:
            return _STRIDES
    backbone = on_meta(model.backbone).eval()
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(1, 3, *size, device="meta"))
    except Exception as error:  # a backbone may raise anything
        raise ValueError(f"--whole: its backbone cannot be called: {told(error)}") from error
    features = features if isinstance(features, dict) else {"0": features}
    names[:] = [name for name in names if name in features]
    return tuple(2 ** round(math.log2(size[0] / features[name].shape[-2])) for name in names)


def fixed_boxes(
    number: int, batch: int, size: tuple[int, int], strides: tuple[int, ...] = _STRIDES
) -> list[Tensor]:
    """Draw `number` boxes in each image: (boxes of a level, 5) for each of the levels.

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
    level = (math.log2(16) + (sides.prod(1).sqrt() / _CANONICAL_SIDE).log2()).floor()
    level = level.clamp(math.log2(strides[0]), math.log2(strides[-1])) - math.log2(strides[0])
    return [rois[level == each] for each in range(len(strides))]
