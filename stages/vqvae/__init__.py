"""Two-level VQ-VAE over pictures and BLIP embeddings: `load_vqvae(directory)` gives the network back."""

from stages.vqvae.network import VQVAE, Codes, VQVAESizes
from stages.vqvae.storage import load_vqvae, save_vqvae

__all__ = ["VQVAE", "Codes", "VQVAESizes", "load_vqvae", "save_vqvae"]
