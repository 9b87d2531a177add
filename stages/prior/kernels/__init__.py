"""What numba compiles for processors: the products that sampling is made of, and training's convolutions.

`convolution` and `activation` are the residual blocks of a training step, with their gradients. The library's
convolution goes through what is masked as well, and its other operations through the activations a dozen times.
"""
