"""What libraries ship: timm's classes of attention, torchvision's classifiers with their counts."""

import torch
from torch import nn
from torchvision import models

MAP, TOKENS = (2, 64, 14, 14), (2, 49, 64)
# timm's classes of attention: what makes one, and the input that it takes
TIMM = {
    "Attention": ({"dim": 64}, TOKENS),
    "Attention2d": ({"dim": 64}, MAP),
    "AttentionPool2d": ({"in_features": 64, "feat_size": 14}, MAP),
    "AttentionPoolLatent": ({"in_features": 64}, TOKENS),
    "AttentionPoolPrr": ({"dim": 64}, TOKENS),
    "AttentionRope": ({"dim": 64}, TOKENS),
    "BatNonLocalAttn": ({"in_channels": 64}, MAP),
    "CircularEfficientChannelAttn": ({"channels": 64}, MAP),
    "DiffAttention": ({"dim": 64}, TOKENS),
    "EfficientChannelAttn": ({"channels": 64}, MAP),
    "MultiQueryAttention2d": ({"dim": 64}, MAP),
    "MultiQueryAttentionV2": ({"dim": 64}, MAP),
    "NonLocalAttn": ({"in_channels": 64}, MAP),
    "RotAttentionPool2d": ({"in_features": 64, "ref_feat_size": 14}, MAP),
    "SplitAttn": ({"in_channels": 64}, MAP),
}

CLASSIFIERS = models.list_models(module=models)
# how a model is made so that it has what its metadata tells
OPTIONS = {
    # trained at 518 x 518
    "vit_h_14": {"image_size": 518},
    # parameters are told without the heads that training alone has
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"init_weights": False},
}


def attention(name: str) -> nn.Module:
    """One of timm's classes of attention."""
    from timm import layers

    made: nn.Module = getattr(layers, name)(**TIMM[name][0])
    return made


def classifier(name: str, device: str = "cpu") -> nn.Module:
    """A classifier of torchvision's, weights drawn."""
    options = OPTIONS.get(name, {})
    try:
        with torch.device(device):
            made: nn.Module = models.get_model(name, weights=None, **options)
    except NotImplementedError:
        # a constructor that computes with numbers, as RegNet's
        made = models.get_model(name, weights=None, **options)
    return made


def told(name: str) -> tuple[int, int, float]:
    """Side of the images, parameters and GMACs of a classifier, as its metadata tells."""
    weights = models.get_model_weights(name).DEFAULT
    side = weights.transforms().crop_size
    side = side[0] if isinstance(side, list | tuple) else side
    return side, weights.meta["num_params"], weights.meta["_ops"]
