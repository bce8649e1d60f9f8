"""The WebAssembly that writes down what a guest asks for, while several flows go through it.

Two small modules beside a guest, in its store. The *front* stands between the guest and those host
functions that only write something down. The *back* knows how: it has the guest's memory, and goes
through the flows. While it notes, a call costs nanoseconds and meets no Python; what it is not sure
to get right it leaves to the host function, which then answers for the rest of that flow.

Two, because the guest needs the front's functions before there is a guest, and the back's need the
guest's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from proxy_core.plugin_host.abi import Contract, Import
from proxy_core.plugin_host.codes import OK, OVER_LIMIT, Hook
from proxy_core.plugin_host.hook import edit_rules as rules

# What host and back know of each other: words of 32 bits at the beginning of the desk's memory.
PLACE: Final = 0
"""Which flow the guest is in."""
FLOWS: Final = 1
NOTING: Final = 2
"""Whether what this flow asks for is written down; the back says so before each, and the host may
take it back."""
STOP: Final = 3
"""Whether to end behind this flow, and note nothing more of it, were it only to begin now."""
EDITS: Final = 4
"""How many edits of each flow may be noted."""
EDITED: Final = 5
"""Of this flow."""
LINES: Final = 6
"""How many log lines may still be noted; those behind them are over the rate."""
DROPPED: Final = 7
"""Log lines that were over the rate."""
EDITS_END: Final = 8
LINES_END: Final = 9
"""Where the next edit, and the next line, are noted: addresses."""
UNUSUAL: Final = 10
"""Zero where all hooks have returned zero."""
WORDS: Final = 11

_CLASSES: Final = 256  # address: for each byte, what it may stand in
_OF_NAME: Final = 1
_OF_VALUE: Final = 2

MOST_FLOWS: Final = 64
CODES: Final = 512
"""Address: what the hook has returned for each flow; words."""
ENDS: Final = CODES + 4 * MOST_FLOWS
"""Address: where the edits of each flow end; words."""
FIRST_EDIT: Final = 1024
_EDITS_TOP: Final = 40 * 1024
FIRST_LINE: Final = _EDITS_TOP
_TOP: Final = 64 * 1024

MOST_EDITS: Final = 16
_NAME_BYTES: Final = 256
_VALUE_BYTES: Final = 1024
_LINE_BYTES: Final = 1024

SET: Final = 1 << 15
"""In an edit's first half word, beside the length of its name: set rather than add."""
_ASK: Final = -100  # "the host function has to say", which no host function answers

TOGETHER: Final = (Hook.REQUEST, Hook.RESPONSE)
"""Hooks to which flows come several at a time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the two modules have to look like for a guest."""

    noted: tuple[Import, ...]
    """What it imports of the functions that are noted."""
    hooks: tuple[Hook, ...]

    @classmethod
    def of(cls, contract: Contract) -> Shape | None:
        """Return the shape for guests of that contract, or None where they get no desk.

        A guest that runs as it is made finds its memory by who calls the host: itself, no front.
        """
        hooks = tuple(hook for hook in TOGETHER if hook in contract.hooks)
        if contract.dialect or contract.starts or not contract.has_memory or not hooks:
            return None
        return cls(tuple(i for i in contract.imports if i.function.name in _NOTERS), hooks)

    @property
    def logs(self) -> bool:
        """Whether it may write log lines."""
        return any(item.function.name == "host_log" for item in self.noted)

    @property
    def edits(self) -> bool:
        """Whether it may edit at all."""
        return any(item.function.name != "host_log" for item in self.noted)


@cache
def every(hook: Hook) -> str:
    """The back's export that takes all flows through a hook; it returns the last one's code."""
    return f"every {hook.export}"


def front_text(shape: Shape) -> str:
    """The module whose functions the guest imports in place of the host's."""
    parts = [
        *(f"(import {_quoted(item)} {_function(f'$host{at}', item)})" for at, item in _of(shape)),
        '(memory (export "desk") 1)',
        f'(table (export "noters") {len(shape.noted)} funcref)',
        *(_front_function(at, item) for at, item in _of(shape)),
    ]
    return "(module\n" + "\n".join(parts) + ")"


def _front_function(at: int, item: Import) -> str:
    arguments = " ".join(f"(local.get {number})" for number in range(len(item.function.params)))
    return f"""
(func (export "{item.function.name}") {_signature(item)} (local $answer i32)
  (if (i32.load (i32.const {4 * NOTING})) (then
    (local.set $answer
      (call_indirect {_params(item)} (result i32) {arguments} (i32.const {at})))
    (if (i32.ne (local.get $answer) (i32.const {_ASK}))
      (then (return {"(local.get $answer)" if item.results else ""})))))
  (call $host{at} {arguments}))"""


