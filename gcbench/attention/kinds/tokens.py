"""What attention over tokens has in common, whoever wrote it."""

from collections.abc import Callable

from torch import Tensor, nn


class OverTokens(nn.Module):
    """Attention of every position to all, as a block: it adds what the module gives."""

    def __init__(self, attention: nn.Module, attend: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """Take the module, and how it maps (B, N, C) to (B, N, C)."""
        super().__init__()
        self.attention, self.attend = attention, attend

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        added = self.attend(self.attention, x.flatten(2).transpose(1, 2))
        return x + added.transpose(1, 2).reshape(x.shape)
