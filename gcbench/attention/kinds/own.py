"""A block of anybody's that has a method `attention_map`, which gives the map for an input.

It is called with what `forward` was called with and returns (B, heads, N, K) or (B, N, K): for each
of N queries its shares of K keys, which sum to 1. That the block uses this map is the word of its
author: nothing here computes its output again.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.attention.calls import Call, Grid
from gcbench.attention.kinds import METHOD


def calls(module: nn.Module, arguments: dict[str, Any], output: Any) -> Iterator[Call]:
    """Make a call for each image or sequence. Raises ValueError where the map is none."""
    x, given = arguments["given"][0], output[0] if isinstance(output, tuple) else output
    maps = _maps(module, arguments)
    before, after = _tokens(x), _tokens(given)
    if maps.shape[0] != before.shape[0] or maps.shape[2] != before.shape[1]:
        raise ValueError(
            f"{METHOD} returns {tuple(maps.shape)} for {tuple(before.shape)}: it is to be "
            "(B, heads, N, K) with N queries"
        )
    grid = _grid(x)
    keys = maps.shape[3]
    for image in range(before.shape[0]):

        def rows(at: Tensor, whole: Tensor = maps[image]) -> Tensor:
            return whole[:, at.to(whole.device)]

        yield Call(
            inputs=before[image],
            added=after[image] - before[image],
            keys=keys,
            heads=maps.shape[1],
            rows=rows,
            replay=None,
            query_grid=grid,
            key_grid=grid if grid and keys == grid[0] * grid[1] else None,
        )


def _maps(module: Any, arguments: dict[str, Any]) -> Tensor:
    found = getattr(module, METHOD)(*arguments["given"], **arguments["by_name"])
    if not isinstance(found, Tensor) or found.ndim not in (3, 4):
        raise ValueError(f"{METHOD} is to return a tensor (B, heads, N, K) or (B, N, K)")
    sums = found.double().sum(-1)
    if bool((found < 0).any()) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        raise ValueError(f"{METHOD} is to return shares: each row from 0 up, with a sum of 1")
    return found if found.ndim == 4 else found.unsqueeze(1)


def _tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) or (B, N, C) -> (B, N, C)."""
    return x.flatten(2).transpose(1, 2) if x.ndim == 4 else x


def _grid(x: Tensor) -> Grid | None:
    return (x.shape[2], x.shape[3]) if x.ndim == 4 else None


def map_bytes(module: nn.Module, arguments: dict[str, Any]) -> int:
    """What its method takes is not known before it is called."""
    return 0


def detail(module: nn.Module) -> str:
    """Its class."""
    return type(module).__name__


def no_distribution(module: nn.Module) -> str | None:
    """Rows that are none are refused when the block is called."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It takes (B, C, H, W) or tokens, as it was called."""
    return module
