"""Parses SQL just enough to find comments, strings, names and clauses."""

from __future__ import annotations

import re

TOKENS = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")
    |(?P<name>`(?:[^`]|``)*`)
    |(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<other>\s+|\w+|.)""",
    re.VERBOSE | re.DOTALL,
)
PATH = re.compile(r"\b(parquet|json|text|csv|delta)\s*\.\s*`([^`]+)`", re.IGNORECASE)
READ_FILES = re.compile(
    r"\bread_files\s*\(\s*'([^']+)'\s*(?:,\s*format\s*=>\s*'(parquet|json|text|csv)'\s*)?\)", re.IGNORECASE
)
VOLUME_PATH = re.compile(r"(?:dbfs:)?/Volumes/([^/]+)/([^/]+)/([^/]+)(/.*)?")
PART = r"(?:`(?:[^`]|``)+`|\w+)"
NAME = rf"{PART}(?:\s*\.\s*{PART}){{0,2}}"
STRING = r"""(?:'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")"""
PRINCIPAL = r"(?:`[^`]+`|\S+)"
BEFORE_NAMES = {"from", "join", "into", "update", "using", "table", "overwrite"}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def bare(sql: str) -> str:
    """Return a statement without its comments and its final semicolon."""
    kept = [" " if token["comment"] else token[0] for token in TOKENS.finditer(sql)]
    return "".join(kept).strip().removesuffix(";").strip()


def code(sql: str) -> str:
    """Return a statement with its strings emptied, to search it for words."""
    return "".join("''" if token["string"] else token[0] for token in TOKENS.finditer(sql))


def with_calls(sql: str, functions: set[str]) -> str:
    """Return a statement with parentheses added to these functions, which may be written without."""
    written = []
    for token in TOKENS.finditer(sql):
        bare_call = token[0].lower() in functions and not sql[token.end() :].lstrip().startswith("(")
        written.append(f"{token[0]}()" if bare_call else token[0])
    return "".join(written)


def with_lower_names(sql: str, names: set[str]) -> str:
    """Return a statement with these names in lower case if they are a relation's name or a part of it."""
    written, before = [], ""
    for token in TOKENS.finditer(sql):
        word = token[0]
        if word.lower() != word and not token["string"] and unquoted(word).lower() in names:
            dotted = before == "." or sql[token.end() :].lstrip().startswith(".")
            word = word.lower() if dotted or before.lower() in BEFORE_NAMES else word
        written.append(word)
        before = before if word.isspace() else word
    return "".join(written)


def with_user(sql: str, user: str) -> str:
    """Return a statement with current_user() replaced by the user's name."""
    called = re.compile(rf"{STRING}|`(?:[^`]|``)*`|\b((?:current|session)_user\s*\(\s*\))", re.IGNORECASE)
    return called.sub(lambda match: f"'{user}'" if match[1] else match[0], sql)


def read_names(sql: str) -> set[str]:
    """Return the names that a statement may read, as written; some may be names of columns.

    Names with dots count everywhere. Names without count after FROM, JOIN and the like, and after a comma, except CTEs.
    """
    text = code(sql)
    own, found, before = ctes(text), set(), ""
    for match in re.finditer(rf"{NAME}|[^\s\w`]", text):
        named = parts(match[0])
        if len(named) > 1 or (named and before.lower() in {*BEFORE_NAMES, ","} and named[0] not in own):
            found.add(match[0])
        before = match[0]
    return found


def volumes(sql: str) -> set[tuple[str, str, str]]:
    """Return the volumes from which a statement reads files."""
    paths = [match[2] for match in PATH.finditer(sql)] + [match[1] for match in READ_FILES.finditer(sql)]
    found = [match for match in map(VOLUME_PATH.fullmatch, paths) if match]
    return {(match[1].lower(), match[2].lower(), match[3].lower()) for match in found}


def ctes(sql: str) -> set[str]:
    """Return the names that a query defines in its WITH."""
    return {parts(name)[0] for name in re.findall(rf"({PART})\s+as\s*\(", sql, re.IGNORECASE)}


def parts(name: str) -> list[str]:
    """Return the parts of a dotted name in lower case, for comparison."""
    return [unquoted(part).lower() for part in re.findall(PART, name)]


def unquoted(part: str) -> str:
    """Return a part of a name without its backticks."""
    return part[1:-1].replace("``", "`") if part.startswith("`") else part


def text(string: str) -> str:
    """Return the value of a string literal."""
    body = re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), string[1:-1], flags=re.DOTALL)
    return body.replace("''", "'") if string.startswith("'") else body


def optional_text(string: str | None) -> str | None:
    """Return the value of a string literal, or None if it is missing or NULL."""
    return None if string is None or string.lower() == "null" else text(string)


def split(sql: str, separator: str = ",") -> list[str]:
    """Split at a separator, except inside strings, quoted names and parentheses."""
    found, depth = [""], 0
    for token in TOKENS.finditer(sql):
        depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(token[0], 0)
        if token[0] == separator and depth == 0:
            found.append("")
        else:
            found[-1] += token[0]
    return [item.strip() for item in found if item.strip()]


def pairs(sql: str) -> dict[str, str]:
    """Read `'a' = 'b', c.d = 5`, as in TBLPROPERTIES, TAGS and OPTIONS."""
    found = {}
    for item in split(sql):
        key, _, value = item.partition("=")
        key, value = key.strip(), value.strip()
        found[text(key) if re.fullmatch(STRING, key) else key] = text(value) if re.fullmatch(STRING, value) else value
    return found


class Reader:
    """Takes clauses one by one from the beginning of a statement."""

    def __init__(self, sql: str) -> None:
        self.rest = sql.strip()

    def take(self, pattern: str) -> re.Match[str] | None:
        """Take what matches a pattern, in which a space means any white space; None if it doesn't come next."""
        pattern = pattern.replace(" ", r"\s+")
        match = re.match(rf"(?:{pattern})(?!\w)\s*", self.rest, re.IGNORECASE | re.DOTALL)
        if match:
            self.rest = self.rest[match.end() :]
        return match

    def parenthesized(self) -> str | None:
        """Take `(...)` and return its content; None if it doesn't come next."""
        if not self.rest.startswith("("):
            return None
        depth = 0
        for token in TOKENS.finditer(self.rest):
            depth += {"(": 1, ")": -1}.get(token[0], 0)
            if depth == 0:
                inside = self.rest[1 : token.start()]
                self.rest = self.rest[token.end() :].lstrip()
                return inside
        return None
