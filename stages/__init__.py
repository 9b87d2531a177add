"""Caption in, picture out: BLIP -> VQ-VAE -> codes -> PixelSNAIL, in stages that can be run, inspected and replaced."""

import os

from stages.torchvision_import import install_import_hook

# Before torch loads OpenMP: threads that spin for long while they wait cost a factor of seventy beside a busy
# neighbour, threads that never spin cost a third of the speed on a quiet machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
install_import_hook()
