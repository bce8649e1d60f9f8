"""Operands that are numbers: `404`, `4xx`, `400-499`, `>=400`, `<10k`, `1s-5s`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy_core.policy.filters.operators import Operand

_UNITS: dict[Operand, dict[str, float]] = {
    Operand.NUMBER: {"": 1},
    Operand.SIZE: {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3},
    Operand.TIME: {"": 1, "s": 1, "ms": 0.001, "m": 60},
}
_EXAMPLES = {
    Operand.NUMBER: "404, 4xx, 400-499, >=400",
    Operand.SIZE: "100, >10k, 1m-5m",
    Operand.TIME: ">2, >500ms, 1s-5s",
}
_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-z]{0,2})", re.ASCII)
_CLASS = re.compile(r"[1-9]xx", re.ASCII)
_SIGN = re.compile(r"<=|>=|<|>|=")


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`; both belong to it unless `open_low` or `open_high`."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)


def parse_range(text: str, operand: Operand) -> Range:
    """Read a number or range; times come in seconds. Raises ValueError with a remedy."""
    lowered = text.lower()
    if operand is Operand.NUMBER and _CLASS.fullmatch(lowered):
        low = int(lowered[0]) * 100
        return Range(low, low + 99)
    if sign := _SIGN.match(lowered):
        value = _value(lowered[sign.end() :], text, operand)
        infinity = float("inf")
        match sign.group():
            case "<":
                return Range(-infinity, value, open_high=True)
            case "<=":
                return Range(-infinity, value)
            case ">":
                return Range(value, infinity, open_low=True)
            case ">=":
                return Range(value, infinity)
            case _:
                return Range(value, value)
    low_text, dash, high_text = lowered.partition("-")
    start = _value(low_text, text, operand)
    end = _value(high_text, text, operand) if dash else start
    if end < start:
        raise ValueError(f"the range {text} ends before it begins; write the lower number first")
    return Range(start, end)


def _value(part: str, text: str, operand: Operand) -> float:
    found = _NUMBER.fullmatch(part)
    unit = _UNITS[operand].get(found.group(2)) if found else None
    if found is None or unit is None:
        raise ValueError(f"{text!r} is not a {operand.value}; write one like {_EXAMPLES[operand]}")
    return float(found.group(1)) * unit
