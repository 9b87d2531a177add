"""Under autocast on a processor, what is slow in bfloat16 is left in float32, forwards and backwards."""

import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from stages.config.diffusion import DiffusionConfig
from stages.diffusion.network import build_unet
from stages.diffusion.precision import spare_slow_kernels


def test_slow_kernels_are_spared_and_the_rest_is_not() -> None:
    torch.manual_seed(0)
    network = build_unet(DiffusionConfig(channels=[32, 32], heads=2), 4, 8, 12)
    types: dict[str, set[torch.dtype]] = {}
    watched: list[tuple[str, nn.Module]] = []
    for layer in network.modules():
        if isinstance(layer, Attention):
            watched.append(("attention", layer.get_submodule("to_q")))
        elif isinstance(layer, nn.Conv2d | nn.GroupNorm):
            watched.append(("convolution" if isinstance(layer, nn.Conv2d) else "norm", layer))
    for kind, layer in watched:
        layer.register_forward_hook(lambda *found, kind=kind: types.setdefault(kind, set()).add(found[2].dtype))
    x, text = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 12)

    def predict(narrow: bool) -> torch.Tensor:
        types.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            found: torch.Tensor = network(x, 300, encoder_hidden_states=text).sample
        return found.float()

    exact, unspared = predict(False), predict(True)
    assert types["attention"] == types["convolution"] == {torch.bfloat16}
    spare_slow_kernels(network)
    assert torch.equal(predict(False), exact)
    spared = predict(True)
    assert types == {"convolution": {torch.bfloat16}, "norm": {torch.float32}, "attention": {torch.float32}}
    assert (spared - exact).abs().mean() < (unspared - exact).abs().mean() < 0.1 * exact.std()
    spared.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
