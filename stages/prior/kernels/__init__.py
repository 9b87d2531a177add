"""What numba compiles for processors: what the compiled sampler is made of, and the residual blocks in training.

`convolution` and `activation` are those blocks, with their gradients. The library's convolution goes through what is
masked as well, does one multiplication for each tap where `winograd` does fewer, and its other operations go through
the activations a dozen times.
"""
