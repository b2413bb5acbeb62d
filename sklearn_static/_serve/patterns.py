"""Regular expressions as tables for the compiled engine.

The patterns by which tokenizers split text consist of classes of characters, repetitions,
alternatives and a look at the next character. Such a pattern is a finite automaton; its classes of
characters are asked from the library that the original tokenizer uses.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.characters import Table, classes_of, members

_MOST_STATES = 2000
# As in pattern.hpp.
_ENDS_BEFORE = 0x8000
_QUANTIFIER = re.compile(r"[?*+]|\{(\d+)(,?)(\d*)\}")
# What may follow a backslash for a class of characters or for a character.
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?\w+\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[sSdDwWrntfv]|\W)")


class UnsupportedError(ValueError):
    """The pattern is not of the kind described above."""


@dataclass
class _Program:
    """A nondeterministic automaton; the alternatives of a state are in their order."""

    # ("any", set, next), ("either", next, next), ("look", set, is_negated, next) or ("end",)
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    sets: list[NDArray[np.bool_]] = field(default_factory=list)
    set_of_atom: dict[str, int] = field(default_factory=dict)

    def atom(self, pattern: str) -> int:
        if pattern not in self.set_of_atom:
            self.set_of_atom[pattern] = len(self.sets)
            try:
                self.sets.append(members(pattern))
            except Exception as error:  # tokenizers has no narrower class
                raise UnsupportedError(f"{pattern!r} is not a class of characters.") from error
        return self.set_of_atom[pattern]

    def add(self, *step: Any) -> int:
        self.steps.append(step)
        return len(self.steps) - 1


# A part of a pattern: ("set", i), ("look", i, is_negated), ("sequence", parts),
# ("alternatives", parts), or ("repeat", part, least, most or None).
_Part = tuple[Any, ...]


class _Parser:
    def __init__(self, pattern: str, program: _Program) -> None:
        self.pattern = pattern
        self.program = program
        self.place = 0
        self.strings: set[str] = set()  # of which the case is ignored

    def parse(self) -> _Part:
        part = self._alternatives(ignores_case=False)
        if self.place < len(self.pattern):
            raise UnsupportedError(f"{self.pattern!r} has an unbalanced parenthesis.")
        # Such as "ss", which "ß" matches.
        strings = "|".join(map(re.escape, sorted(self.strings)))
        if strings and members(f"(?i:{strings})").any():
            raise UnsupportedError(
                f"A string in {self.pattern!r} matches a single character when case is ignored."
            )
        return part

    def _peek(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.place):
            return False
        self.place += len(text)
        return True

    def _alternatives(self, ignores_case: bool) -> _Part:
        parts = [self._sequence(ignores_case)]
        while self._peek("|"):
            parts.append(self._sequence(ignores_case))
        return parts[0] if len(parts) == 1 else ("alternatives", parts)

    def _sequence(self, ignores_case: bool) -> _Part:
        parts: list[_Part] = []
        literals = ""
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            start = self.place
            part = self._one(ignores_case)
            literal = self.pattern[start : self.place]
            parts.append(self._repeated(part))
            if ignores_case and part[0] not in ("set", "look") and len(parts) > 1:
                raise UnsupportedError(
                    "A group within a string is not supported if case is ignored."
                )
            literals += literal if len(literal) == 1 else "\0"
        if ignores_case:
            self._note_strings(literals)
        return ("sequence", parts)

    def _note_strings(self, literals: str) -> None:
        """Note strings of which the case is ignored; "\\0" stands for what is no literal."""
        for run in filter(None, literals.split("\0")):
            self.strings |= {run[i:j] for i in range(len(run)) for j in range(i + 2, len(run) + 1)}

    def _repeated(self, part: _Part) -> _Part:
        match = _QUANTIFIER.match(self.pattern, self.place)
        if match is None:
            return part
        if part[0] == "look":
            raise UnsupportedError("A look-ahead is repeated.")
        self.place = match.end()
        # Lazy and possessive quantifiers, and a quantifier of a quantifier.
        if _QUANTIFIER.match(self.pattern, self.place):
            raise UnsupportedError(f"{self.pattern!r} has two quantifiers one after the other.")
        kind = match[0][0]
        if kind != "{":
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[kind]
        else:
            least = int(match[1])
            most = least if not match[2] else int(match[3]) if match[3] else None
            if max(least, most or 0) > 64 or (most is not None and most < least):
                raise UnsupportedError(f"{match[0]} is out of range.")
        return ("repeat", part, least, most)

    def _one(self, ignores_case: bool) -> _Part:
        for opening, negated in (("(?!", True), ("(?=", False)):
            if self._peek(opening):
                inner = self._alternatives(ignores_case)
                self._close()
                while inner[0] == "sequence" and len(inner[1]) == 1:
                    inner = inner[1][0]
                if inner[0] != "set":
                    raise UnsupportedError("A look-ahead is longer than one character.")
                return ("look", inner[1], negated)
        if self._peek("(?i:"):
            ignores_case = True
        elif not self._peek("(?:") and (
            self.pattern.startswith("(?", self.place) or not self._peek("(")
        ):
            return self._atom(ignores_case)
        inner = self._alternatives(ignores_case)
        self._close()
        return inner

    def _close(self) -> None:
        if not self._peek(")"):
            raise UnsupportedError(f"{self.pattern!r} has an unbalanced parenthesis.")

    def _atom(self, ignores_case: bool) -> _Part:
        text = self.pattern[self.place]
        if text == "[":
            text = self._bracket()
        elif text == "\\":
            match = _ESCAPE.match(self.pattern, self.place)
            if match is None:
                raise UnsupportedError(f"{self.pattern[self.place :][:2]} is not supported.")
            text = match[0]
        elif text in "^$.?*+{(":
            raise UnsupportedError(f"{text!r} is not supported.")
        self.place += len(text)
        if ignores_case and ("\\" in text or not text.isascii()):
            # Such as one that matches two characters, as "ß" does "ss".
            raise UnsupportedError(f"{text!r} is not supported when case is ignored.")
        if len(text) == 1:
            text = re.escape(text)
        return ("set", self.program.atom(f"(?i:{text})" if ignores_case else text))

    def _bracket(self) -> str:
        depth = 0
        i = self.place
        while i < len(self.pattern):
            c = self.pattern[i]
            if c == "\\":
                i += 1
            elif c == "[":
                depth += 1
            elif c == "]":
                depth -= 1
                if depth == 0:
                    return self.pattern[self.place : i + 1]
            i += 1
        raise UnsupportedError(f"{self.pattern!r} has an unbalanced bracket.")


def _compile(part: _Part, program: _Program, following: int) -> int:
    """Add the steps of a part that goes on at `following`; return its first step."""
    kind = part[0]
    if kind == "set":
        return program.add("any", part[1], following)
    if kind == "look":
        return program.add("look", part[1], part[2], following)
    if kind == "sequence":
        for inner in reversed(part[1]):
            following = _compile(inner, program, following)
        return following
    if kind == "alternatives":
        starts = [_compile(inner, program, following) for inner in part[1]]
        last = starts.pop()
        for start in reversed(starts):
            last = program.add("either", start, last)
        return last
    _, inner, least, most = part
    if _may_be_empty(inner):
        raise UnsupportedError("Something that may be empty is repeated.")
    if most is None:
        loop = program.add("either", 0, following)
        program.steps[loop] = ("either", _compile(inner, program, loop), following)
        following = loop
    else:
        after = following
        for _ in range(most - least):
            following = program.add("either", _compile(inner, program, following), after)
    for _ in range(least):
        following = _compile(inner, program, following)
    return following


def _may_be_empty(part: _Part) -> bool:
    kind = part[0]
    if kind == "sequence":
        return all(map(_may_be_empty, part[1]))
    if kind == "alternatives":
        return any(map(_may_be_empty, part[1]))
    if kind == "repeat":
        return part[2] == 0 or _may_be_empty(part[1])
    return bool(kind == "look")


def compile_pattern(pattern: str) -> dict[str, Any]:
    """Convert a regular expression to tables.

    Parameters
    ----------
    pattern : str
        The pattern, in the syntax of the tokenizers library (Oniguruma).

    Returns
    -------
    tables : dict
        The tables that the engine reads.

    Raises
    ------
    UnsupportedError
        If the pattern is not of the kind that this module describes, or may match nothing.
    """
    return dict(_compiled(pattern))


@cache
def _compiled(pattern: str) -> dict[str, Any]:
    program = _Program()
    part = _Parser(pattern, program).parse()
    return _tables(part, program)


def compile_runs(sets: Sequence[NDArray[np.bool_]], *, repeats: bool) -> dict[str, Any]:
    """Make the tables of a pattern that matches characters of one of several sets.

    Parameters
    ----------
    sets : sequence of ndarray of bool, shape (N_CODE_POINTS,)
        The sets, by descending priority.
    repeats : bool
        Whether a match is a run of such characters instead of one.

    Returns
    -------
    tables : dict
        The tables that the engine reads.
    """
    program = _Program(sets=list(sets))
    parts: list[_Part] = [("set", i) for i in range(len(sets))]
    if repeats:
        parts = [("repeat", part, 1, None) for part in parts]
    return _tables(("alternatives", parts), program)


def _tables(part: _Part, program: _Program) -> dict[str, Any]:
    if _may_be_empty(part):
        raise UnsupportedError("The pattern may match nothing.")
    start = _compile(part, program, program.add("end"))
    classes, bits = classes_of(program.sets)
    n_classes = len(bits) + 1
    states: list[tuple[int, ...]] = [(), (start,)]
    number_of = {state: number for number, state in enumerate(states)}
    rows = [[0] * n_classes]
    while len(rows) < len(states):
        row = []
        for character_class in range(n_classes):
            member = bits[character_class] if character_class < len(bits) else None
            following, ends = _step(program, states[len(rows)], member)
            if following not in number_of:
                number_of[following] = len(states)
                states.append(following)
            row.append(number_of[following] | (_ENDS_BEFORE if ends else 0))
        rows.append(row)
        if len(states) > _MOST_STATES:
            raise UnsupportedError("The pattern has too many states.")
    letters = [classes["pages"][ord(c)] for c in string.ascii_letters]
    return {
        "classes": classes,
        "next": np.array(rows, dtype=np.uint16).ravel(),
        "skips": np.array([_skips(row, i, letters) for i, row in enumerate(rows)], dtype=np.uint8),
        "can_begin": _first_bytes(np.array(rows[1][:-1]) != 0, classes),
        "n_classes": n_classes,
    }


def _first_bytes(begins: NDArray[np.bool_], classes: Table) -> NDArray[np.uint8]:
    """Say for each byte whether a character that it may begin has a class that begins a match."""
    characters = begins[classes["pages"].reshape(-1, 256)[classes["index"]]].ravel()
    result = np.zeros(256, dtype=np.uint8)
    result[:0x80] = characters[:0x80]
    # A first byte holds the highest bits of the code point: five, four or three of them.
    result[0xC0:0xE0] = characters[: 1 << 11].reshape(32, -1).any(axis=1)
    result[0xE0:0xF0] = characters[: 1 << 16].reshape(16, -1).any(axis=1)
    for i in range(5):
        result[0xF0 + i] = characters[i << 18 : i + 1 << 18].any()
    return result


def _skips(row: Sequence[int], state: int, letters: Sequence[int]) -> int:
    """Say which ASCII letters leave a state as it is: lowercase ones (1), all (2) or none (0)."""
    if not all(step & _ENDS_BEFORE for step in row):
        return 0  # the end of a match must be noted at each letter
    stays = [row[letter] == state | _ENDS_BEFORE for letter in letters]
    return 2 if all(stays) else 1 if all(stays[:26]) else 0


def _step(
    program: _Program, state: tuple[int, ...], member: NDArray[np.bool_] | None
) -> tuple[tuple[int, ...], bool]:
    """Read a character (None: the end of the text); return the next state, and whether a match ends
    before the character.
    """
    following: dict[int, None] = {}
    seen: set[int] = set()
    waiting = list(reversed(state))
    while waiting:
        i = waiting.pop()
        if i in seen:
            continue
        seen.add(i)
        step = program.steps[i]
        if step[0] == "end":
            return tuple(following), True  # all that follows has a lower priority
        if step[0] == "either":
            waiting += [step[2], step[1]]
        elif step[0] == "look":
            if (member is not None and bool(member[step[1]])) != step[2]:
                waiting.append(step[3])
        elif member is not None and member[step[1]]:
            following[step[2]] = None
    return tuple(following), False
