"""The Expectation-Maximisation Attention unit.

Li, Zhong, Wu, Yang, Lin, Liu: "Expectation-Maximization Attention Networks for Semantic
Segmentation", 2019, arXiv 1907.13426. K bases mu, shared by all images, are moved towards the image
in T steps; then each position is rebuilt from them:

    y = W_1 x (C x N)
    T times:  s = softmax over the K bases of y^T mu (N x K)
              mu = y (s / sum of s over positions), each basis divided by its length
    z = relu(x + BN(W_2 relu(mu s^T)))     with the last s and the last mu

Sums and lengths get 1e-6 added before they divide.

Reference code consulted: the authors', whose names of weights are kept. As there, the T steps run
without gradients, so that W_1 is never trained and stays as drawn (`untrained` names it); in
inference the bases start from the buffer. Their moving average over training stands in the
authors' training loop and is left out: forward changes nothing. For the last ReLU the block is the
identity at no start.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn


class ExpectationMaximisationAttention(nn.Module):
    """K bases fitted to the image without gradients, and each position rebuilt from them."""

    LETTERS: ClassVar = {"K": "bases", "T": "steps"}

    # no gradient comes through the steps without gradients
    untrained = ("conv1.weight", "conv1.bias")

    def __init__(self, channels: int, *, bases: int = 64, stages: int = 3) -> None:
        """Make the block for `channels` = C, with K = `bases` and T = `stages`.

        Raises ValueError where there is none of one of them.
        """
        super().__init__()
        for name, value in (("channels", channels), ("bases", bases), ("stages", stages)):
            if value < 1:
                raise ValueError(f"{name}={value} is not 1 or more")
        self.stages = stages
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.mu: Tensor
        drawn = torch.empty(1, channels, bases).normal_(0, (2 / bases) ** 0.5)
        self.register_buffer("mu", _of_length_one(drawn))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        if self.training and x.numel() == x.shape[1]:
            raise ValueError("training at B = H = W = 1 leaves the batch norm a single value")
        with torch.no_grad():
            mu, shares = self.fitted(self.conv1(x).flatten(2))
        rebuilt = torch.relu(mu @ shares.transpose(1, 2))  # (B, C, N)
        # not relu(), whose gradient needs what it returned, and a network may add to that in place
        return (x + self.conv2(rebuilt.unflatten(2, x.shape[2:]))).clamp_min(0)

    def fitted(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Fit the bases to y (B, C, N): the bases (B, C, K), and their shares (B, N, K)."""
        mu = self.mu.expand(y.shape[0], -1, -1)
        for _ in range(self.stages):
            shares = (y.transpose(1, 2) @ mu).softmax(2)
            mu = _of_length_one(y @ (shares / (1e-6 + shares.sum(1, keepdim=True))))
        return mu, shares

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "K": self.mu.shape[2], "T": self.stages}

    def closed_form(self, B: int, C: int, N: int, K: int, T: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Two convolutions of C^2 MACs at each position; each step has two products of CK there, and
        rebuilding one. Every output depends on all of x, so x is read twice and z written once,
        3 BCN elements, and the bases are read, a buffer of CK.
        """
        params = 2 * C * C + 3 * C
        macs = B * N * (2 * C * C + (2 * T + 1) * C * K)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + C * K + params}


def _of_length_one(bases: Tensor) -> Tensor:
    return bases / (1e-6 + bases.norm(dim=1, keepdim=True))
