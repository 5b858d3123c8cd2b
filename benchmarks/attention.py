"""How long is the analysis of one large map, and what memory does it take.

One Non-local block of 1024 channels at 50 x 80: 4000 queries, 16 million pairs. The bar is a
minute and 2 GB on two cores.
"""

import argparse
import resource
import time

import torch
from PIL import Image
from torch import nn

from gcbench.attention import running
from gcbench.attention.images import Photo
from gcbench.blocks.nl import NonLocal


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, nargs=2, default=(50, 80))
    options.add_argument("--channels", type=int, default=1024)
    options.add_argument("--threads", type=int, default=2)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    block = NonLocal(asked.channels)
    model = nn.Sequential(nn.Conv2d(3, asked.channels, 3, padding=1), block).eval()
    height, width = asked.size
    photo = Photo("noise", lambda: Image.effect_noise((width, height), 60).convert("RGB"))
    before_mib = _peak_mib()
    started = time.monotonic()
    seen = running.measure(
        model, "a block", running.find(model), [photo], tuple(asked.size), seed=0
    )[0]
    took_s = time.monotonic() - started
    reading = seen.readings[0]
    print(
        f"N = {seen.queries}, C = {asked.channels}, {asked.threads} threads: {took_s:.1f} s, "
        f"peak {_peak_mib():.0f} MiB ({before_mib:.0f} MiB before)"
    )
    for name, value in reading.values.items():
        print(f"  {name} {value:.6g}")
    print(f"  attention_js from {reading.js_pairs} pairs, 99 % within {reading.js_half_width:.2g}")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
