"""The course's six scenarios, with its weights: stock, baskets, checkouts and refusals."""

from __future__ import annotations

import random
from typing import Any, Callable

from kassa import Judge, KassaUser, expect_member, expect_refusal, expect_success
from locust import SequentialTaskSet


class Scenario(SequentialTaskSet):
    """One pass through the tasks, in order, with items, a user and an order of its own."""

    user: KassaUser

    def on_start(self) -> None:
        self.item_ids: list[str] = []
        self.user_id = ""
        self.order_id = ""

    def call(
        self, method: str, path: str, name: str, judge: Judge = expect_success
    ) -> dict[str, Any]:
        """One call; a failure ends the pass, since what follows would only fail after it."""
        body = self.user.call(method, path, name, judge)
        if body is None:
            self.interrupt(reschedule=False)
        return body


Step = Callable[[Scenario], None]


def create_item(self: Scenario) -> None:
    path = f"/stock/item/create/{random.randint(1, 10)}"
    item = self.call("POST", path, "/stock/item/create/[price]", expect_member("item_id"))
    self.item_ids.append(item["item_id"])


def add_stock(index: int) -> Step:
    def step(self: Scenario) -> None:
        path = f"/stock/add/{self.item_ids[index]}/{random.randint(100, 1000)}"
        self.call("POST", path, "/stock/add/[item_id]/[number]")

    return step


def create_user(self: Scenario) -> None:
    path = "/payment/create_user"
    self.user_id = self.call("POST", path, path, expect_member("user_id"))["user_id"]


def add_funds(self: Scenario) -> None:
    path = f"/payment/add_funds/{self.user_id}/{random.randint(10_000, 100_000)}"
    self.call("POST", path, "/payment/add_funds/[user_id]/[amount]")


def create_order(self: Scenario) -> None:
    path = f"/orders/create/{self.user_id}"
    order = self.call("POST", path, "/orders/create/[user_id]", expect_member("order_id"))
    self.order_id = order["order_id"]


def add_item(index: int) -> Step:
    def step(self: Scenario) -> None:
        path = f"/orders/addItem/{self.order_id}/{self.item_ids[index]}"
        self.call("POST", path, "/orders/addItem/[order_id]/[item_id]")

    return step


def remove_item(index: int) -> Step:
    def step(self: Scenario) -> None:
        path = f"/orders/removeItem/{self.order_id}/{self.item_ids[index]}"
        self.call("DELETE", path, "/orders/removeItem/[order_id]/[item_id]")

    return step


def take_all_stock(index: int) -> Step:
    def step(self: Scenario) -> None:
        item_id = self.item_ids[index]
        path = f"/stock/find/{item_id}"
        item = self.call("GET", path, "/stock/find/[item_id]", expect_member("stock"))
        path = f"/stock/subtract/{item_id}/{item['stock']}"
        self.call("POST", path, "/stock/subtract/[item_id]/[number]")

    return step


def check_out(judge: Judge = expect_success) -> Step:
    def step(self: Scenario) -> None:
        path = f"/orders/checkout/{self.order_id}"
        self.call("POST", path, "/orders/checkout/[order_id]", judge)

    return step


def leave(self: Scenario) -> None:
    """Ends the pass: the user draws its next scenario, by weight."""
    self.interrupt()


NEW_ITEM: list[Step] = [create_item, add_stock(0)]
SECOND_ITEM: list[Step] = [create_item, add_stock(1)]
NEW_USER: list[Step] = [create_user, add_funds]


class CreateItem(Scenario):
    """A stock admin creates an item and adds stock to it."""

    tasks = [*NEW_ITEM, leave]


class CheckoutOneItem(Scenario):
    """A user checks out an order with one item."""

    tasks = [*NEW_ITEM, *NEW_USER, create_order, add_item(0), check_out(), leave]


class CheckoutTwoItems(Scenario):
    """A user checks out an order with two items."""

    tasks = [
        *NEW_ITEM, *SECOND_ITEM, *NEW_USER,
        create_order, add_item(0), add_item(1), check_out(), leave,
    ]  # fmt: skip


class ChangeOfMind(Scenario):
    """A user adds an item, regrets it and removes it, adds it again and checks out."""

    tasks = [
        *NEW_ITEM, *NEW_USER,
        create_order, add_item(0), remove_item(0), add_item(0), check_out(), leave,
    ]  # fmt: skip


class NotEnoughStock(Scenario):
    """The checkout must be refused: the second item has been sold out meanwhile."""

    tasks = [
        *NEW_ITEM, *SECOND_ITEM, *NEW_USER,
        create_order, add_item(0), add_item(1), take_all_stock(1),
        check_out(expect_refusal("out_of_stock")), leave,
    ]  # fmt: skip


class NotEnoughCredit(Scenario):
    """The checkout must be refused: the user has no credit."""

    tasks = [
        *NEW_ITEM, create_user, create_order, add_item(0),
        check_out(expect_refusal("insufficient_credit")), leave,
    ]  # fmt: skip


class MicroservicesUser(KassaUser):
    """Draws a scenario by weight, goes through it, and draws again."""

    tasks = {
        CreateItem: 5,
        CheckoutOneItem: 30,
        CheckoutTwoItems: 25,
        ChangeOfMind: 20,
        NotEnoughStock: 10,
        NotEnoughCredit: 10,
    }
