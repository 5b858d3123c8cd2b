"""The Triton kernels of the fast blocks, by Triton's interpreter: no GPU is needed.

The interpreter is chosen when Triton is imported, so all of this runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", exc_type=ImportError)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the process of its own")
def test_the_kernels_compute_the_blocks_in_the_interpreter():
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(here)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=here.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


if INTERPRETED:
    import torch
    from oracles import randomise

    from gcbench.blocks import build, resolve
    from gcbench.blocks.fast import gpu, kernels

    SPECS = [
        *("gc", "gc:fusion=both", "gc:fusion=scale:norm=none", "gc:pooling=avg:relu=false"),
        *("gc:bottleneck=false:fusion=both", "se", "snl"),
    ]
    # one position, a 7x7 map, parts that are not all alike, channels that are no power of 2
    SHAPES = [(1, 6, 1, 1), (3, 20, 7, 7), (2, 5, 23, 31), (1, 3, 56, 56)]
    LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

    def pair(spec, channels):
        """The block, which is made to take the kernels, and the reference in float64."""
        ratio = 3 if resolve(spec).takes_ratio else None
        fast = randomise(build(f"{spec}:impl=fast", channels, ratio))
        plain = build(spec, channels, ratio).double()
        plain.load_state_dict(fast.state_dict())
        return fast.eval(), plain.eval()

    @pytest.fixture(autouse=True)
    def on_the_cpu(monkeypatch):
        taken = []

        def takes(x, *transforms):
            taken.append(gpu.fits(x, *transforms))
            return taken[-1]

        monkeypatch.setattr(gpu, "takes_kernels", takes)
        monkeypatch.setattr(kernels, "TILE", 512)
        return taken

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("spec", SPECS)
    @torch.no_grad()
    def test_a_block_by_kernels_is_the_reference_in_float64(spec, layout, on_the_cpu):
        for shape in SHAPES if spec == "gc" else SHAPES[1:2]:
            fast, plain = pair(spec, shape[1])
            x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            x = x.contiguous(memory_format=LAYOUTS[layout])
            for dtype, rounding in ((torch.float32, 1e-5), (torch.bfloat16, 0.03)):
                fast.to(dtype)
                # with the weights as a narrower type has them
                plain.load_state_dict(fast.state_dict())
                expected = plain(x.to(dtype).double())
                out = fast(x.to(dtype))
                assert (out.dtype, out.stride()) == (dtype, x.stride())
                error = (out.double() - expected).abs().max() / expected.abs().max()
                assert error < rounding, (shape, dtype)
        assert all(on_the_cpu)

    def within(tensor, layout):
        """A copy of a tensor amid numbers that would be seen; and what is around it."""
        room = torch.full((tensor.numel() + 4096,), float("nan"))
        inner = room[2048:-2048]
        copy = inner.as_strided(tensor.shape, tensor.stride(), inner.storage_offset())
        return copy.copy_(tensor), room

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @torch.no_grad()
    def test_nothing_outside_of_a_tensor_is_read_or_written(shape, layout):
        C = shape[1]
        x = torch.randn(shape).contiguous(memory_format=LAYOUTS[layout])
        (x, _), (z, around) = within(x, layout), within(x, layout)
        fast, _ = pair("gc", C)
        tensors = [within(tensor, layout)[0] for tensor in fast.state_dict().values()]
        fast.load_state_dict(dict(zip(fast.state_dict(), tensors, strict=True)), assign=True)
        weight = fast.conv_mask.weight
        layers = gpu.bottleneck(tuple(fast.channel_add_conv))
        parts = kernels.pooled(x, weight)
        t = kernels.transformed(parts, layers, sigmoid=False)
        kernels.fused(x, None, t, z)
        torch.testing.assert_close(z, x + t[:, :, None, None])
        assert z.isfinite().all()
        assert around[:2048].isnan().all()
        assert around[-2048:].isnan().all()

    @torch.no_grad()
    def test_parts_whose_logits_are_far_apart_are_put_together():
        x = torch.linspace(-300, 300, 900).view(1, 1, 30, 30).repeat(2, 5, 1, 1)
        parts = kernels.pooled(x, torch.ones(5))
        assert parts.peaks.shape[1] > 1
        context = kernels.combined(parts, torch.float32).flatten(1)
        shares = (5 * x[:, 0].double().flatten(1)).softmax(1)
        expected = (x.double().flatten(2) * shares[:, None]).sum(2)
        torch.testing.assert_close(context.double(), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("spec", "shape", "dtype"),
        [
            ("gc", (1, 16, 4, 4), torch.float64),
            ("gc:ratio=1", (1, 257, 2, 2), torch.float32),
            ("snl", (1, 4097, 2, 2), torch.float32),
        ],
    )
    def test_what_the_kernels_are_not_for_takes_the_plain_way(spec, shape, dtype, on_the_cpu):
        block = build(f"{spec}:impl=fast", shape[1]).to(dtype).eval()
        with torch.no_grad():
            assert block(torch.zeros(shape, dtype=dtype)).shape == shape
        assert on_the_cpu == [False]
