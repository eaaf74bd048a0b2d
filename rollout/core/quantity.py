"""Amounts as Kubernetes writes them (k8s.io/apimachinery/pkg/api/resource): "0.5" becomes "500m", "1024Mi" "1Gi"."""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[+-]?[0-9]*)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_FINEST = 9  # decimal places: nano
_DIGITS = 18  # that always fit into 64 bits
_BINARY_DIGITS = 15
_INT64 = 2**63 - 1
_MOST = 4096  # of an exponent: nobody means more, and it would take for ever


def canonical(text: str) -> str | None:
    """The quantity as the API server writes it; None when it is no quantity.

    Like the original, a text that is short and almost in canonical form is kept as it stands ("1.500", "+5").
    """
    text = text.strip()
    found = _WRITTEN.fullmatch(text)
    if not text or found is None:
        return None
    sign, whole, fraction, suffix = found[1], found[2].lstrip("0") or "0", found[3] or "", found[4]
    if not found[2].strip("0") and found[3] is None and not suffix:
        return "0"
    power, form = _meaning(suffix)
    if power is None:
        return None
    shifted = int(whole + fraction)
    if form == "binary":
        exact = power >= 0 and not fraction
        room = _BINARY_DIGITS - len(whole) - power * 3 // 10 - 1 if exact else -1
        factor, scale = 2**power, -len(fraction)
    else:
        room = _DIGITS - len(whole) - len(fraction)
        factor, scale = 1, power - len(fraction)
    if room >= 0 and scale >= -_FINEST and shifted * factor <= _INT64:
        if _as_it_stands(form, power, scale, shifted, whole + fraction):
            return text
        amount = shifted * factor
    elif not (found[2] or fraction):
        return None
    else:
        amount, scale, form = _rounded(shifted * factor, scale, form)
    if amount == 0:
        return "0"
    return ("-" if sign == "-" else "") + _number(amount, scale, form)


def _meaning(suffix: str) -> tuple[int | None, str]:
    if suffix in _DECIMAL:
        return _DECIMAL[suffix], "decimal"
    if suffix in _BINARY:
        return _BINARY[suffix], "binary"
    if re.fullmatch(r"[eE][+-]?[0-9]+", suffix) and abs(int(suffix[1:])) <= _MOST:
        return int(suffix[1:]), "exponent"
    return None, ""


def _as_it_stands(form: str, power: int, scale: int, value: int, digits: str) -> bool:
    if form == "binary":
        return power % 10 == 0 and value & 7 != 0
    return scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _rounded(amount: int, scale: int, form: str) -> tuple[int, int, str]:
    """Away from zero to nanos; binary amounts are capped, and are decimal below one."""
    if scale < -_FINEST:
        amount, scale = -(-amount // 10 ** (-scale - _FINEST)), -_FINEST
    if form == "binary":
        one = 10 ** max(0, -scale)
        if amount > _INT64 * one:
            amount, scale = _INT64, 0
        elif 0 < amount < one:
            form = "decimal"
    return amount, scale, form


def _number(amount: int, scale: int, form: str) -> str:
    """`amount` times ten to `scale`, which is above zero."""
    one = 10 ** max(0, -scale)
    if form == "binary" and (amount < 1024 * one or amount % one):
        form = "decimal"  # nothing is gained, or something would be lost
    if form == "binary":
        whole, power = amount // one, 0
        while whole % 1024 == 0:
            whole, power = whole // 1024, power + 10
        return f"{whole}{_BINARY_SUFFIX.get(power, '')}"
    while amount % 10 == 0:
        amount, scale = amount // 10, scale + 1
    amount, scale = amount * 10 ** (scale % 3), scale - scale % 3
    if form == "exponent":
        return f"{amount}e{scale}" if scale else str(amount)
    return f"{amount}{_DECIMAL_SUFFIX.get(scale, '')}"
