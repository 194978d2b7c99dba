"""ResNet18 with torchvision's parameter names and any norm: InstanceNorm is DSMIL's tile encoder.

Source: Li et al., DSMIL, CVPR 2021 (released code): torchvision's ResNet18, every norm an
InstanceNorm without parameters, no classifier. MONAI's ResNet takes its `norm` for the first layer
alone and cannot be built with a norm that has no parameters.

Legend: B images, H W pixels, C channels.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, relu

Norm = Callable[[int], nn.Module]

WIDTHS = (64, 128, 256, 512)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a residual, which is mapped where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn1 = norm(outputs)
        self.conv2 = _conv(outputs, outputs, 3, 1)
        self.bn2 = norm(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            mapped = _conv(inputs, outputs, 1, stride)
            self.downsample = nn.Sequential(mapped, norm(outputs))

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H / stride, W / stride]."""
        inner = relu(self.bn1(self.conv1(image)))
        return relu(self.bn2(self.conv2(inner)) + self.downsample(image))


class ResNet18(nn.Module):
    """Images [B, 3, H, W] to the mean of the last map, [B, 512]."""

    width = WIDTHS[-1]

    def __init__(self, norm: Norm = nn.InstanceNorm2d, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = _conv(channels, WIDTHS[0], 7, 2)
        self.bn1 = norm(WIDTHS[0])
        inputs = WIDTHS[0]
        for level, outputs in enumerate(WIDTHS):
            first = ResidualBlock(inputs, outputs, 1 if level == 0 else 2, norm)
            layer = nn.Sequential(first, ResidualBlock(outputs, outputs, 1, norm))
            self.add_module(f"layer{level + 1}", layer)
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W], sides of at least 33 pixels, to the last map [B, 512, h, w]."""
        return self.pyramid(image)[-1]

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The maps of the four layers, [B, WIDTHS[l], H / (4 * 2^l), ...] rounded up."""
        found = [max_pool2d(relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)]
        for level in range(len(WIDTHS)):
            found.append(self.get_submodule(f"layer{level + 1}")(found[-1]))
        return found[1:]

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W], sides of at least 33 pixels, to features [B, 512]."""
        return adaptive_avg_pool2d(self.maps(image), 1).flatten(1)
