"""What takes longest on a processor, in code that numba compiles: sampling, and training's convolutions.

    sampler      draws codes: what `cached.py` computes, a position at a time
    convolution, activation
                 the residual blocks of a training step and their gradients

A sampled position's work is many products of a few rows with small matrices, and at that size the call of an operator
costs more than its product: compiled together they take a tenth of the time. A training step's products are large, but
the library's go through much that is masked, and its other operations through the activations a dozen times.
"""
