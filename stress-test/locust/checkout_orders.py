"""Checks out random orders of those that init_orders.py has made, as the course's newer test does."""

from __future__ import annotations

import logging
import random
from typing import Any

from init_orders import NUMBER_OF_ORDERS, Refused, address_of, request
from kassa import REFUSED, REPEAT, Answer, KassaUser, Unexpected, host_of
from locust import events, task
from locust.runners import MasterRunner, WorkerRunner

SAMPLE = 20

# The orders whose checkout this process has seen succeed. It outlives a stop and a new start on
# the web page, as the store does.
paid: set[int] = set()
# This process draws from first, first + step, … so that no two workers check out the same order.
share = {"first": 0, "step": 1}


class CheckoutUser(KassaUser):
    """Checks out one random order after the other."""

    @task
    def check_out(self) -> None:
        orders = int(self.environment.parsed_options.orders)
        order_id = random.randrange(share["first"], orders, share["step"])

        def judge(answer: Answer) -> str:
            """Only the first success of an order is a checkout; it changes nothing after that."""
            if answer.refused:
                return REFUSED
            if not answer.ok:
                raise Unexpected(str(answer))
            if order_id in paid:
                return REPEAT
            paid.add(order_id)
            return ""

        path = f"/orders/checkout/{order_id}"
        self.call("POST", path, "/orders/checkout/[order_id]", judge)


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    parser.add_argument(
        "--orders",
        type=int,
        default=NUMBER_OF_ORDERS,
        env_var="LOCUST_ORDERS",
        help="Orders 0 … n-1 are checked out, as many as init_orders.py has made",
    )


@events.init.add_listener
def receive_share(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message("share", take_share)


def take_share(msg: Any, **_: Any) -> None:
    share.update(msg.data)


@events.test_start.add_listener
def deal_shares(environment: Any, **_: Any) -> None:
    """From the master to its workers, in an order that is the same at each start."""
    if isinstance(environment.runner, MasterRunner):
        workers = sorted(w.id for w in environment.runner.clients.all if w.state != "missing")
        for first, worker in enumerate(workers):
            message = {"first": first, "step": len(workers)}
            environment.runner.send_message("share", message, worker)


@events.test_start.add_listener
def look_at_orders(environment: Any, **_: Any) -> None:
    """Says so if orders were paid before: their repeats would look like checkouts."""
    if isinstance(environment.runner, WorkerRunner) or paid:
        return
    number = int(environment.parsed_options.orders)
    chosen = random.sample(range(number), min(SAMPLE, number))
    try:
        found = [request("GET", find(environment, order_id), 10) for order_id in chosen]
    except Refused as refused:
        logging.warning("no look at the orders (%s): has init_orders.py made them?", refused)
        return
    before = sum(bool(order.get("paid")) for order in found)
    if before:
        share_paid = f"{before} of {len(found)} orders looked at are paid already"
        logging.warning("%s, and count as checkouts once more: run init_orders.py", share_paid)


def find(environment: Any, order_id: int) -> str:
    return address_of(f"/orders/find/{order_id}", host_of(environment))
