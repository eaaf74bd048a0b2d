"""One measured value against the conditions (or the comparator) of its metric: the phase, and the rule that decided.

Semantics: study/argo-rollouts.md 1.7. Unknown is never a pass: NaN and nothing reach the conditions only when every
condition asks for them (isNaN; len, default, isNil, ??), an incomplete answer only when it asks for `warnings`, and
infinity satisfies none that does not ask isInf.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.analysis import BAD, Comparator, Metric, Phase
from rollout.core import expr
from rollout.core.compare import Incomparable, compare, described
from rollout.core.problem import shown

_ASKS_FOR_NOTHING = frozenset({"len", "default", "isNil"})
_MAX_VALUE_TEXT = 1_000


class Verdict(msgspec.Struct, frozen=True):
    """What the source itself says about its answer, where it says something (a Job has failed, a chaos run has passed).

    `phase` counts where the metric has no condition; with a comparator a source that has Failed still has. `inconclusive`
    says why the answer decides nothing, whatever the conditions say.
    """

    phase: Phase = ""
    message: str = ""
    inconclusive: str = ""


NO_VERDICT = Verdict()


def judge(
    metric: Metric,
    result: Any,
    now: datetime,
    warnings: Sequence[str] = (),
    *,
    verdict: Verdict = NO_VERDICT,
    record: Any = None,
) -> tuple[Phase, str]:
    """The phase of a measurement whose value is `result`, and one sentence that says why.

    `warnings` are the source's doubts about the value (part of the data is missing); `record` stands for the value in
    the sentence, where not all of it may be told.
    """
    said = text(result if record is None else record)
    if verdict.inconclusive:
        return "Inconclusive", verdict.inconclusive
    if metric.comparator is not None:
        return _compared(metric.comparator, result, said, list(warnings), verdict)
    if verdict.phase and not metric.success_condition.strip() and not metric.failure_condition.strip():
        return verdict.phase, verdict.message or f"the provider says {verdict.phase}"
    try:
        return _judged(metric, result, said, now, list(warnings))
    except expr.ExprError as error:
        return "Error", error.sentence


def _compared(
    comparator: Comparator, result: Any, said: str, warnings: list[str], verdict: Verdict
) -> tuple[Phase, str]:
    if warnings:
        return "Error", f"the answer may be incomplete: {'; '.join(warnings)}"
    if verdict.phase in BAD:
        return verdict.phase, verdict.message or f"the provider says {verdict.phase}"
    try:
        holds = compare(comparator, result)
    except Incomparable as error:
        return "Error", f"comparator {described(comparator)}: {error}"
    phase: Phase = "Successful" if holds else "Failed"
    return (
        phase,
        f"comparator {described(comparator)} {'holds' if holds else 'does not hold'} for {said}",
    )


def _judged(metric: Metric, result: Any, said: str, now: datetime, warnings: list[str]) -> tuple[Phase, str]:
    success, failure = _program(metric.success_condition), _program(metric.failure_condition)
    programs = [program for program in (success, failure) if program is not None]
    if warnings and not (programs and all("warnings" in program.names for program in programs)):
        return (
            "Error",
            f"the answer may be incomplete: {'; '.join(warnings)} (conditions may ask for `warnings`)",
        )
    if unknown := _unasked(result, said, programs):
        return "Error", unknown
    variables = {"result": result, "warnings": warnings}
    failed = failure is not None and failure.evaluate_bool(variables, now)
    succeeded = success is not None and success.evaluate_bool(variables, now)
    if failed:
        return "Failed", _decided("failureCondition", metric.failure_condition, "holds", said)
    if success is None and failure is None:
        return "Successful", f"no condition; the provider answered {said}"
    if success is not None and not succeeded:
        if failure is not None:
            rule = "neither successCondition nor failureCondition holds"
            return "Inconclusive", f"{rule} for {said}"
        return "Failed", _decided("successCondition", metric.success_condition, "does not hold", said)
    if _has(result, math.isinf) and not any("isInf" in program.functions for program in programs):
        return "Error", (
            f"the result {said} is infinite and no condition says what that means; "
            "use isInf(...), or correct the query (a division by zero?)"
        )
    if success is None:
        return "Successful", _decided("failureCondition", metric.failure_condition, "does not hold", said)
    return "Successful", _decided("successCondition", metric.success_condition, "holds", said)


def _program(source: str) -> expr.Program | None:
    return expr.compile(source) if source.strip() else None


def _unasked(result: Any, said: str, programs: list[expr.Program]) -> str:
    """Why the conditions may not see this result, or ""."""
    if result is None or (isinstance(result, list | dict | str) and not result):
        if programs and all(p.coalesces or p.functions & _ASKS_FOR_NOTHING for p in programs):
            return ""
        return (
            "the result is empty (no data) and the condition does not say what that means; "
            "use len(result), default(result, ...) or isNil(result)"
        )
    if _has(result, math.isnan) and not (programs and all("isNaN" in p.functions for p in programs)):
        return (
            f"the result {said} has NaN (no data, or 0/0) and the condition does not say what that "
            "means; use isNaN(...)"
        )
    return ""


def _decided(name: str, condition: str, verdict: str, said: str) -> str:
    return f"{name} {shown(' '.join(condition.split()))} {verdict} for {said}"


def _has(result: Any, test: Any) -> bool:
    return any(test(number) for number in _floats(result))


def _floats(result: Any) -> Iterator[float]:
    stack = [result]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            yield item
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item.values())


def text(result: Any) -> str:
    """A result as users of Argo Rollouts know it: `[0.99]`, `0.5`, `[[1 2] [3 4]]` with commas, cut when long."""
    whole = _text(result)
    return whole if len(whole) <= _MAX_VALUE_TEXT else f"{whole[: _MAX_VALUE_TEXT - 1]}…"


def _text(result: Any) -> str:
    if isinstance(result, list | tuple):
        return f"[{','.join(_text(item) for item in result)}]"
    if isinstance(result, float):
        return _float(result)
    if isinstance(result, str):
        return result
    return json.dumps(result, ensure_ascii=False, default=str)


def _float(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return str(int(number)) if number.is_integer() and abs(number) < 1e16 else repr(number)
