from pathlib import Path

import lpips
import pytest
import torch

from stages.metrics.perceptual import SMALLEST_ALEX_SIDE, load_lpips, lpips_distance, lpips_for, weights_file


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_without_weights_lpips_is_not_available(backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = load_lpips(backbone)
    assert found.network is None
    assert str(weights_file(backbone)) in str(found.reason) and "https://download.pytorch.org" in str(found.reason)
    assert not list(tmp_path.rglob("*.pth"))  # nothing was downloaded


def test_weights_that_are_not_the_named_ones_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = weights_file("alex")
    path.parent.mkdir(parents=True)
    torch.save({}, path)
    found = load_lpips("alex")
    assert found.network is None and "damaged" in str(found.reason)


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_the_distance_is_of_each_picture_and_0_to_itself() -> None:
    network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)  # for shape and sign only
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = image.clone()
    target[1] = -target[1]
    distance = lpips_distance(network, image, target)
    assert distance.shape == (3,) and distance[0] == distance[2] == 0 and distance[1] != 0


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
@pytest.mark.parametrize(("backbone", "side"), [("alex", SMALLEST_ALEX_SIDE), ("vgg", 16)])
def test_the_smallest_pictures_have_a_distance_and_smaller_ones_a_reason(backbone: str, side: int) -> None:
    network = lpips.LPIPS(net=backbone, pretrained=False, pnet_rand=True, verbose=False)
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert lpips_distance(network, image, -image).isfinite().all()
    assert "leaves nothing of pictures" in str(lpips_for("alex", SMALLEST_ALEX_SIDE - 1).reason)