def back_text(shape: Shape) -> str:
    """The module that goes through the flows and writes down what they ask for."""
    noters = [f"$noter{at}" for at, _ in _of(shape)]
    parts = [
        '(import "guest" "memory" (memory $guest 0))',
        '(import "desk" "desk" (memory $desk 1))',
        f'(import "desk" "noters" (table {len(noters)} funcref))',
        *(f'(import "guest" "{h.export}" (func ${h.export} (result i32)))' for h in shape.hooks),
        f"(elem (i32.const 0) func {' '.join(noters)})" if noters else "",
        _HOLDS,
        _IS_ALL if shape.edits else "",
        _note_edit() if shape.edits else "",
        *(_noter(at, item) for at, item in _of(shape)),
        *(_every(hook) for hook in shape.hooks),
    ]
    return "(module\n" + "\n".join(part for part in parts if part) + ")"


def classes() -> tuple[int, bytes]:
    """What the back wants to find in the desk's memory: where, and the bytes."""
    table = bytearray(256)
    for byte in range(256):
        one = bytes((byte,))
        if rules.is_token(one):
            table[byte] |= _OF_NAME
        if rules.is_value(one):
            table[byte] |= _OF_VALUE
    return _CLASSES, bytes(table)


def _of(shape: Shape) -> list[tuple[int, Import]]:
    return list(enumerate(shape.noted))


def _quoted(item: Import) -> str:
    return f'"{item.function.module}" "{item.function.name}"'


def _function(name: str, item: Import) -> str:
    return f"(func {name} {_signature(item)})"


def _params(item: Import) -> str:
    return f"(param {' '.join(item.function.params)})"


def _signature(item: Import) -> str:
    return f"{_params(item)} {f'(result {item.results[0]})' if item.results else ''}"


def _word(number: int) -> str:
    return f"(i32.load $desk (i32.const {4 * number}))"


def _set_word(number: int, value: str) -> str:
    return f"(i32.store $desk (i32.const {4 * number}) {value})"


def _add_to_word(number: int, value: str) -> str:
    return _set_word(number, f"(i32.add {_word(number)} {value})")


_STILL_NOTING: Final = f"(br_if $ask (i32.eqz {_word(NOTING)}))"
"""The host may have said no while a noter was interrupted, in a call, a loop or a copy. What stands
behind this is done in one go."""

_HOLDS: Final = """
(func $holds (param $at i32) (param $length i32) (result i32)
  (i64.le_u
    (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $length)))
    (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16))))"""

_IS_ALL: Final = f"""
(func $is_all (param $class i32) (param $at i32) (param $length i32) (result i32)
  (local $end i32)
  (local.set $end (i32.add (local.get $at) (local.get $length)))
  (block $no
    (loop $next
      (if (i32.eq (local.get $at) (local.get $end)) (then (return (i32.const 1))))
      (br_if $no (i32.eqz (i32.and (local.get $class)
        (i32.load8_u $desk offset={_CLASSES} (i32.load8_u $guest (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
  (i32.const 0))"""


