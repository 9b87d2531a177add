"""What a picture can show: scenes, their attributes with every value, and the combinations kept out of training."""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

SPLITS = ("train", "val", "test", "compositions")

COUNT = ("one", "two", "three")
TIME = ("day", "dusk", "night")
TABLE = ("white", "wooden", "red")
WALL = ("grey", "green", "brown")

SCENES: dict[str, dict[str, tuple[str, ...]]] = {
    "ship": {
        "count": COUNT,
        "hull": ("red", "green", "yellow", "white"),
        "sail": ("white", "red", "yellow", "blue"),
        "sea": ("calm", "rough"),
        "time": TIME,
    },
    "fruit": {"count": COUNT, "fruit": ("apple", "lemon", "pear", "plum"), "table": TABLE, "wall": WALL},
    "bouquet": {
        "flowers": ("red", "yellow", "white", "blue"),
        "vase": ("blue", "white", "red"),
        "table": TABLE,
        "wall": WALL,
    },
    "fish": {
        "count": COUNT,
        "fish": ("silver", "red", "yellow"),
        "plate": ("blue", "white", "green"),
        "table": TABLE,
        "wall": WALL,
    },
    "candle": {"candle": ("white", "red", "blue"), "book": ("red", "blue", "green"), "table": TABLE, "wall": WALL},
    "windmill": {
        "mill": ("white", "red", "yellow"),
        "roof": ("blue", "green", "red"),
        "field": ("green", "yellow", "purple"),
        "weather": ("clear", "cloudy", "rainy"),
        "time": TIME,
    },
}
"""Scene (the value of the attribute `subject`) -> attribute -> its possible values."""

HELD_OUT: dict[str, tuple[dict[str, str], ...]] = {
    "ship": (
        {"hull": "red", "sail": "blue"},
        {"hull": "white", "sail": "yellow"},
        {"count": "three", "hull": "yellow"},
    ),
    "fruit": ({"fruit": "plum", "wall": "green"}, {"count": "two", "fruit": "lemon"}),
    "bouquet": ({"flowers": "yellow", "vase": "blue"}, {"flowers": "red", "vase": "white"}),
    "fish": ({"fish": "silver", "plate": "green"}, {"count": "three", "fish": "red"}),
    "candle": ({"candle": "red", "book": "blue"}, {"candle": "white", "book": "green"}),
    "windmill": (
        {"mill": "red", "roof": "blue"},
        {"mill": "white", "roof": "green"},
        {"field": "purple", "weather": "rainy"},
    ),
}
"""Scene -> pairs of values that only the split `compositions` shows together."""

_PLAN = 2  # sets the random stream of a plan apart from those of pictures
_CHOICES = 16  # combinations drawn, of which the one with the least used values is taken


def attribute_values() -> dict[str, list[str]]:
    """Every attribute with its possible values in order; `subject` comes first."""
    values: dict[str, list[str]] = {"subject": list(SCENES)}
    for attributes in SCENES.values():
        for name, possible in attributes.items():
            values.setdefault(name, list(possible))
    return values


def is_held_out(attributes: Mapping[str, str]) -> bool:
    """Whether a picture with these attributes shows a combination kept out of training."""
    pairs = HELD_OUT[attributes["subject"]]
    return any(all(attributes.get(name) == value for name, value in pair.items()) for pair in pairs)


def combinations(scene: str, *, held_out: bool | None) -> list[dict[str, str]]:
    """Every combination of the scene's values: with a held-out pair, without one, or (None) all."""
    names = ["subject", *SCENES[scene]]
    every = (dict(zip(names, (scene, *values), strict=True)) for values in product(*SCENES[scene].values()))
    return [one for one in every if held_out is None or is_held_out(one) == held_out]


def _balanced(scene: str, *, held_out: bool | None, rng: np.random.Generator) -> Iterator[dict[str, str]]:
    """The scene's combinations without end, such that the values of every attribute stay balanced."""
    every = combinations(scene, held_out=held_out)
    used: dict[tuple[str, str], int] = {}
    while True:
        few = [every[i] for i in rng.permutation(len(every))[:_CHOICES]]
        chosen = min(few, key=lambda one: sum(used.get(item, 0) for item in one.items()))
        for item in chosen.items():
            used[item] = used.get(item, 0) + 1
        yield chosen


def plan_split(split: str, count: int, seed: int) -> list[dict[str, str]]:
    """The attributes of the `count` pictures of a split; scenes take turns, and a longer plan begins with a shorter.

    Args:
        split: one of `SPLITS`, or "examples": every combination, held out or not, and none of the data set's pictures.
        count: number of pictures.
        seed: of the data set.
    """
    held_out = {"compositions": True, "examples": None}.get(split, False)
    seeds = [(*picture_seed(split, place, seed), _PLAN) for place in range(len(SCENES))]
    plans = [
        _balanced(scene, held_out=held_out, rng=np.random.default_rng(own))
        for scene, own in zip(SCENES, seeds, strict=True)
    ]
    return [next(plans[i % len(plans)]) for i in range(count)]


def picture_seed(split: str, place: int, seed: int) -> tuple[int, int, int]:
    """The seed of one picture's own random stream."""
    return seed, (*SPLITS, "examples").index(split), place
