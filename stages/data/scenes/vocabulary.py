"""The words and sentence patterns of titles.

A template is a sentence with slots: `{hull}` is a word for the value of that attribute (for `fruit` and `time` the
value's own phrase), `{hull.noun}` a noun for the part, `{a}` an article when there is one thing. A part in square
brackets goes when an attribute in it is left unsaid.
"""

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "crimson", "scarlet"),
    "yellow": ("yellow", "yellow", "golden"),
    "white": ("white", "white", "ivory"),
    "green": ("green", "green", "emerald"),
    "blue": ("blue", "blue", "azure"),
    "silver": ("silver", "silver", "silvery"),
}

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "count": {"one": ("a", "a", "a", "one"), "two": ("two", "two", "a pair of"), "three": ("three",)},
    "sea": {"calm": ("calm", "calm", "still", "quiet"), "rough": ("rough", "rough", "stormy", "wild")},
    "weather": {
        "clear": ("clear", "clear", "cloudless"),
        "cloudy": ("cloudy", "cloudy", "overcast"),
        "rainy": ("rainy", "rainy", "stormy"),
    },
    "wall": {
        "grey": ("grey", "grey", "ashen"),
        "green": ("green", "green", "olive"),
        "brown": ("brown", "brown", "umber"),
    },
    "table": {"white": ("white",), "wooden": ("wooden", "wooden", "oak"), "red": ("red", "red", "crimson")},
    "field": {"green": ("green", "green", "lush"), "yellow": ("yellow", "golden"), "purple": ("purple", "violet")},
    "time": {
        "day": ("by day", "in daylight", "at noon"),
        "dusk": ("at dusk", "at dusk", "at sunset", "in the evening"),
        "night": ("at night", "at night", "by moonlight", "at midnight"),
    },
    "hour": {"day": ("day", "morning"), "dusk": ("evening",), "night": ("night",)},
}
"""Words for the values of attributes (a word said more often stands twice); the others use `COLOURS`."""

TIMES: dict[str, str] = {
    "day": "day", "daylight": "day", "noon": "day", "morning": "day",
    "dusk": "dusk", "sunset": "dusk", "evening": "dusk",
    "night": "night", "moonlight": "night", "midnight": "night",
}  # fmt: skip
"""Noun -> value of `time`."""

NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "ship": (("ship", "ships"), ("ship", "ships"), ("vessel", "vessels"), ("sailing ship", "sailing ships")),
    "hull": (("hull", "hulls"),),
    "sail": (("sails", "sails"), ("sails", "sails"), ("canvas", "canvas")),
    "sea": (("sea", "sea"), ("sea", "sea"), ("ocean", "ocean")),
    "apple": (("apple", "apples"),),
    "lemon": (("lemon", "lemons"),),
    "pear": (("pear", "pears"),),
    "plum": (("plum", "plums"), ("plum", "plums"), ("damson", "damsons")),
    "flowers": (("flowers", "flowers"), ("flowers", "flowers"), ("roses", "roses"), ("blossoms", "blossoms")),
    "vase": (("vase", "vase"), ("vase", "vase"), ("jug", "jug")),
    "fish": (("fish", "fish"), ("fish", "fish"), ("herring", "herrings")),
    "plate": (("plate", "plate"), ("plate", "plate"), ("dish", "dish")),
    "table": (("table", "table"),),
    "cloth": (("cloth", "cloth"), ("tablecloth", "tablecloth")),
    "wall": (("wall", "wall"),),
    "background": (("background", "background"),),
    "candle": (("candle", "candle"), ("candle", "candle"), ("taper", "taper")),
    "book": (("book", "book"), ("book", "book"), ("volume", "volume")),
    "mill": (("windmill", "windmill"), ("windmill", "windmill"), ("mill", "mill")),
    "roof": (("roof", "roof"), ("roof", "roof"), ("cap", "cap")),
    "field": (("field", "field"), ("field", "field"), ("meadow", "meadow")),
    "sky": (("sky", "sky"),),
}
"""Noun of a part -> (singular, plural) spellings."""

SAYS: dict[str, str] = {"ship": "hull", "cloth": "table", "background": "wall", "sky": "weather"}
"""Nouns whose adjectives say an attribute of another name."""

COUNTED = ("ship", "apple", "lemon", "pear", "plum", "fish")
"""Nouns whose number says `count`."""

SUBJECTS: dict[str, str] = {
    "ship": "ship", "apple": "fruit", "lemon": "fruit", "pear": "fruit", "plum": "fruit", "flowers": "bouquet",
    "fish": "fish", "candle": "candle", "mill": "windmill",
}  # fmt: skip
"""Nouns that tell the scene."""

