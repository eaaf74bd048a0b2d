"""Carries a plan out. Run by locust in a process of its own; never imported by us.

One process alone, or a master that counts and workers that send. The test begins when everything is there, and not
before `start_at`; it ends after its duration, when what was sent is answered or timed out. Progress goes to stdout
once a second and the result at the end (`analysis.load.lines`). A user's own locustfile may be loaded beside this
one; then the plan has no requests, and what the user's code sends is counted in the same way.

Locust's own process: it has its own clock and chance, and gevent instead of asyncio.
"""

import base64
import json
import math
import os
import random
import time
from typing import Any

import gevent
from locust import FastHttpUser, User, constant, events, runners, task
from locust.contrib.fasthttp import FastHttpSession
from locust.runners import MasterRunner, WorkerRunner

from analysis.load import lines
from analysis.load.plan import (
    PLAN_VARIABLE,
    SECRETS_VARIABLE,
    Request,
    arrivals,
    decode,
    draw,
    revealed,
)
from analysis.load.proxy import Proxy, proxy_for
from analysis.load.tally import Tally

PLAN = revealed(decode(os.environ[PLAN_VARIABLE]), json.loads(os.environ.get(SECRETS_VARIABLE) or "{}"))
PROXY: Proxy | None = proxy_for(PLAN.target, os.environ)
STOP, DONE = "surefoot-stop", "surefoot-done"
REPORT_SECONDS = 1.0
LAST_REPORT_SECONDS = 10.0
BURST = 32
"""Arrivals that are sent without letting others run, when several are due at once."""

runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS  # locust's 3 s are too coarse for progress once a second


class Test:
    """The state of this process."""

    def __init__(self) -> None:
        self.environment: Any = None
        self.runner: Any = None
        self.tally = Tally()
        self.started = 0.0
        self.active = 0
        """Requests of an open load that are being answered."""
        self.peak = 0
        self.pacing = False
        self.reporting: set[str] = set()
        """Workers that still have to say what they counted last."""
        self.busy: dict[str, int] = {}
        self.peaks: dict[str, int] = {}
        """By worker: users with a request under way, now and at most."""

    @property
    def is_worker(self) -> bool:
        return isinstance(self.runner, WorkerRunner)

    @property
    def is_master(self) -> bool:
        return isinstance(self.runner, MasterRunner)

    @property
    def users(self) -> int:
        """At present: those with a request under way (open), or all that were started (closed)."""
        if PLAN.model == "closed":
            return int(self.runner.user_count)
        return sum(self.busy.values()) if self.is_master else self.active

    @property
    def peak_users(self) -> int:
        return sum(self.peaks.values()) if PLAN.model == "open" and self.is_master else self.peak

    def handed_over(self) -> dict[str, Any]:
        """What was counted since the last time."""
        counted, self.tally = self.tally, Tally()
        return {"tally": counted.plain(), "busy": self.active, "peak": self.peak}


TEST = Test()


# --- what is sent -----------------------------------------------------------------------------------


def session(user: Any) -> Any:
    """One visitor's connection. No retries and no redirects: one request is one answer."""
    proxy = PROXY
    options: dict[str, Any] = {}
    if proxy is not None:
        options = {
            "proxy_host": proxy.host,
            "proxy_port": proxy.port,
            "proxy_user": proxy.user,
            "proxy_password": proxy.password,
        }
    found = FastHttpSession(
        base_url=PLAN.target,
        request_event=TEST.environment.events.request,
        user=user,
        insecure=PLAN.insecure,
        ssl_context_factory=None,
        max_retries=0,
        max_redirects=0,
        network_timeout=PLAN.timeout,
        connection_timeout=PLAN.timeout,
        concurrency=1,
        headers=PLAN.headers,
        **options,
    )
    found.client.redirect_response_codes = frozenset()
    return found


