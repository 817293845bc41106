"""Makes the sender's text safe to print on a terminal."""


def printable(text: str) -> str:
    """Return the text with each control character, line break and invisible character as its code, e.g. <U+001B>."""
    return "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in text)
