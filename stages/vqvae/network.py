"""The two-level VQ-VAE-2 (Razavi et al., arXiv:1906.00446) over pictures and BLIP embeddings, in one code space.

image (B,3,H,W) --enc_bottom--> (B,C,H/4,W/4) --enc_top--> (B,C,H/8,W/8) + picture embedding --> z_e --> top codes
caption embedding (B,P) --text encoder--> n z_e of the same width, quantized by the same code book --> text codes
enc_bottom's output and the decoded top codes --> z_e --> bottom codes;   both levels --decoder--> image
top codes or text codes --embedding decoder--> the BLIP embedding they came from
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.vqvae.quantizer import Quantized, build_quantizer


@dataclass(frozen=True)
class VQVAESizes:
    """What the weights' shapes depend on; saved beside them."""

    image_size: int
    embedding_width: int
    channels: int
    residual_blocks: int
    residual_channels: int
    embedding_dim: int
    codebook_size: int
    text_codes: int
    quantizer: str
    decay: float

    @property
    def top_side(self) -> int:
        """Side of the top grid, in codes."""
        return self.image_size // 8

    @property
    def bottom_side(self) -> int:
        """Side of the bottom grid, in codes."""
        return self.image_size // 4


class Codes(NamedTuple):
    """A picture as codes."""

    top: Tensor
    """(B,h,w) int64 in [0,K)."""
    bottom: Tensor
    """(B,2h,2w) int64 in [0,K)."""


