"""`audited`: an event for each call of a function, plain or asynchronous.

    @audited(recorder, "user.delete", verb="delete", details=lambda user_id: {"targets": [{"id": user_id}]})
    def delete_user(user_id: str) -> None: ...

The event is recorded when the call ends. An error makes it a failure with the error's class as the reason
(`PermissionError`: denied) and goes on. Arguments are not recorded but through `details`, which is given them.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, TypeVar, cast

from graven.core.errors import GravenError
from graven.programs.recorder import Recorder, event_fields

_F = TypeVar("_F", bound=Callable[..., Any])


def audited(
    recorder: Recorder, action: str, *, details: Callable[..., Mapping[str, Any]] | None = None, **event: Any
) -> Callable[[_F], _F]:
    """A decorator. `event`: fields of every event (verb, category, …); `details(*args, **kwargs)`: more of each."""

    def decorate(function: _F) -> _F:
        def record(
            args: tuple[Any, ...], kwargs: dict[str, Any], started_s: float, error: BaseException | None
        ) -> None:
            try:
                given = dict(details(*args, **kwargs)) if details is not None else {}
                outcome = "success"
                if error is not None:
                    outcome = "denied" if isinstance(error, PermissionError) else "failure"
                more = {
                    "action": action,
                    "outcome": outcome,
                    "reason": type(error).__name__ if error is not None else None,
                    "data": {"duration_ms": round((perf_counter() - started_s) * 1000, 3)},
                    **event,
                }
                recorder.record(event_fields(given, more))
            except (GravenError, ValueError, TypeError, KeyError, AttributeError) as fault:
                recorder.note_fault(fault)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                started_s = perf_counter()
                try:
                    found = await function(*args, **kwargs)
                except BaseException as error:
                    record(args, kwargs, started_s, error)
                    raise
                record(args, kwargs, started_s, None)
                return found

            return cast(_F, awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            started_s = perf_counter()
            try:
                found = function(*args, **kwargs)
            except BaseException as error:
                record(args, kwargs, started_s, error)
                raise
            record(args, kwargs, started_s, None)
            return found

        return cast(_F, called)

    return decorate
