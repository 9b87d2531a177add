"""What README's performance table is made with: `make bench` runs every measurement here, side by side in one run."""

import stages  # noqa: F401  # before torch, which reads how OpenMP's threads wait when it is loaded