class Latents(NamedTuple):
    """A picture quantized, with what the losses need."""

    top: Quantized
    """z_q (B,D,h,w), indices (B,h,w)."""
    bottom: Quantized
    """z_q (B,D,2h,2w), indices (B,2h,2w)."""
    decoded_top: Tensor
    """(B,D,2h,2w), what the bottom level and the coarse picture are told of the top level."""


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))): (B,C,h,w) -> (B,C,h,w)."""

    def __init__(self, channels: int, residual_channels: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(channels, residual_channels, 3, padding=1)
        self.conv1 = nn.Conv2d(residual_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(F.relu(self.conv3(F.relu(x)), inplace=True))


def _residual_stack(sizes: VQVAESizes) -> list[nn.Module]:
    blocks: list[nn.Module] = [
        ResidualBlock(sizes.channels, sizes.residual_channels) for _ in range(sizes.residual_blocks)
    ]
    return [*blocks, nn.ReLU(inplace=True)]


def _encoder(in_channels: int, sizes: VQVAESizes, stride: int) -> nn.Sequential:
    c = sizes.channels
    layers: list[nn.Module] = [nn.Conv2d(in_channels, c // 2, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
    if stride == 4:
        layers += [nn.Conv2d(c // 2, c, 4, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(c, c, 3, padding=1)]
    else:
        layers += [nn.Conv2d(c // 2, c, 3, padding=1)]
    return nn.Sequential(*layers, *_residual_stack(sizes))


def _decoder(in_channels: int, out_channels: int, sizes: VQVAESizes, stride: int) -> nn.Sequential:
    c = sizes.channels
    layers: list[nn.Module] = [nn.Conv2d(in_channels, c, 3, padding=1), *_residual_stack(sizes)]
    if stride == 4:
        layers += [nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(c // 2, out_channels, 4, stride=2, padding=1)]
    else:
        layers += [nn.ConvTranspose2d(c, out_channels, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


class EmbeddingDecoder(nn.Module):
    """A BLIP embedding from code vectors, (B,n,D) -> (B,P) of unit norm; only `places` tells the modalities apart."""

    def __init__(self, sizes: VQVAESizes) -> None:
        super().__init__()
        width = 4 * sizes.embedding_dim
        self.picture_places = nn.Parameter(0.02 * torch.randn(sizes.top_side**2, width))
        self.text_places = nn.Parameter(0.02 * torch.randn(sizes.text_codes, width))
        self.inner = nn.Linear(sizes.embedding_dim, width)
        self.gate = nn.Linear(sizes.embedding_dim, width)
        self.outer = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, sizes.embedding_width))

    def forward(self, z_q: Tensor, places: Tensor) -> Tensor:
        hidden = F.gelu(self.inner(z_q) + places) * torch.sigmoid(self.gate(z_q))  # (B,n,4D)
        return F.normalize(self.outer(hidden.mean(dim=1)), dim=-1)


class VQVAE(nn.Module):
    """Pictures and BLIP embeddings <-> codes.

    Args:
        sizes: everything that the shapes depend on.
    """

    def __init__(self, sizes: VQVAESizes) -> None:
        super().__init__()
        self.sizes = sizes
        c, d, p = sizes.channels, sizes.embedding_dim, sizes.embedding_width
        self.encoder_bottom = _encoder(3, sizes, stride=4)
        self.encoder_top = _encoder(c, sizes, stride=2)
        self.embedding_to_top = nn.Linear(p, c)
        self.to_top = nn.Conv2d(c, d, 1)
        self.text_encoder = nn.Sequential(nn.Linear(p, 2 * p), nn.GELU(), nn.Linear(2 * p, sizes.text_codes * d))
        self.quantizer_top = build_quantizer(sizes.quantizer, d, sizes.codebook_size, sizes.decay)
        self.decoder_top = _decoder(d, d, sizes, stride=2)
        self.top_to_coarse = nn.Conv2d(d, 3, 1)
        self.to_bottom = nn.Conv2d(d + c, d, 1)
        self.quantizer_bottom = build_quantizer(sizes.quantizer, d, sizes.codebook_size, sizes.decay)
        self.upsample_top = nn.ConvTranspose2d(d, d, 4, stride=2, padding=1)
        self.decoder = _decoder(2 * d, 3, sizes, stride=4)
        self.embedding_decoder = EmbeddingDecoder(sizes)

    @property
    def codebook_size(self) -> int:
        """K, the same on both levels."""
        return self.sizes.codebook_size

    def quantize(self, image: Tensor, image_embedding: Tensor, text_embedding: Tensor) -> tuple[Latents, Quantized]:
        """Both levels of a picture and its caption's codes.

        The top level's code book sees picture and caption in one call, so that its averages follow both.

        Args:
            image: (B,3,H,W) in [-1,1].
            image_embedding, text_embedding: (B,P) of unit norm.

        Returns:
            The picture's latents; the caption's, z_q (B,n,D), indices (B,n).
        """
        batch, side = len(image), self.sizes.top_side
        bottom_features = self.encoder_bottom(image)  # (B,C,2h,2w)
        top_features = self.encoder_top(bottom_features) + self.embedding_to_top(image_embedding)[:, :, None, None]
        picture = self.to_top(top_features).flatten(2).transpose(1, 2)  # (B,hw,D)
        text = self.text_encoder(text_embedding).view(batch, self.sizes.text_codes, -1)  # (B,n,D)
        both = self.quantizer_top(torch.cat([picture, text], dim=1))  # (B,hw+n,D)
        top = Quantized(
            both.z_q[:, : side * side].transpose(1, 2).unflatten(2, (side, side)),  # (B,D,h,w)
            both.indices[:, : side * side].unflatten(1, (side, side)),
            both.commitment_loss,
            both.entropy_loss,
        )
        captions = both._replace(z_q=both.z_q[:, side * side :], indices=both.indices[:, side * side :])
        decoded_top = self.decoder_top(top.z_q)
        return Latents(top, self._quantize_bottom(bottom_features, decoded_top), decoded_top), captions

    def _quantize_bottom(self, features: Tensor, decoded_top: Tensor) -> Quantized:
        z_e = self.to_bottom(torch.cat([decoded_top, features], dim=1))  # (B,D,2h,2w)
        side = z_e.shape[-1]
        flat = self.quantizer_bottom(z_e.flatten(2).transpose(1, 2))  # (B,4hw,D)
        z_q = flat.z_q.transpose(1, 2).unflatten(2, (side, side))
        return flat._replace(z_q=z_q, indices=flat.indices.unflatten(1, (side, side)))

    def paint(self, top_z_q: Tensor, bottom_z_q: Tensor) -> Tensor:
        """Quantized latents (B,D,h,w) and (B,D,2h,2w) -> image (B,3,H,W), nominally in [-1,1] (not clipped)."""
        return self.decoder(torch.cat([self.upsample_top(top_z_q), bottom_z_q], dim=1))

    def paint_coarse(self, decoded_top: Tensor) -> Tensor:
        """The picture at a quarter of its side, (B,3,H/4,W/4), from the decoded top level (B,D,2h,2w) alone."""
        coarse: Tensor = self.top_to_coarse(decoded_top)
        return coarse

    def decode_picture_embedding(self, top_z_q: Tensor) -> Tensor:
        """The BLIP picture embedding (B,P) that a picture's top latents (B,D,h,w) give back."""
        return self.embedding_decoder(top_z_q.flatten(2).transpose(1, 2), self.embedding_decoder.picture_places)

    def decode_text_embedding(self, text_z_q: Tensor) -> Tensor:
        """The BLIP text embedding (B,P) that a caption's latents (B,n,D) give back."""
        return self.embedding_decoder(text_z_q, self.embedding_decoder.text_places)

    # ---- what later stages use: codes in, codes out ---------------------------------------------------------------

    @torch.no_grad()
    def encode(self, image: Tensor, image_embedding: Tensor) -> Codes:
        """image (B,3,H,W) in [-1,1] and its BLIP embedding (B,P) -> codes."""
        bottom_features = self.encoder_bottom(image)
        top_features = self.encoder_top(bottom_features) + self.embedding_to_top(image_embedding)[:, :, None, None]
        side = self.sizes.top_side
        top = self.quantizer_top(self.to_top(top_features).flatten(2).transpose(1, 2))
        top_z_q = top.z_q.transpose(1, 2).unflatten(2, (side, side))
        bottom = self._quantize_bottom(bottom_features, self.decoder_top(top_z_q))
        return Codes(top.indices.unflatten(1, (side, side)), bottom.indices)

    @torch.no_grad()
    def encode_text(self, text_embedding: Tensor) -> Tensor:
        """BLIP text embedding (B,P) -> codes of the top level's book, int64 (B,n)."""
        z_e = self.text_encoder(text_embedding).view(len(text_embedding), self.sizes.text_codes, -1)
        return self.quantizer_top(z_e).indices

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """codes -> image (B,3,H,W), clipped to [-1,1]."""
        top = self.embed_top(codes.top).movedim(-1, 1)
        bottom = self.embed_bottom(codes.bottom).movedim(-1, 1)
        return self.paint(top, bottom).clamp(-1, 1)

    @torch.no_grad()
    def embed_top(self, indices: Tensor) -> Tensor:
        """Top or text codes (...) int64 -> z_q (...,D)."""
        return self.quantizer_top.embed(indices)

    @torch.no_grad()
    def embed_bottom(self, indices: Tensor) -> Tensor:
        """Bottom codes (...) int64 -> z_q (...,D)."""
        return self.quantizer_bottom.embed(indices)
