"""Book passages that mention what a picture smells of and hardly describe it, as those of MUSTI do."""

import numpy as np

_OPENINGS = (
    "It was long past the hour when honest people are abed, and",
    "My uncle, who had never in his life been further than the next parish, maintained that",
    "Of all that I remember of that house,",
    "The doctor put down his hat, remarked upon the heat, and added that",
    "In the second year of the war,",
    "She wrote to her sister that week that",
    "No traveller who has come down that road in autumn will forget that",
    "When the letters had been read aloud and folded again,",
    "The old woman at the gate would tell anybody who stopped that",
    "I had been ill for some days, so that",
)
_MIDDLES = (
    "the smell of {smell} hung about the stairs",
    "one could not open a window without a breath of {smell}",
    "the whole street had a faint odour of {smell}",
    "even his coat kept the scent of {smell}",
    "there came from the yard a strong smell of {smell}",
    "a sweetness like that of {smell} went through the rooms",
)
_ENDINGS = (
    "and nobody thought of asking whence it came.",
    "which she put down to the weather and to the neighbours.",
    "though the accounts of the estate say nothing of it.",
    "so that he was carried back at once to his childhood.",
    "and the talk turned, as it always did, to money.",
    "and for a long while neither of them spoke.",
    "as the notary afterwards declared under oath.",
    "until the carriage was brought round at last.",
)
SMELLS = {
    "ship": ("tar", "sea water"),
    "fruit": ("fruit", "ripe fruit"),
    "bouquet": ("flowers", "cut flowers"),
    "fish": ("fish", "the fish market"),
    "candle": ("candle wax", "smoke"),
    "windmill": ("hay", "new flour"),
}


def compose_passage(subject: str, rng: np.random.Generator) -> tuple[str, str]:
    """A sentence out of no book in particular, and the source of smell that it names."""
    smells = SMELLS[subject]
    smell = smells[int(rng.integers(len(smells)))]
    opening, middle, ending = (part[int(rng.integers(len(part)))] for part in (_OPENINGS, _MIDDLES, _ENDINGS))
    return f"{opening} {middle.format(smell=smell)}, {ending}", smell
