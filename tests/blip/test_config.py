from typing import Any

import pytest

from stages.config.blip import BlipConfig


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_steps", 0, r"blip\.max_steps must be at least 1, got 0"),
        ("batch_size", 1, r"blip\.batch_size must be at least 2"),
        ("vision_width", 98, r"blip\.vision_width must be a multiple of vision_heads, got 98 and 4"),
        ("text_heads", 5, r"blip\.text_width must be a multiple of text_heads, got 96 and 5"),
        ("image_size", 60, r"blip\.image_size must be a multiple of blip\.patch_size, got 60"),
        ("itm_weight", -0.1, r"blip\.itm_weight must not be negative"),
        ("itm_share", 0.0, r"blip\.itm_share must be in \(0, 1\]"),
        ("vocab_size", 90, r"blip\.vocab_size must be at least 256"),
        ("max_tokens", 3, r"blip\.max_tokens must be at least 4"),
        ("temperature", 0.0, r"blip\.temperature must be in \[0.01, 0.5\], got 0.0"),
        ("dropout", 1.0, r"blip\.dropout must be in \[0, 1\), got 1.0"),
        ("lr", 0.0, r"blip\.lr must be positive"),
        ("accumulate", 0, r"blip\.accumulate must be at least 1, got 0"),
        ("nearest", 0, r"blip\.nearest must be at least 1"),
        ("lora_rank", 0, r"blip\.lora_rank must be at least 1"),
        ("last_layers", 0, r"blip\.last_layers must be at least 1"),
        ("momentum", 1.0, r"blip\.momentum must be in \[0, 1\), got 1.0"),
        ("queue_size", 31, r"blip\.queue_size must be 0 or at least blip\.batch_size, got 31"),
        ("queue_size", -1, r"blip\.queue_size must not be negative, got -1"),
        ("patience", -1, r"blip\.patience must not be negative"),
        ("tuned", "lora", r"blip\.tuned: lora needs blip\.pretrained"),
        ("tuned", "last", r"blip\.tuned: last needs blip\.pretrained"),
        ("pretrained_captioner", "x", r"blip\.pretrained_captioner needs blip\.pretrained"),
    ],
)
def test_impossible_values_are_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlipConfig(**{key: value})


def test_what_needs_one_another_is_accepted_together() -> None:
    BlipConfig(queue_size=32, batch_size=32)
    BlipConfig(tuned="lora", pretrained="x", pretrained_captioner="y")