def _note_edit() -> str:
    """(name, its length, value, its length, SET or 0) -> OK, or _ASK.

    Names that look like one of the proxy's own by length and first letter are the host's to judge.
    """
    owned = sorted({(len(name) << 8) | name[0] for name in rules.PROXY_OWNED})
    is_owned = " ".join(
        f"(br_if $ask (i32.eq (local.get $key) (i32.const {key})))" for key in owned
    )
    return f"""
(func $note_edit (param $name i32) (param $name_length i32) (param $value i32)
    (param $value_length i32) (param $kind i32) (result i32)
  (local $at i32) (local $text i32) (local $key i32)
  (block $ask
    (br_if $ask (i32.ge_u {_word(EDITED)} {_word(EDITS)}))
    (br_if $ask (i32.eqz (local.get $name_length)))
    (br_if $ask (i32.gt_u (local.get $name_length) (i32.const {_NAME_BYTES})))
    (br_if $ask (i32.gt_u (local.get $value_length) (i32.const {_VALUE_BYTES})))
    (br_if $ask (i32.eqz (call $holds (local.get $name) (local.get $name_length))))
    (br_if $ask (i32.eqz (call $holds (local.get $value) (local.get $value_length))))
    (local.set $at {_word(EDITS_END)})
    (br_if $ask (i32.gt_u
      (i32.add (local.get $at) (i32.add (local.get $name_length) (local.get $value_length)))
      (i32.const {_EDITS_TOP - 4})))
    (local.set $key (i32.or (i32.shl (local.get $name_length) (i32.const 8))
      (i32.or (i32.load8_u $guest (local.get $name)) (i32.const {0x20}))))
    {is_owned}
    (br_if $ask (i32.eqz
      (call $is_all (i32.const {_OF_NAME}) (local.get $name) (local.get $name_length))))
    (br_if $ask (i32.eqz
      (call $is_all (i32.const {_OF_VALUE}) (local.get $value) (local.get $value_length))))
    (local.set $text (i32.add (local.get $at) (i32.const 4)))
    (memory.copy $desk $guest (local.get $text) (local.get $name) (local.get $name_length))
    (local.set $text (i32.add (local.get $text) (local.get $name_length)))
    (memory.copy $desk $guest (local.get $text) (local.get $value) (local.get $value_length))
    {_STILL_NOTING}
    (i32.store16 $desk (local.get $at) (i32.or (local.get $name_length) (local.get $kind)))
    (i32.store16 $desk offset=2 (local.get $at) (local.get $value_length))
    {_set_word(EDITS_END, "(i32.add (local.get $text) (local.get $value_length))")}
    {_add_to_word(EDITED, "(i32.const 1)")}
    (return (i32.const {OK})))
  (i32.const {_ASK}))"""


_LOG: Final = f"""
(param $level i32) (param $text i32) (param $length i32) (result i32) (local $at i32)
  (block $ask
    (br_if $ask (i32.gt_u (local.get $length) (i32.const {_LINE_BYTES})))
    (br_if $ask (i32.eqz (call $holds (local.get $text) (local.get $length))))
    (if (i32.eqz {_word(LINES)}) (then
      {_STILL_NOTING}
      {_add_to_word(DROPPED, "(i32.const 1)")}
      (return (i32.const {OVER_LIMIT}))))
    (local.set $at {_word(LINES_END)})
    (br_if $ask (i32.gt_u (i32.add (local.get $at) (local.get $length))
      (i32.const {_TOP - 12})))
    (memory.copy $desk $guest
      (i32.add (local.get $at) (i32.const 12)) (local.get $text) (local.get $length))
    {_STILL_NOTING}
    (i32.store $desk (local.get $at) {_word(PLACE)})
    (i32.store $desk offset=4 (local.get $at) (local.get $level))
    (i32.store $desk offset=8 (local.get $at) (local.get $length))
    {_set_word(LINES_END, "(i32.add (local.get $at) (i32.add (local.get $length) (i32.const 12)))")}
    {_add_to_word(LINES, "(i32.const -1)")}
    (return (i32.const {OK})))
  (i32.const {_ASK}))"""


def _edit(kind: int) -> str:
    arguments = " ".join(f"(local.get {number})" for number in range(4))
    return f"""
(param i32 i32 i32 i32) (result i32)
  (call $note_edit {arguments} (i32.const {kind})))"""


_NOTERS: Final = {"host_log": _LOG, "host_add_header": _edit(0), "host_set_header": _edit(SET)}
"""By host function, how its call is noted: the rest of a function's text, its name left out."""


def _noter(at: int, item: Import) -> str:
    return f"(func $noter{at} {_NOTERS[item.function.name].strip()}"


def _every(hook: Hook) -> str:
    return f"""
(func (export "{every(hook)}") (result i32) (local $at i32) (local $code i32)
  (loop $next
    {_set_word(EDITED, "(i32.const 0)")}
    {_set_word(NOTING, f"(i32.eqz {_word(STOP)})")}
    (local.set $code (call ${hook.export}))
    {_set_word(UNUSUAL, f"(i32.or {_word(UNUSUAL)} (local.get $code))")}
    (local.set $at (i32.shl {_word(PLACE)} (i32.const 2)))
    (i32.store $desk offset={CODES} (local.get $at) (local.get $code))
    (i32.store $desk offset={ENDS} (local.get $at) {_word(EDITS_END)})
    (if (i32.eqz {_word(STOP)}) (then
      {_add_to_word(PLACE, "(i32.const 1)")}
      (br_if $next (i32.lt_u {_word(PLACE)} {_word(FLOWS)})))))
  {_set_word(NOTING, "(i32.const 0)")}
  (local.get $code))"""
