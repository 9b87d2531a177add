"""Caption in, picture out: BLIP -> VQ-VAE -> codes -> PixelSNAIL, in stages that can be run, inspected and replaced."""

import os

from stages.torchvision_import import install_import_hook

# Before torch loads OpenMP: threads that spin while they wait cost a factor of a hundred beside a busy neighbour.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
install_import_hook()
