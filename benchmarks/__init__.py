"""What README's figures are made with: `make bench` measures side by side in one run what its performance table says;
`make compare-...` trains and scores what is set beside each other elsewhere."""

import stages  # noqa: F401  # before torch, which reads how OpenMP's threads wait when it is loaded
