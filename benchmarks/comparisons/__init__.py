"""What `make compare-...` trains and scores: runs that differ in one thing, and a sampler beside the full forward."""
