"""Where pictures and captions lie in the code space: projections, how far they can be trusted, and code usage."""
