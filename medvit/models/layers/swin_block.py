"""The block of a Swin Transformer on a 3D grid of tokens: attention inside boxes, and an MLP.

Letters: b batch, n tokens, t tokens of a chunk, c channels, h heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.layers.attention import attend_in_boxes, wide_dtype
from medvit.models.layers.drop_path import DropPath
from medvit.models.layers.in_chunks import in_chunks, linear_known
from medvit.models.layers.windows import Chunk, Kind, cut_chunks

Padding = Literal["masked", "monai"]

# The hidden layer of the MLP is the widest array of a chunk; measured in docs/swin3d.md.
CHUNK_BYTES = 4 << 20
GPU_CHUNK_BYTES = 1 << 30
LANES = 16


class WindowAttention(nn.Module):
    """Weights of attention inside windows, with a learned bias per relative offset."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        if dim % num_heads:
            msg = f"width {dim} does not divide by {num_heads} heads"
            raise ValueError(msg)
        self.num_heads = num_heads
        self.window_size = window_size
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 3, num_heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self._kept: tuple[object, list[Tensor]] = (None, [])

    def biases(self, kinds: tuple[Kind, ...], padding: Padding) -> list[Tensor]:
        """Return the bias (h, n, k) of each kind, with k keys: n tokens, then padded ones.

        Padded keys are all equal, hence one key of weight e^a + e^b + ... The rest, up to
        whole vectors of the machine, has no weight. Without gradients the biases are kept
        until the table changes.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._gather(kinds, padding)
        table = self.bias_table
        key = (kinds, padding, table.data_ptr(), table._version, table.dtype, table.device)
        if self._kept[0] != key:
            self._kept = (key, self._gather(kinds, padding))
        return self._kept[1]

    def _gather(self, kinds: tuple[Kind, ...], padding: Padding) -> list[Tensor]:
        table = self.bias_table.T.contiguous()  # (h, rows)
        biases = []
        for kind in kinds:
            bias = _at(table, kind.rows)
            if padding == "monai" and kind.padded_rows.numel():
                padded = _at(table, kind.padded_rows).logsumexp(-1, keepdim=True)
                bias = torch.cat([bias, padded], dim=-1)
            biases.append(F.pad(bias, (0, -bias.shape[2] % LANES), value=-torch.inf))
        return biases


def _at(table: Tensor, rows: Tensor) -> Tensor:
    return table.index_select(1, rows.flatten()).view(-1, *rows.shape)


class BlockWeights(NamedTuple):
    """The parameters of a block but for its bias table."""

    norm1: Tensor
    norm1_bias: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    proj: Tensor
    proj_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor
    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor


class Known(NamedTuple):
    """What a chunk's forward pass found: qkv (b, t, 3c), attention's answer, the MLP's inside."""

    qkv: Tensor | None
    seen: Tensor | None
    inner: Tensor | None


NOTHING = Known(None, None, None)


class SwinBlock(nn.Module):
    """Windowed attention and an MLP, both residual, both normalised first."""

    def __init__(self, dim: int, num_heads: int, window_size: int, *, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, kinds: tuple[Kind, ...], padding: Padding) -> Tensor:
        """Transform the tokens (b, n, c) of a grid; overwrites them where gradients are off."""
        weights = self._weights(x.device.type)
        keeps = self._draw_keeps(x)
        # What costs more time than room, kept for the backward pass.
        kept: dict[Chunk, Known] | None = {} if torch.is_grad_enabled() else None

        def step(piece: Tensor, chunk: Chunk, given: Sequence[Tensor]) -> Tensor:
            own, biases = BlockWeights(*given[: len(weights)]), given[len(weights) :]
            y = layer_norm(piece, own.norm1, own.norm1_bias).to(own.qkv.dtype)
            known = kept.pop(chunk, NOTHING) if kept else NOTHING
            qkv = _linear(y, own.qkv, own.qkv_bias, known.qkv)  # (b, t, 3c)
            wide = qkv.to(wide_dtype(y))
            seen = attend_in_boxes(
                wide,
                own.qkv_bias.to(wide.dtype),  # what the layer makes of padding
                [biases[kind] for kind, _ in chunk.parts],
                [count for _, count in chunk.parts],
                known=known.seen,
            )
            narrow = seen.to(y.dtype)
            piece = _add(piece, F.linear(narrow, own.proj, own.proj_bias), keeps[0])
            y = layer_norm(piece, own.norm2, own.norm2_bias).to(own.fc1.dtype)
            inner = _linear(y, own.fc1, own.fc1_bias, known.inner)  # (b, t, 4c)
            if kept is not None and not torch.is_grad_enabled():
                kept[chunk] = Known(qkv, seen, inner)
            # The backward pass does not look at what the block gives.
            unread = None if known.inner is None else torch.empty_like(piece, dtype=y.dtype)
            return _add(piece, _linear(F.gelu(inner), own.fc2, own.fc2_bias, unread), keeps[1])

        chunks = cut_chunks(kinds, most_tokens=_most_tokens(x))
        with torch.autocast(x.device.type, enabled=False):
            return in_chunks(step, chunks, x, (*weights, *self.attn.biases(kinds, padding)))

    def _weights(self, device: str) -> BlockWeights:
        """Return the parameters, those of linear layers in the type that autocast asks for."""
        layers = (self.norm1, self.attn.qkv, self.attn.proj, self.norm2, self.fc1, self.fc2)
        if not torch.is_autocast_enabled(device):
            return BlockWeights(*(part for layer in layers for part in (layer.weight, layer.bias)))
        lower = torch.get_autocast_dtype(device)
        return BlockWeights(
            *(
                part.to(lower) if isinstance(layer, nn.Linear) else part
                for layer in layers
                for part in (layer.weight, layer.bias)
            )
        )

    def _draw_keeps(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if not self.training or self.drop_path.rate == 0:
            return None, None
        ones = x.new_ones(x.shape[0], 1, 1)
        return self.drop_path(ones), self.drop_path(ones)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Normalise over the last axis."""
    return F.layer_norm(x, x.shape[-1:], weight, bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, known: Tensor | None) -> Tensor:
    return F.linear(x, weight, bias) if known is None else linear_known(x, weight, bias, known)


def _add(x: Tensor, branch: Tensor, keep: Tensor | None) -> Tensor:
    return x + branch if keep is None else x + keep * branch


def _most_tokens(x: Tensor) -> int:
    """Return how many tokens (b, 1, c) fit a chunk; an MLP has 4c hidden values a token."""
    if torch.compiler.is_exporting():  # an exported graph has no use for loops over chunks
        return x.shape[1]
    budget = CHUNK_BYTES if x.device.type == "cpu" else GPU_CHUNK_BYTES
    volumes = x.shape[0] if torch.is_grad_enabled() else 1
    return budget // (4 * x.shape[2] * 4 * volumes)
