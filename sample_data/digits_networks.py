"""The three sample networks: a PyTorch module each, and how its weights become an ONNX graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quantscope.sample_data.graph_writer import GraphWriter

CLASSES = 10
LAYER_NORM_EPSILON = 1e-5


def _values(tensor: Tensor | None) -> Any:
    assert tensor is not None
    return tensor.detach().numpy()


def _write_gemm(writer: GraphWriter, name: str, layer: nn.Linear, x: str, output: str | None = None) -> str:
    weight = writer.constant(f"{name}.weight", _values(layer.weight))
    bias = writer.constant(f"{name}.bias", _values(layer.bias))
    return writer.node("Gemm", name, x, weight, bias, output=output, transB=1)


class DigitsMlp(nn.Module):
    """784-100-100-10 with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 100)
        self.fc2 = nn.Linear(100, 100)
        self.fc3 = nn.Linear(100, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())

    def write(self, writer: GraphWriter) -> str:
        x = writer.input.name
        for name, layer in (("fc1", self.fc1), ("fc2", self.fc2)):
            x = writer.node("Relu", f"{name}.relu", _write_gemm(writer, name, layer, x))
        return _write_gemm(writer, "fc3", self.fc3, x, output="logits")


class ConvNorm(nn.Module):
    """Convolution and batch normalization, with or without ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, relu6: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu6 = relu6

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y.clamp(0.0, 6.0) if self.relu6 else y

    def write(self, writer: GraphWriter, name: str, x: str) -> str:
        conv, norm = self.conv, self.norm
        pad = conv.kernel_size[0] // 2
        x = writer.node(
            "Conv",
            name,
            x,
            writer.constant(f"{name}.weight", _values(conv.weight)),
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[pad] * 4,
            group=conv.groups,
        )
        parameters = (
            writer.constant(f"{name}.bn.{key}", _values(value))
            for key, value in (
                ("scale", norm.weight),
                ("bias", norm.bias),
                ("mean", norm.running_mean),
                ("variance", norm.running_var),
            )
        )
        x = writer.node("BatchNormalization", f"{name}.bn", x, *parameters, epsilon=norm.eps)
        if not self.relu6:
            return x
        low, high = writer.constant("relu6.min", 0.0), writer.constant("relu6.max", 6.0)
        return writer.node("Clip", f"{name}.relu6", x, low, high)


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise (3x3), project (1x1, linear), with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden, 1)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, relu6=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y

    def write(self, writer: GraphWriter, name: str, x: str) -> str:
        y = self.expand.write(writer, f"{name}.expand", x)
        y = self.depthwise.write(writer, f"{name}.depthwise", y)
        y = self.project.write(writer, f"{name}.project", y)
        return writer.node("Add", f"{name}.add", x, y) if self.shortcut else y


class DigitsMobileNet(nn.Module):
    """A small MobileNetV2 for 32x32 grey images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, 16, 3, stride=2)
        self.features = nn.ModuleList(
            [
                InvertedResidual(16, 16, expansion=2, stride=1),
                InvertedResidual(16, 24, expansion=4, stride=2),
                InvertedResidual(24, 24, expansion=4, stride=1),
                InvertedResidual(24, 32, expansion=4, stride=2),
                InvertedResidual(32, 32, expansion=4, stride=1),
            ]
        )
        self.head = ConvNorm(32, 96, 1)
        self.classifier = nn.Linear(96, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.features:
            x = block(x)
        return self.classifier(self.head(x).mean(dim=(2, 3)))

    def write(self, writer: GraphWriter) -> str:
        x = self.stem.write(writer, "stem", writer.input.name)
        for index, block in enumerate(self.features, start=1):
            assert isinstance(block, InvertedResidual)
            x = block.write(writer, f"features.{index}", x)
        x = self.head.write(writer, "head", x)
        x = writer.node("Flatten", "flatten", writer.node("GlobalAveragePool", "pool", x))
        return _write_gemm(writer, "classifier", self.classifier, x, output="logits")


def _write_matmul(writer: GraphWriter, name: str, layer: nn.Linear, x: str) -> str:
    """A linear layer on (N, tokens, width): MatMul and Add, since Gemm takes matrices only."""
    weight = writer.constant(f"{name}.weight", _values(layer.weight).T)
    bias = writer.constant(f"{name}.bias", _values(layer.bias))
    return writer.node("Add", f"{name}.add_bias", writer.node("MatMul", name, x, weight), bias)


def _write_layer_norm(writer: GraphWriter, name: str, layer: nn.LayerNorm, x: str) -> str:
    scale = writer.constant(f"{name}.scale", _values(layer.weight))
    bias = writer.constant(f"{name}.bias", _values(layer.bias))
    return writer.node("LayerNormalization", name, x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)


class Attention(nn.Module):
    """Multi-head self-attention with separate projections, which keeps the layer names readable."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        q, k, v = (
            layer(x).reshape(count, tokens, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = (q @ k.transpose(2, 3)) * (width // self.heads) ** -0.5
        mixed = scores.softmax(dim=-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(count, tokens, width))

    def write(self, writer: GraphWriter, name: str, x: str, tokens: int) -> str:
        width = self.query.in_features
        split = writer.constant("heads.shape", [0, tokens, self.heads, width // self.heads], np.int64)
        merge = writer.constant("tokens.shape", [0, tokens, width], np.int64)
        scale = writer.constant("attention.scale", (width // self.heads) ** -0.5)
        parts = []
        # The key is transposed to (N, heads, depth, tokens) at once, for query x key.
        for part, layer, order in (
            ("query", self.query, [0, 2, 1, 3]),
            ("key", self.key, [0, 2, 3, 1]),
            ("value", self.value, [0, 2, 1, 3]),
        ):
            y = _write_matmul(writer, f"{name}.{part}", layer, x)
            y = writer.node("Reshape", f"{name}.{part}.split_heads", y, split)
            parts.append(writer.node("Transpose", f"{name}.{part}.transpose", y, perm=order))
        q, k, v = parts
        scores = writer.node("MatMul", f"{name}.scores", q, k)
        scores = writer.node("Mul", f"{name}.scores.scale", scores, scale)
        weights = writer.node("Softmax", f"{name}.softmax", scores, axis=-1)
        mixed = writer.node("MatMul", f"{name}.mix", weights, v)
        mixed = writer.node("Transpose", f"{name}.mix.transpose", mixed, perm=[0, 2, 1, 3])
        mixed = writer.node("Reshape", f"{name}.mix.merge_heads", mixed, merge)
        return _write_matmul(writer, f"{name}.out", self.out, mixed)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer network with GELU."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPSILON)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPSILON)
        self.fc1 = nn.Linear(width, hidden)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.gelu(self.fc1(self.norm2(x))))

    def write(self, writer: GraphWriter, name: str, x: str, tokens: int) -> str:
        y = _write_layer_norm(writer, f"{name}.norm1", self.norm1, x)
        y = self.attention.write(writer, f"{name}.attention", y, tokens)
        x = writer.node("Add", f"{name}.attention.residual", x, y)
        y = _write_layer_norm(writer, f"{name}.norm2", self.norm2, x)
        y = _write_matmul(writer, f"{name}.mlp.fc1", self.fc1, y)
        y = _write_gelu(writer, f"{name}.mlp.gelu", y)
        y = _write_matmul(writer, f"{name}.mlp.fc2", self.fc2, y)
        return writer.node("Add", f"{name}.mlp.residual", x, y)


def _write_gelu(writer: GraphWriter, name: str, x: str) -> str:
    """GELU as x / 2 * (1 + erf(x / sqrt 2)), the form PyTorch exports before opset 20."""
    root = writer.constant("gelu.sqrt2", math.sqrt(2.0))
    one, half = writer.constant("gelu.one", 1.0), writer.constant("gelu.half", 0.5)
    y = writer.node("Erf", f"{name}.erf", writer.node("Div", f"{name}.div", x, root))
    y = writer.node("Mul", f"{name}.mul", x, writer.node("Add", f"{name}.add", y, one))
    return writer.node("Mul", name, y, half)


class DigitsVit(nn.Module):
    """A tiny vision transformer: patches, learned positions, two blocks, mean over the tokens."""

    def __init__(self, *, size: int = 32, patch: int = 4, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.tokens = (size // patch) ** 2
        self.patch_embed = nn.Conv2d(1, width, patch, stride=patch)
        self.position = nn.Parameter(torch.randn(1, self.tokens, width) * 0.02)
        self.blocks = nn.ModuleList([Block(width, heads, 2 * width) for _ in range(2)])
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPSILON)
        self.classifier = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.norm(x).mean(dim=1))

    def write(self, writer: GraphWriter) -> str:
        embed = self.patch_embed
        x = writer.node(
            "Conv",
            "patch_embed",
            writer.input.name,
            writer.constant("patch_embed.weight", _values(embed.weight)),
            writer.constant("patch_embed.bias", _values(embed.bias)),
            kernel_shape=list(embed.kernel_size),
            strides=list(embed.stride),
        )
        shape = writer.constant("patch_embed.shape", [0, embed.out_channels, self.tokens], np.int64)
        x = writer.node("Reshape", "patch_embed.flatten", x, shape)
        x = writer.node("Transpose", "patch_embed.transpose", x, perm=[0, 2, 1])
        x = writer.node("Add", "position", x, writer.constant("position.weight", _values(self.position)))
        for index, block in enumerate(self.blocks, start=1):
            assert isinstance(block, Block)
            x = block.write(writer, f"blocks.{index}", x, self.tokens)
        x = _write_layer_norm(writer, "norm", self.norm, x)
        x = writer.node("ReduceMean", "pool", x, axes=[1], keepdims=0)
        return _write_gemm(writer, "classifier", self.classifier, x, output="logits")
