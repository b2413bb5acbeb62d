"""JSON objects in a model's folder, whose values are checked when they are read."""

import reprlib
from collections.abc import Mapping
from typing import Any


class Settings:
    """A JSON object; a missing key and null mean the default.

    Parameters
    ----------
    values : dict
        The object.
    where : str
        The model and the file, for messages.

    Attributes
    ----------
    where : str
        The model and the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        """Return whether the key is there, if only with null."""
        return key in self._values

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value: bool = self._get(key, bool, "true or false", default)
        return value

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a string."""
        value: str | None = self._get(key, str, "a string", default)
        return value

    def count(self, key: str, default: int | None = None, least: int = 1) -> int | None:
        """Return an integer that is at least `least`."""
        value: int | None = self._get(key, int, f"an integer of at least {least}", default)
        if value is not None and value is not default and value < least:
            raise self.error(key, f"an integer of at least {least}")
        return value

    def number(self, key: str) -> float | None:
        """Return a number, such as one that is too large for an integer elsewhere."""
        kind = int if isinstance(self._values.get(key), int) else float
        value: float | None = self._get(key, kind, "a number", None)
        return value

    def object(self, key: str) -> "Settings":
        """Return an object; empty by default."""
        values: Mapping[str, Any] = self._get(key, dict, "an object", {})
        return Settings(values, f"{self.where}, {key}")

    def required(self, key: str, least: int = 1) -> int:
        """Return an integer that must be there."""
        value = self.count(key, least=least)
        if value is None:
            raise self.error(key, f"an integer of at least {least}")
        return value

    def keys(self) -> list[str]:
        """Return the keys."""
        return list(self._values)

    def raw(self, key: str) -> Any:
        """Return a value of any type, which the caller must check."""
        return self._values.get(key)

    def error(self, key: str, rule: str) -> ValueError:
        """Return the error for a value that breaks a rule."""
        got = reprlib.repr(self._values.get(key))
        return ValueError(f"{self.where}: {key!r} must be {rule}, got {got}; correct the file.")

    def _get(self, key: str, kind: type, rule: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, rule)
        return value
