"""ResNet-50 with torchvision's parameter names, for any number of channels and norm.

Source: He et al., CVPR 2016; stride in the 3 x 3 convolution, as torchvision has it. MONAI's ResNet
takes its `norm` for the first layer alone.

Legend: B images, C channels, H W pixels.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

Norm = Callable[[int], nn.Module]

DEPTHS = (3, 4, 6, 3)
EXPANSION = 4
STEM = 64


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution and a residual, which is mapped where the size changes."""

    def __init__(self, inputs: int, inner: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = EXPANSION * inner
        self.conv1, self.bn1 = _conv(inputs, inner, 1), norm(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3, stride), norm(inner)
        self.conv3, self.bn3 = _conv(inner, outputs, 1), norm(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), norm(outputs))

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H / stride, W / stride]."""
        found = relu(self.bn1(self.conv1(image)))
        found = relu(self.bn2(self.conv2(found)))
        return relu(self.bn3(self.conv3(found)) + self.downsample(image))


class ResNet50(nn.Module):
    """Images [B, C, H, W] to the maps of the stem and of the four layers."""

    widths = (STEM, *(STEM * EXPANSION * 2**level for level in range(len(DEPTHS))))
    strides = (2, 4, 8, 16, 32)

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, STEM, 7, 2), norm(STEM)
        inputs = STEM
        for level, depth in enumerate(DEPTHS):
            inner = STEM * 2**level
            blocks = [Bottleneck(inputs, inner, 1 if level == 0 else 2, norm)]
            inputs = EXPANSION * inner
            blocks += [Bottleneck(inputs, inner, 1, norm) for _ in range(depth - 1)]
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, image: Tensor) -> list[Tensor]:
        """[B, widths[l], H / strides[l], W / strides[l]] for each level l, rounded up."""
        found = [relu(self.bn1(self.conv1(image)))]
        below = max_pool2d(found[0], 3, stride=2, padding=1)
        for level in range(len(DEPTHS)):
            below = self.get_submodule(f"layer{level + 1}")(below)
            found.append(below)
        return found

    def layers(self) -> list[list[nn.Module]]:
        """The stem, then one layer a level."""
        names = [f"layer{level + 1}" for level in range(len(DEPTHS))]
        return [[self.conv1, self.bn1], *([self.get_submodule(name)] for name in names)]
