"""What in a JSON document is not as its JSON Schema (draft 2020-12, as far as it is used here) describes it."""

import re
from collections.abc import Iterator
from typing import Any

SAYS_NOTHING = {"$schema", "$defs", "title", "description"}
CHECKED = {
    *("$ref", "type", "oneOf", "required", "properties", "patternProperties", "additionalProperties"),
    *("items", "minItems", "maxItems", "minimum", "minLength"),
}


def violations(document: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "") -> list[str]:
    """Each with where it is, such as `systems/prior: 'bleu5' is not described`; none for a valid document.

    Raises:
        ValueError: the schema uses a word that is not checked here.
    """
    root = schema if root is None else root
    unknown = schema.keys() - SAYS_NOTHING - CHECKED
    if unknown:
        raise ValueError(f"the schema uses what is not checked here: {', '.join(sorted(unknown))}")
    if "$ref" in schema:
        return violations(document, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "oneOf" in schema:
        tried = [violations(document, choice, root, at) for choice in schema["oneOf"]]
        fits = sum(not found for found in tried)
        return [] if fits == 1 else [f"{at}: fits {fits} of {len(tried)} forms: {min(tried, key=len)}"]
    if "type" in schema and not _is_of(document, schema["type"]):
        return [f"{at}: {document!r} is not of type {schema['type']}"]
    if isinstance(document, dict):
        return list(_in_object(document, schema, root, at))
    if isinstance(document, list):
        return list(_in_array(document, schema, root, at))
    if isinstance(document, str) and len(document) < schema.get("minLength", 0):
        return [f"{at}: is too short"]
    if _is_of(document, "number") and document < schema.get("minimum", document):
        return [f"{at}: {document} is below {schema['minimum']}"]
    return []


def _in_object(document: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    yield from (f"{at}: '{name}' is missing" for name in schema.get("required", ()) if name not in document)
    for name, value in document.items():
        described = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        described += [part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, name)]
        others = schema.get("additionalProperties", True)
        if not described and others is False:
            yield f"{at}: '{name}' is not described"
        if not described and isinstance(others, dict):
            described = [others]
        for part in described:
            yield from violations(value, part, root, f"{at}/{name}".lstrip("/"))


def _in_array(document: list[Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(document) <= schema.get("maxItems", len(document)):
        yield f"{at}: has {len(document)} items"
    for place, value in enumerate(document):
        yield from violations(value, schema.get("items", {}), root, f"{at}/{place}")


def _is_of(value: Any, types: str | list[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    found = {dict: "object", list: "array", str: "string", int: "integer", float: "number", type(None): "null"}
    return found[type(value)] in names or (isinstance(value, int) and "number" in names)
