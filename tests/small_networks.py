"""Small networks of the families that are in use, with random weights and without biases."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def random_network(architecture: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = architecture().double().eval()
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
        if isinstance(norm, nn.BatchNorm2d):  # without shift
            assert norm.running_var is not None
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        z: Tensor = F.relu(y + self.shortcut(x))
        return z


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 1, 1, bias=False)
        self.blocks = nn.Sequential(ResidualBlock(6, 6, 1), ResidualBlock(6, 8, 2))
        self.head = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        logits: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return logits


class TransformerLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.projection = (
            nn.Linear(width, 3 * width, bias=False),
            nn.Linear(width, width, bias=False),
        )
        self.up, self.down = nn.Linear(width, 2 * width, bias=False), nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, D / heads) each
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, D)
        x = x + self.projection(attended)
        z: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return z


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4, bias=False)
        self.class_token = nn.Parameter(torch.randn(1, 1, 8))
        self.layers = nn.Sequential(TransformerLayer(8, 2), TransformerLayer(8, 2))
        self.norm, self.head = nn.LayerNorm(8, bias=False), nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)  # (B, T, D)
        tokens = torch.cat((self.class_token.expand(tokens.shape[0], -1, -1), tokens), 1)
        logits: Tensor = self.head(self.norm(self.layers(tokens))[:, 0])
        return logits


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.LayerNorm(channels, bias=False)
        self.up = nn.Linear(channels, 4 * channels, bias=False)
        self.down = nn.Linear(4 * channels, channels, bias=False)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))  # (B, H, W, C)
        z: Tensor = x + (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)
        return z


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4, bias=False)
        self.blocks = nn.Sequential(ConvNeXtBlock(6), ConvNeXtBlock(6))
        self.norm, self.head = nn.LayerNorm(6, bias=False), nn.Linear(6, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(self.stem(x)).mean((2, 3))))
        return logits


class SqueezeExcitation(nn.Module):
    """A dense block, of concatenations, whose channels are gated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.Conv2d(8, 5, 3, 1, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.squeeze, self.excite = nn.Conv2d(10, 2, 1, bias=False), nn.Conv2d(2, 10, 1, bias=False)
        self.head = nn.Linear(10, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.first(x))
        y = torch.cat((y, F.silu(self.second(torch.cat((y, self.pool(x)), 1)))), 1)  # (B, 10, H / 2, W / 2)
        gates = torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        logits: Tensor = self.head((y * gates).mean((2, 3)))
        return logits