_SEA = " on a {sea} {sea.noun}"
_SAILS = "{sail} {sail.noun}"
_SHIPS = "{count} {hull} {ship.noun}"
_FISH = "{count} {fish} {fish.noun}"
_FLOWERS = "{flowers} {flowers.noun}"
_VASE = "a {vase} {vase.noun}"
_PLATE = "a {plate} {plate.noun}"
_TABLE = "a {table} {table.noun}"
_WALL = "a {wall} {wall.noun}"
_BACK = "a {wall} {background.noun}"
_CANDLE = "{candle} {candle.noun}"
_BOOK = "a {book} {book.noun}"
_MILL = "a {mill} {mill.noun}"
_ROOF = "a {roof} {roof.noun}"
_FIELD = "a {field} {field.noun}"
_SKY = "a {weather} {sky.noun}"

TEMPLATES: dict[str, tuple[str, ...]] = {
    "ship": (
        f"{_SHIPS}[ with {_SAILS}][{_SEA}][ {{time}}]",
        f"{_SHIPS}[ under {_SAILS}][ {{time}}][{_SEA}]",
        f"seascape with {_SHIPS}[, {_SAILS}][, a {{sea}} {{sea.noun}}][, {{time}}]",
        f"{{count}} {{ship.noun}}[ with {{a}}{{hull}} {{hull.noun}}][ under {_SAILS}][{_SEA}][ {{time}}]",
        f"[on a {{sea}} {{sea.noun}}, ]{_SHIPS}[ carrying {_SAILS}][ {{time}}]",
        f"{_SHIPS}[ sailing{_SEA}][ {{time}}][, with {_SAILS}]",
        f"[{{time}}, ]{_SHIPS}[ with {_SAILS}][ sailing{_SEA}]",
    ),
    "fruit": (
        f"{{count}} {{fruit}}[ on {_TABLE}][ before {_WALL}]",
        f"still life with {{count}} {{fruit}}[ on {_TABLE}][, {_WALL} behind]",
        f"still life: {{count}} {{fruit}}[ against {_BACK}][ on {_TABLE}]",
        f"{_TABLE} with {{count}} {{fruit}}[ in front of {_WALL}]",
        f"{{count}} {{fruit}} lying[ on {_TABLE}][ by {_WALL}]",
        f"study of {{count}} {{fruit}}[, {_TABLE}][ and {_WALL}]",
    ),
    "bouquet": (
        f"bouquet of {_FLOWERS}[ in {_VASE}][ on {_TABLE}][ before {_WALL}]",
        f"{_FLOWERS}[ in {_VASE}][ against {_BACK}][ on {_TABLE}]",
        f"{_VASE} of {_FLOWERS}[ on {_TABLE}][, {_WALL} behind]",
        f"{_VASE} with {_FLOWERS}[ in front of {_WALL}][, on {_TABLE}]",
        f"still life with {_FLOWERS}[ in {_VASE}][, {_TABLE}][ and {_WALL}]",
        f"a bunch of {_FLOWERS}[ in {_VASE}][ standing on {_TABLE}][ by {_WALL}]",
    ),
    "fish": (
        f"{_FISH}[ on {_PLATE}][ on {_TABLE}][ before {_WALL}]",
        f"still life with {_FISH}[ on {_PLATE}][, {_TABLE}][ and {_WALL}]",
        f"{_PLATE} with {_FISH}[ on {_TABLE}][ against {_BACK}]",
        f"{_TABLE} with {_FISH}[ on {_PLATE}][ by {_WALL}]",
        f"{_FISH}[ lying on {_PLATE}][ in front of {_WALL}][, on {_TABLE}]",
        f"kitchen piece: {_FISH}[ on {_PLATE}][, {_TABLE}][, {_WALL} behind]",
    ),
    "candle": (
        f"a {_CANDLE}[ and {_BOOK}][ on {_TABLE}][ before {_WALL}]",
        f"{_BOOK} beside a {_CANDLE}[ on {_TABLE}][ against {_BACK}]",
        f"still life with a {_CANDLE} and {_BOOK}[ on {_TABLE}][, {_WALL} behind]",
        f"a burning {_CANDLE}[ next to {_BOOK}][, {_TABLE}][ and {_WALL}]",
        f"{_TABLE} with {_BOOK} and a {_CANDLE}[ in front of {_WALL}]",
        f"vanitas: {_BOOK} and a lit {_CANDLE}[ by {_WALL}][, on {_TABLE}]",
    ),
    "windmill": (
        f"{_MILL}[ with {_ROOF}][ in {_FIELD}][ under {_SKY}][ {{time}}]",
        f"{_MILL}[ with {_ROOF}][ {{time}}][ in {_FIELD}][, {_SKY}]",
        f"landscape with {_MILL}[, {_ROOF}][, {_FIELD}][, {_SKY}][, {{time}}]",
        f"{_MILL}[ with {_ROOF}][ in {_FIELD}][ on a {{weather}} {{hour}}]",
        f"{_FIELD} with {_MILL}[ under {_ROOF}][, {{time}}][, {_SKY}]",
        f"[on a {{weather}} {{hour}}, ]{_MILL}[ with {_ROOF}][ in {_FIELD}]",
        f"[under {_SKY}, ]{_MILL}[ with {_ROOF}][ {{time}}][ in {_FIELD}]",
    ),
}
