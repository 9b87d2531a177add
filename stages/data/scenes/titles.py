"""Titles of pictures in words, and back: a small language in which every attribute can be named and read again."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from stages.data.scenes.attributes import SCENES, attribute_values
from stages.data.scenes.vocabulary import COLOURS, COUNTED, NOUNS, SAYS, SUBJECTS, TEMPLATES, TIMES, WORDS

_GROUP = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{([a-z]+)(\.noun)?\}")
_ALWAYS_SAID = ("subject", "count", "fruit")  # nothing is left to draw a title around without these
_SILENT = frozenset({"sailing", "of"})  # words that may stand between an adjective and its noun


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _attribute(slot: str) -> str:
    return "time" if slot == "hour" else slot


def _units(template: str, attributes: Mapping[str, str]) -> list[set[str]]:
    """The sets of attributes that can be left unsaid together: those of one bracket, or one adjective."""
    groups = [
        {_attribute(slot) for slot, noun in _SLOT.findall(group) if not noun} for group in _GROUP.findall(template)
    ]
    bare = [{slot} for slot, noun in _SLOT.findall(_GROUP.sub("", template)) if not noun]
    sayable = set(attributes) - set(_ALWAYS_SAID)
    return [unit & sayable for unit in [*groups, *bare] if unit & sayable]


def _left_unsaid(template: str, attributes: Mapping[str, str], rng: np.random.Generator) -> set[str]:
    """One or two attributes for a title to leave out."""
    units = _units(template, attributes)
    order = [units[i] for i in rng.permutation(len(units))]
    if len(order[0]) > 1 or rng.random() < 0.5:
        return order[0]
    return order[0] | next((unit for unit in order[1:] if len(unit) == 1), set())


def _noun(part: str, attributes: Mapping[str, str], rng: np.random.Generator) -> str:
    """A noun for a part, in the number of the picture's count where the part is counted."""
    if part == "table" and attributes.get("table") in ("white", "red"):
        part = "cloth"
    singular, plural = NOUNS[part][int(rng.integers(len(NOUNS[part])))]
    counted = part in COUNTED or part == "hull"
    return plural if counted and attributes.get("count", "one") != "one" else singular


def _word(slot: str, attributes: Mapping[str, str], rng: np.random.Generator) -> str:
    """A word or phrase for the value of the slot's attribute."""
    if slot == "a":
        return "a " if attributes.get("count", "one") == "one" else ""
    value = attributes[_attribute(slot)]
    if slot == "fruit":
        return _noun(value, attributes, rng)
    return _pick(WORDS[slot][value] if slot in WORDS else COLOURS[value], rng)


def compose_title(attributes: Mapping[str, str], rng: np.random.Generator, *, shorten: bool = False) -> str:
    """A title of the picture: one of its scene's templates, filled with words for the values.

    Args:
        attributes: `subject` and every attribute of its scene.
        shorten: leave one or two attributes unsaid.
    """
    template = _pick(TEMPLATES[attributes["subject"]], rng)
    unsaid = _left_unsaid(template, attributes, rng) if shorten else set()

    def group(match: re.Match[str]) -> str:
        slots = {_attribute(slot) for slot, noun in _SLOT.findall(match[1]) if not noun}
        return "" if slots & unsaid else match[1]

    def slot(match: re.Match[str]) -> str:
        if match[2]:
            part = match[1]
            known = {name: value for name, value in attributes.items() if name not in unsaid}
            return _noun(part, known, rng)
        return "" if _attribute(match[1]) in unsaid else _word(match[1], attributes, rng)

    sentence = _SLOT.sub(slot, _GROUP.sub(group, template))
    sentence = re.sub(r" +", " ", sentence).strip()
    sentence = re.sub(r"\ba (?=[aeiou])", "an ", sentence)
    return sentence[0].upper() + sentence[1:]


def _spellings() -> dict[str, str]:
    """Every spelling of a noun (its last word) -> the noun."""
    return {form.split()[-1]: noun for noun, pairs in NOUNS.items() for pair in pairs for form in pair}


def _meanings() -> dict[str, dict[str, str]]:
    """Attribute -> adjective -> value."""
    values = attribute_values()
    adjectives = {name: WORDS.get(name, COLOURS) for name in values if name not in ("subject", "fruit", "time")}
    meanings = {
        name: {word: value for value in values[name] for word in table[value]} for name, table in adjectives.items()
    }
    meanings["count"] = {"a": "one", "an": "one", "one": "one", "two": "two", "pair": "two", "three": "three"}
    return meanings


_NOUN_OF = _spellings()
_MEANING_OF = _meanings()
_ADJECTIVES = frozenset(word for words in _MEANING_OF.values() for word in words)


def _say(found: dict[str, str], attribute: str, adjectives: Sequence[str]) -> None:
    """Notes what the adjectives say of the attribute, if they do; the one nearest the noun counts."""
    meanings = _MEANING_OF.get(attribute, {})
    for word in adjectives:
        if word in meanings:
            found[attribute] = meanings[word]


def read_title(caption: str) -> dict[str, str]:
    """The attributes that a caption names, each with its value: the inverse of `compose_title`.

    Adjectives belong to the next noun. Words of no meaning here are passed over; what is not named is not in the
    result, and `subject` is missing when no noun tells the scene.
    """
    found: dict[str, str] = {}
    adjectives: list[str] = []
    for word in re.findall(r"[a-z]+", caption.lower()):
        if word in TIMES:
            found["time"] = TIMES[word]
            _say(found, "weather", adjectives)
        elif word in _NOUN_OF:
            noun = _NOUN_OF[word]
            _say(found, SAYS.get(noun, noun), adjectives)
            if noun in COUNTED:
                _say(found, "count", adjectives)
            if noun in SUBJECTS:
                found["subject"] = SUBJECTS[noun]
            if SUBJECTS.get(noun) == "fruit":
                found["fruit"] = noun
        elif word in _ADJECTIVES:
            adjectives.append(word)
            continue
        elif word in _SILENT:
            continue
        adjectives = []
    own = SCENES.get(found.get("subject", ""), {})
    return {name: value for name, value in found.items() if name == "subject" or not own or name in own}
