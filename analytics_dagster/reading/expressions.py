"""JMESPath on what answers hold, with numbers that lose no digit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathTypeError

from analytics_dagster.reading.decode import decode_json


class Search:
    """A compiled expression.

    Args:
        expression: JMESPath.
    """

    def __init__(self, expression: str) -> None:
        self._search = cast("Any", jmespath.compile(expression)).search

    def __call__(self, value: Any) -> Any:
        """What it finds in a value; null where it matches nothing.

        Raises:
            ValueError: If a function is given what it does not take, in words that show no value.
        """
        try:
            return self._search(value, options=_OPTIONS)
        except JMESPathTypeError as error:
            kind = type(error.current_value).__name__
            given = {"Decimal": "a decimal of more digits than a double has"}.get(
                kind, str(error.actual_type)
            )
            problem = f"{error.function_name}() does not take {given}"
        except RecursionError:
            problem = "the values are nested too deeply"
        except (TypeError, ValueError, ArithmeticError) as error:
            problem = f"the expression fails ({type(error).__name__})"
        raise ValueError(problem)


class _ExactFunctions(functions.Functions):
    """jmespath's functions read `Decimal` as nothing in particular: to_number() would cut its digits off."""

    @functions.signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if isinstance(arg, str):
            try:
                arg = decode_json(arg.encode())
            except ValueError:
                return None
        return arg if isinstance(arg, int | float | Decimal) and not isinstance(arg, bool) else None

    @functions.signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        if isinstance(arg, str | Decimal):
            return str(arg)
        # Fails for a Decimal inside.
        return json.dumps(arg, separators=(",", ":"), ensure_ascii=False)

    @functions.signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return "number" if isinstance(arg, Decimal) else cast("Any", super())._func_type(arg)


_OPTIONS = jmespath.Options(custom_functions=_ExactFunctions())
