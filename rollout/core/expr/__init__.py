"""The expression language of analysis conditions: the part of expr-lang that users of Argo Rollouts write.

    program = compile("result[0] >= 0.95")     # ExprError with the place when it cannot be read
    program.evaluate_bool({"result": [0.99]})  # True; ExprError when it has no answer

An own tokenizer, Pratt parser and tree walk over plain data: no eval, no attributes of Python objects, and
bounds on length, depth, steps, collections, strings and numbers (`limits`). What differs from the original
says so instead of guessing, see `values` and `Program`; tools/exprdiff compares the two.
"""

from rollout.core.expr import regex
from rollout.core.expr.errors import ExprError
from rollout.core.expr.program import Program, compile, unknown_names  # noqa: A004 - the language's own word

__all__ = ["ExprError", "Program", "compile", "regex", "unknown_names"]
