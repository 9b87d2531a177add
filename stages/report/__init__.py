"""One self-contained page: every figure of a run with its protocol, and every published figure answered."""
