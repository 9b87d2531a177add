"""What numba compiles for processors: what the compiled sampler is made of, and the residual blocks in training.

`convolution` and `activation` are those blocks, with their gradients. The library's convolution goes through what is
masked as well, and its other operations through the activations a dozen times.
"""