def send(client: Any, request: Request) -> None:
    """One request, counted once as a success or a failure."""
    begun = time.perf_counter()
    try:
        whole = _exchange(client, request)
    except (Exception, gevent.Timeout) as error:  # noqa: BLE001 - it cannot be sent as it is, or not be read
        whole = False
        TEST.environment.events.request.fire(
            request_type=request.method,
            name=request.name,
            response_time=(time.perf_counter() - begun) * 1000,
            response_length=0,
            exception=f"{type(error).__name__}: {error}",
            context={},
        )
    if not whole:
        client.client.clientpool.close()  # its connection may hold half an answer


def _exchange(client: Any, request: Request) -> bool:
    """Send, and judge the answer by the request's checks. Whether there was one."""
    with (
        gevent.Timeout(PLAN.timeout),
        client.request(
            request.method,
            request.path,
            name=request.name,
            data=request.body.encode() if request.body else None,
            headers=request.headers,
            catch_response=True,
        ) as answer,
    ):
        reason = why(answer, request)
        if reason:
            answer.failure(reason)
        else:
            answer.success()
    return bool(answer.status_code)


def why(answer: Any, request: Request) -> str:
    """Why an answer is a failure; "" when it is none."""
    if not answer.status_code:
        error, took = answer.request_meta["exception"], answer.request_meta["response_time"] / 1000
        # The client wraps a time-out into an error of its own, whose cause is text only.
        if isinstance(error, gevent.Timeout | TimeoutError) or took >= PLAN.timeout:
            return f"no answer within {PLAN.timeout:g} s"
        return f"{type(error).__name__}: {error}"
    checks = request.checks
    body = (answer.text or "") if checks.body_contains else ""
    return checks.failed(answer.status_code, answer.request_meta["response_time"], body)


def chosen() -> Request:
    return draw(PLAN.requests, random.random())


if PLAN.requests and PLAN.model == "closed":

    class Visitor(User):
        """Sends the next request when the last one is answered."""

        wait_time = constant(PLAN.think_time)

        def on_start(self) -> None:
            self.client = session(self)

        @task
        def visit(self) -> None:
            send(self.client, chosen())


if PLAN.requests and PLAN.model == "open":

    class Arrivals(User):
        """Sends requests when they are due, one per process, whatever became of the earlier ones.

        A request takes the visitor that was free last, so that few connections serve a quick target; there are
        never more visitors than the plan's users.
        """

        wait_time = constant(PLAN.duration)  # once is enough; locust ends a user that waits

        @task
        def pace(self) -> None:
            if not TEST.pacing:  # a second one stands in for a worker that is gone: its share stays unsent
                TEST.pacing = True
                pace()


