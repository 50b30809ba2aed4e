"""Checks values against the subset of JSON Schema that docs/openapi.yaml uses; a keyword outside it is an error."""
import re
from pathlib import Path

import yaml

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "null": lambda v: v is None,
}


class Invalid(AssertionError):
    pass


def same(a, b):
    """JSON equality: true is not 1."""
    return type(a) is type(b) and a == b


def need(condition, where, text):
    if not condition:
        raise Invalid(f"{where or '(top)'}: {text}")


def matches(pattern, text):
    """ECMA-262 reading of a pattern: ASCII digits, and $ only at the very end."""
    return re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), text, re.ASCII) is not None


class Schemas:
    def __init__(self, document):
        self.document = document
        self.rules = {name[5:]: getattr(self, name) for name in dir(self) if name.startswith("rule_")}

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            found = self.document
            for word in node["$ref"].removeprefix("#/").split("/"):
                found = found[word]
            node = found
        return node

    def check(self, schema, value, where=""):
        """Raises Invalid when value does not fit the schema."""
        if "$ref" in schema:
            self.check(self.resolve(schema), value, where)
        for keyword in schema:
            if keyword not in ("$ref", "description", "default", "title", "example"):
                need(keyword.lower() in self.rules, where, f"the validator does not know the keyword {keyword}")
                self.rules[keyword.lower()](schema, value, where)

    def fits(self, schema, value):
        try:
            self.check(schema, value)
        except Invalid:
            return False
        return True

    # one method a keyword, named in lower case

    def rule_type(self, schema, value, where):
        need(TYPES[schema["type"]](value), where, f"{value!r} is no {schema['type']}")

    def rule_const(self, schema, value, where):
        need(same(value, schema["const"]), where, f"{value!r} is not {schema['const']!r}")

    def rule_enum(self, schema, value, where):
        need(any(same(value, one) for one in schema["enum"]), where, f"{value!r} is none of {schema['enum']}")

    def rule_pattern(self, schema, value, where):
        need(not isinstance(value, str) or matches(schema["pattern"], value), where, f"{value!r} does not fit {schema['pattern']}")

    def rule_minlength(self, schema, value, where):
        need(not isinstance(value, str) or len(value) >= schema["minLength"], where, "too short")

    def rule_maxlength(self, schema, value, where):
        need(not isinstance(value, str) or len(value) <= schema["maxLength"], where, "too long")

    def rule_minimum(self, schema, value, where):
        need(not TYPES["integer"](value) or value >= schema["minimum"], where, f"{value} is below {schema['minimum']}")

    def rule_maximum(self, schema, value, where):
        need(not TYPES["integer"](value) or value <= schema["maximum"], where, f"{value} is above {schema['maximum']}")

    def rule_minitems(self, schema, value, where):
        need(not isinstance(value, list) or len(value) >= schema["minItems"], where, "too few items")

    def rule_maxitems(self, schema, value, where):
        need(not isinstance(value, list) or len(value) <= schema["maxItems"], where, "too many items")

    def rule_items(self, schema, value, where):
        for number, item in enumerate(value if isinstance(value, list) else []):
            self.check(schema["items"], item, f"{where}[{number}]")

    def rule_required(self, schema, value, where):
        for name in schema["required"] if isinstance(value, dict) else []:
            need(name in value, where, f"{name} is missing")

    def rule_properties(self, schema, value, where):
        for name, item in value.items() if isinstance(value, dict) else []:
            if name in schema["properties"]:
                self.check(schema["properties"][name], item, f"{where}.{name}")

    def rule_additionalproperties(self, schema, value, where):
        need(schema["additionalProperties"] is False, where, "only additionalProperties: false is understood")
        for name in value if isinstance(value, dict) else []:
            need(name in schema.get("properties", {}), where, f"{name} is not a documented member")

    def rule_oneof(self, schema, value, where):
        hits = sum(self.fits(one, value) for one in schema["oneOf"])
        need(hits == 1, where, f"{value!r} fits {hits} of the alternatives, not one")


def load():
    return yaml.safe_load(DOCUMENT.read_text())


def walk(node):
    """Every mapping inside a document."""
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from walk(item)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def operations(document):
    """(path, METHOD, operation) of everything that is described."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation
