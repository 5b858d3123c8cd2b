"""Networks as people bring them to `gcbench network`, small: each stands for a kind.

`body` gives 64 channels at a quarter of the images' size.
"""

from dataclasses import dataclass

import torch
from torch import nn

import gcbench


class Net(nn.Module):
    """The plain kind."""

    def __init__(self, in_channels=3, width=32):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.body = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU()
        )
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class Schedule(Net):
    """Its constructor reads numbers from a tensor, as stochastic depth is often written."""

    def __init__(self, depth=4, rate=0.1):
        super().__init__()
        self.rates = [x.item() for x in torch.linspace(0, rate, depth)]
        self.tail = nn.Sequential(*(nn.Dropout(rate) for rate in self.rates))


class Lists(Net):
    """Reads numbers in two other ways."""

    def __init__(self):
        super().__init__()
        self.widths = (torch.arange(4) * 8).tolist()
        self.rates = torch.linspace(0, 0.1, 4).numpy()


class PlainAttribute(Net):
    """Keeps a tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(1, 3, 1, 1)

    def forward(self, x):
        return super().forward(x - self.mean)


class Literal(Net):
    """Makes a tensor in forward without naming a device, before the place."""

    def forward(self, x):
        return super().forward(x - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))


class Behind(Net):
    """Makes one behind the place."""

    def forward(self, x):
        return super().forward(x) * torch.arange(10.0)


class ChannelsLast(nn.Module):
    """Its stages carry (B, H, W, C): a block behind `stage` has 48 channels."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 48, 4, 4)
        self.stage = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48))
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.stage(self.patch(x).permute(0, 2, 3, 1)).mean((1, 2)))


class Opaque(nn.Module):
    """Keeps channels last in a module that says nothing of it, and takes one size alone."""

    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(16, 48))

        def forward(self, x):
            return x * self.weight

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 48, 4, 4)
        self.mix = self.Mix()

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2).reshape(1, 16, 16, 48)
        return self.mix(tokens).mean()


class Grey(Net):
    """Takes one channel: a scan, not a photograph."""

    def __init__(self):
        super().__init__(in_channels=1)


class Recalibrated(Net):
    """Has a block of its own at `body.3`."""

    def __init__(self):
        super().__init__()
        self.body.append(gcbench.build("se", channels=64))


class Volume(nn.Module):
    """Takes volumes (B, C, D, H, W)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 32, 3, 2, 1)
        self.body = nn.Sequential(nn.Conv3d(32, 64, 3, 2, 1), nn.BatchNorm3d(64), nn.ReLU())

    def forward(self, x):
        return self.body(self.stem(x)).mean((2, 3, 4))


class Scale(nn.Module):
    """A block that takes any number of dimensions."""

    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x):
        gate = self.fc(x.flatten(2).mean(2)).sigmoid()
        return x * gate[(..., *[None] * (x.ndim - 2))]


class Pair(Net):
    """Takes an image and a vector."""

    def forward(self, x, bias):
        return super().forward(x) + bias


class Named(Net):
    """Takes an image and a list of tokens, by name, and gives a dataclass."""

    @dataclass
    class Output:
        logits: torch.Tensor
        words: dict

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 10)

    def forward(self, *, tokens, image, scale):
        words = self.words(tokens).mean(1)
        return self.Output(scale * super().forward(image) + words, {"words": words})


def named_inputs():
    """What `Named` takes."""
    return {"tokens": torch.tensor([[1, 6, 3]]), "image": torch.rand(1, 3, 64, 64), "scale": 2.0}


class OneByOne(Net):
    """Takes a list of images (C, H, W) of different sizes, as detectors do."""

    def forward(self, images):
        return {"loss": sum(Net.forward(self, image[None]).sum() for image in images)}


def two_images():
    """What `OneByOne` takes: one argument."""
    return ([torch.rand(3, 64, 64), torch.rand(3, 64, 32)],)


def no_images():
    """Tokens alone."""
    return torch.tensor([[1, 2, 3]])


class Frames(Net):
    """Looks at each frame of (B, T, C, H, W), then along time."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(64, 10, batch_first=True)

    def forward(self, x):
        frames = self.body(self.stem(x.flatten(0, 1))).mean((2, 3))
        return self.lstm(frames.unflatten(0, x.shape[:2]))[0]


class Shared(Net):
    """Calls one module by two names, and uses another without calling it."""

    def __init__(self):
        super().__init__()
        self.again = self.body
        self.mix = nn.Conv2d(64, 64, 1, bias=False)

    def forward(self, x):
        x = self.again(self.stem(x))
        return self.fc(nn.functional.conv2d(x, self.mix.weight).mean((2, 3)))


class Decoder(nn.Module):
    """Makes its decoder first, which takes other channels than images have; gives a dict."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(64, 8, 2, 2)
        self.encoder = Net(in_channels=2)

    def forward(self, x):
        return {"masks": [self.up(self.encoder.body(self.encoder.stem(x)))]}


class Iterated(Net):
    """Goes through the layers of its body itself, and reads a weight of its stem."""

    def forward(self, x):
        x = self.stem[0](x) * self.stem[0].weight.mean()
        for layer in self.body:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class Trained(Net):
    """Has a head that is called in training mode alone."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Conv2d(64, 64, 1)

    def forward(self, x):
        x = self.body(self.stem(x))
        main = self.fc(x.mean((2, 3)))
        return (main, self.auxiliary(x)) if self.training else main
