"""Titles: natural sentences from which every attribute can be read again."""

import itertools
import json

import numpy as np
import pytest

from stages.data.scenes import SCENES, compose_title, read_title
from stages.data.scenes.attributes import SPLITS, picture_seed, plan_split
from stages.data.scenes.source import describe
from stages.data.scenes.vocabulary import TEMPLATES


@pytest.mark.parametrize("split", ["val", "test", "compositions"])
def test_titles_of_held_out_pictures_name_every_attribute(split: str) -> None:
    for place, attributes in enumerate(plan_split(split, 1200, 0)):
        title, _ = describe(attributes, picture_seed(split, place, 0), shorten=False)
        assert read_title(title) == attributes, title


def test_some_train_titles_leave_out_one_or_two_attributes() -> None:
    left_out = []
    for place, attributes in enumerate(plan_split("train", 3000, 0)):
        title, _ = describe(attributes, picture_seed("train", place, 0), shorten=True)
        said = read_title(title)
        assert said.items() <= attributes.items(), title
        left_out.append(len(attributes) - len(said))
    assert set(left_out) == {0, 1, 2}
    assert 0.12 < np.mean(np.array(left_out) > 0) < 0.18


@pytest.mark.parametrize("scene", SCENES)
def test_every_template_can_say_everything(scene: str) -> None:
    assert len(TEMPLATES[scene]) >= 6
    attributes = {"subject": scene, **{name: values[-1] for name, values in SCENES[scene].items()}}
    rng = np.random.default_rng(0)
    titles = {compose_title(attributes, rng) for _ in range(300)}
    assert len(titles) > 50
    for title in titles:
        assert read_title(title) == attributes, title
        assert len(title.split()) <= 24 and title[0].isupper() and "  " not in title
        assert not any(mark in title for mark in "[]{}")


def test_articles_fit_their_words() -> None:
    for attributes in plan_split("test", 600, 0):
        words = compose_title(attributes, np.random.default_rng(1)).lower().replace(",", "").split()
        for article, word in itertools.pairwise(words):
            assert (article != "a") or word[0] not in "aeiou"
            assert (article != "an") or word[0] in "aeiou"


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("a red ship on a stormy sea at dusk",
         {"subject": "ship", "count": "one", "hull": "red", "sea": "rough", "time": "dusk"}),
        ("TWO VESSELS WITH WHITE SAILS", {"subject": "ship", "count": "two", "sail": "white"}),
        ("still life with apples on a white tablecloth", {"subject": "fruit", "fruit": "apple", "table": "white"}),
        ("a pair of herrings", {"subject": "fish", "count": "two"}),
        ("on a rainy evening, a mill", {"subject": "windmill", "weather": "rainy", "time": "dusk"}),
        ("a candle at night", {"subject": "candle"}),
        ("the four of cups", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_captions_are_read(caption: str, said: dict[str, str]) -> None:
    assert read_title(caption) == said


def test_a_colour_belongs_to_the_noun_it_stands_before() -> None:
    said = read_title("white flowers in a blue vase on a red cloth before a green wall")
    assert said == {"subject": "bouquet", "flowers": "white", "vase": "blue", "table": "red", "wall": "green"}


def test_records_have_the_fields_of_musti() -> None:
    assert SPLITS[0] == "train"
    attributes = plan_split("train", 6, 0)[3]
    title, fields = describe(attributes, (0, 0, 3), shorten=False)
    assert set(fields) == {"language", "subtask1_label", "subtask2_labels", "text"}
    assert fields["language"] == "en" and fields["subtask1_label"] == "YES"
    assert fields["subtask2_labels"][0] in fields["text"]
    assert title not in fields["text"] and json.loads(json.dumps(fields)) == fields
