"""What Non-local blocks of 1x1 convolutions have in common, whoever wrote them."""

from collections.abc import Callable, Iterator

from torch import Tensor

from gcbench.attention.calls import Call, Grid

NO_SUM = "its rows do not sum to 1"
NO_DISTRIBUTION = {
    "dot_product": f"dot_product has no softmax: {NO_SUM}, and may be negative",
    "concatenation": f"concatenation has no softmax: {NO_SUM}",
}


def calls(
    x: Tensor,
    output: Tensor,
    theta: Tensor,
    g: Tensor,
    key_grid: Grid,
    weigh: Callable[[Tensor, int], Tensor],
    project: Callable[[Tensor, int, Tensor], Tensor],
) -> Iterator[Call]:
    """Make a call for each image of x (B, C, H, W) -> output of that shape.

    theta is (B, d, N) and g (B, d, K); `weigh` makes rows (1, n, K) of part of an image's theta,
    (1, d, n), and the image's number; `project` maps (1, d, n, 1) -> (1, C, n, 1), the block's last
    layers, and gets the image's number and the n positions too.
    """
    height, width = x.shape[2:]
    for image in range(x.shape[0]):

        def rows(at: Tensor, image: int = image) -> Tensor:
            return weigh(theta[image : image + 1, :, at.to(theta.device)], image)

        def replay(rows: Tensor, at: Tensor, image: int = image) -> Tensor:
            y = (rows[0].to(g.dtype) @ g[image].T).T  # (d, n)
            return project(y[None, :, :, None], image, at)[0, :, :, 0].T

        before = x[image].flatten(1).T
        yield Call(
            inputs=before,
            added=output[image].flatten(1).T - before,
            keys=g.shape[2],
            heads=1,
            rows=rows,
            replay=replay,
            query_grid=(height, width),
            key_grid=key_grid,
        )
