"""What the Locust files share: a user, its options, and which answers count as what."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable

from init_orders import HEADERS, URLS, address_of
from locust import FastHttpUser, events

REFUSED = " [refused]"
REPEAT = " [repeat]"


@dataclass
class Answer:
    """A status (0 if the connection broke) and the JSON that came with it."""

    status: int
    body: Any
    error: Exception | None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The code of a problem, else an empty text."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""

    @property
    def refused(self) -> bool:
        """A rule said no."""
        return self.status == 409

    def __str__(self) -> str:
        """Without ids and times, so that Locust counts what is alike in one line."""
        if self.status == 0:
            return f"no answer: {type(self.error).__name__}"
        hint = " (set KASSA_KEY)" if self.status == 401 and not HEADERS else ""
        return f"{self.status} {self.code}".rstrip() + hint


class Unexpected(Exception):
    """An answer that this call should not get: a failure in Locust's statistics."""


Judge = Callable[[Answer], str]
"""Says under which suffix an answer is counted, or raises Unexpected."""


def expect_success(answer: Answer) -> str:
    """A 2xx; everything else is a failure, a refusal too."""
    if not answer.ok:
        raise Unexpected(str(answer))
    return ""


def expect_member(name: str) -> Judge:
    """A 2xx whose JSON has this member."""

    def judge(answer: Answer) -> str:
        suffix = expect_success(answer)
        if not isinstance(answer.body, dict) or name not in answer.body:
            raise Unexpected(f"{answer} without {name}")
        return suffix

    return judge


def expect_refusal(code: str) -> Judge:
    """A 409 with this code, or without any; counted apart."""

    def judge(answer: Answer) -> str:
        if answer.refused and answer.code in ("", code):
            return REFUSED
        raise Unexpected(f"{answer}, where a refusal was due: {code}")

    return judge


class KassaUser(FastHttpUser):
    """Calls the three services, by --host or by urls.json, and judges each answer."""

    abstract = True
    host = URLS["ORDER_URL"]
    connection_timeout = 10.0
    network_timeout = 60.0
    max_retries = 1  # one try: a broken connection is a failure, never repeated in silence

    def wait_time(self) -> float:
        """Seconds between two calls of one user."""
        return float(self.environment.parsed_options.wait)

    def call(
        self, method: str, path: str, name: str, judge: Judge = expect_success
    ) -> dict[str, Any] | None:
        """One call, counted under its name and the judge's suffix. None if it was a failure."""
        address = address_of(path, host_of(self.environment))
        shown = {"headers": HEADERS, "name": name, "catch_response": True}
        with self.client.request(method, address, **shown) as response:
            answer = read_answer(response)
            try:
                response.request_meta["name"] = name + judge(answer)
                response.success()
            except Unexpected as unexpected:
                response.failure(str(unexpected))
                return None
        return answer.body if isinstance(answer.body, dict) else {}


def read_answer(response: Any) -> Answer:
    """What came back. A 2xx whose body is not JSON is left without one."""
    try:
        body = response.json() if response.status_code else None
    except (ValueError, TypeError):
        body = None
    return Answer(response.status_code, body, getattr(response, "error", None))


def host_of(environment: Any) -> str | None:
    """
    The address that replaces urls.json, if one was given. The web page offers ORDER_URL as the
    host and sends it back; that replaces nothing, since the other two may be elsewhere.
    """
    host = environment.host
    return None if host in (None, "", URLS["ORDER_URL"]) else host


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    parser.add_argument(
        "--wait",
        type=float,
        default=1.0,
        env_var="LOCUST_WAIT",
        help="Seconds a user waits between two calls (1, as in the course; 0 for full speed)",
    )


@events.test_start.add_listener
def drop_nameless_host(environment: Any, **_: Any) -> None:
    """The course's page says --host="localhost", where the host means nothing."""
    host = environment.host
    if host and not host.startswith(("http://", "https://")):
        logging.warning("the host %s is no http:// address; urls.json is used instead", host)
        environment.host = None
