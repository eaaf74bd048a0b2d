"""Quantities ("250m", "1.5Gi"), in the canonical form that the API server stores.

Syntax and canonical form: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
"""

from __future__ import annotations

import re
from fractions import Fraction

_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_SYNTAX = re.compile(
    r"([+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40}))(?:([eE][+-]?[0-9]{1,2})|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?"
)


def parse(text: str) -> Fraction:
    """The exact value. ValueError when `text` is not a quantity."""
    found = _SYNTAX.fullmatch(text)
    if not found:
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    number, exponent, suffix = found.groups()
    if exponent:
        return Fraction(number) * Fraction(10) ** int(exponent[1:])
    return Fraction(number) * (_BINARY.get(suffix or "") or _DECIMAL[suffix or ""])


def canonical(value: str | float) -> str:
    """`value` with the largest suffix of its own family that leaves a whole number. ValueError if malformed."""
    text = value if isinstance(value, str) else _plain(value)
    amount = parse(text)
    if re.search("[eE][+-]?[0-9]+$", text):
        return text
    if text.endswith("i") and amount.denominator == 1:
        unit = next((name for name in reversed(_BINARY) if amount and amount % _BINARY[name] == 0), "")
        return f"{amount / _BINARY.get(unit, 1)}{unit}"
    if not amount:
        return "0"
    unit = next((name for name in reversed(_DECIMAL) if (amount / _DECIMAL[name]).denominator == 1), "n")
    whole = amount / _DECIMAL[unit]
    return f"{-(-whole.numerator // whole.denominator)}{unit}"


def _plain(number: float) -> str:
    """A JSON number without an exponent."""
    return str(int(number)) if float(number).is_integer() else format(number, "f").rstrip("0")