def pace() -> None:
    index, count = (TEST.runner.worker_index, PLAN.workers) if TEST.is_worker else (0, 1)
    limit = max(1, PLAN.users // count)
    free: list[Any] = []
    start = time.perf_counter()
    end = start + PLAN.duration
    numbers = arrivals(PLAN.rate, PLAN.duration, index, count)
    for sent, number in enumerate(numbers):
        due = start + number / PLAN.rate
        now = time.perf_counter()
        if due > now:
            gevent.sleep(due - now)
        elif sent % BURST == 0:
            gevent.sleep(0)
        now = time.perf_counter()
        if now >= end:
            TEST.tally.dropped += len(numbers) - sent
            break
        if TEST.active >= limit:
            TEST.tally.dropped += 1
            continue
        TEST.tally.late.add(max(0.0, (now - due) * 1000))
        TEST.active += 1
        TEST.peak = max(TEST.peak, TEST.active)
        gevent.spawn(arrive, free)
    while TEST.active:
        gevent.sleep(0.02)


def arrive(free: list[Any]) -> None:
    client = free.pop() if free else _visitor()
    try:
        send(client, chosen())
    finally:
        TEST.active -= 1
        free.append(client)


def _visitor() -> Any:
    client = session(None)
    client.client.cookiejar = None  # whoever comes next is somebody else
    return client


# --- what is counted --------------------------------------------------------------------------------


def count(
    name: str, response_time: float | None, exception: BaseException | str | None = None, **_: Any
) -> None:
    error = (str(exception) or type(exception).__name__) if exception else ""
    TEST.tally.add(int(time.time()), name, response_time or 0.0, error)


def say(kind: lines.Kind, data: Any) -> None:
    print(lines.line(kind, data), flush=True)


# --- beginning and end ------------------------------------------------------------------------------


@events.init.add_listener
def _init(environment: Any, runner: Any, **_: Any) -> None:
    TEST.environment, TEST.runner = environment, runner
    if environment.shape_class:
        say("failed", {"reason": "a LoadTestShape cannot be used: the plan says how many users there are"})
        raise SystemExit(1)
    if PROXY is not None:
        _through_proxy(PROXY)
    environment.events.request.add_listener(count)
    environment.events.test_start.add_listener(_test_start)
    if TEST.is_worker:
        environment.events.report_to_master.add_listener(_report)
        runner.register_message(STOP, _stop_worker, concurrent=True)
    elif TEST.is_master:
        environment.events.worker_report.add_listener(_reported)
        runner.register_message(DONE, _worker_done)


def _through_proxy(proxy: Proxy) -> None:
    """The fast users of the user's own locustfile reach Services by name as ours do."""
    FastHttpUser.proxy_host, FastHttpUser.proxy_port = proxy.host, proxy.port
    if proxy.user is not None:
        token = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        FastHttpUser.default_headers = {"Proxy-Authorization": f"Basic {token}"}


def _test_start(**_: Any) -> None:
    """Nothing is sent before this returns. It begins with a whole second, as the rows of the timeline do."""
    if TEST.is_worker:
        return
    now = time.time()
    gevent.sleep(max(PLAN.start_at, math.ceil(now)) - now)
    TEST.started = time.time()
    gevent.spawn(_finish, gevent.spawn(_tell))


def _tell() -> None:
    lag = 2 if TEST.is_master else 0  # reports arrive up to a second later
    while True:
        gevent.sleep(REPORT_SECONDS)
        TEST.peak = max(TEST.peak, TEST.users)
        say("progress", TEST.tally.progress(PLAN, TEST.started, time.time(), TEST.users, lag))


def _finish(telling: Any) -> None:
    gevent.sleep(PLAN.duration)
    TEST.peak = max(TEST.peak, TEST.users)
    lost = _collect() if TEST.is_master else 0
    if not TEST.is_master:
        TEST.runner.stop()
    telling.kill()
    if lost:
        say(
            "failed",
            {"reason": f"{lost} of {PLAN.workers} workers were lost, and what they counted with them"},
        )
    else:
        say("timeline", TEST.tally.timeline(PLAN, TEST.started))
        say("result", TEST.tally.result(PLAN, TEST.started, TEST.peak_users))
    TEST.runner.quit()


# --- master and workers -----------------------------------------------------------------------------


def _report(data: dict[str, Any], **_: Any) -> None:
    data["surefoot"] = TEST.handed_over()


def _reported(client_id: str, data: dict[str, Any], **_: Any) -> None:
    if "surefoot" in data:
        _take(client_id, data["surefoot"])


def _take(client_id: str, counted: dict[str, Any]) -> None:
    TEST.tally.merge_plain(counted["tally"])
    TEST.busy[client_id], TEST.peaks[client_id] = counted["busy"], counted["peak"]


def _collect() -> int:
    """Have the workers finish what they sent, and tell; how many of the planned ones never did."""
    TEST.reporting = {client.id for client in TEST.runner.clients.all}
    missing = PLAN.workers - len(TEST.reporting)
    TEST.runner.send_message(STOP)
    patience = gevent.Timeout(PLAN.timeout + LAST_REPORT_SECONDS, False)
    with patience:
        while TEST.reporting:
            gevent.sleep(0.05)
    return max(0, missing) + len(TEST.reporting)


def _stop_worker(**_: Any) -> None:
    TEST.runner.stop()
    TEST.runner.send_message(DONE, TEST.handed_over())


def _worker_done(msg: Any, **_: Any) -> None:
    _take(msg.node_id, msg.data)
    TEST.reporting.discard(msg.node_id)
