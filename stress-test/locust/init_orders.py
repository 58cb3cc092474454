"""Fills the stores for checkout_orders.py by batch_init. Needs Python 3.9 alone, no packages."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Mapping

NUMBER_OF_ITEMS = 100_000
ITEM_STARTING_STOCK = 1_000_000
ITEM_PRICE = 1
NUMBER_OF_USERS = 100_000
USER_STARTING_CREDIT = 1_000_000
NUMBER_OF_ORDERS = 100_000

TIMEOUT_S = 600
URLS: dict[str, str] = json.loads(Path(__file__).with_name("urls.json").read_text())
URL_OF_PREFIX = {
    "orders": URLS["ORDER_URL"],
    "payment": URLS["PAYMENT_URL"],
    "stock": URLS["STOCK_URL"],
}
# A proxy in the environment is not meant for the service under test, and Locust uses none either.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """A call that did not succeed; its text is for people."""


def headers_from(env: Mapping[str, str]) -> dict[str, str]:
    """What every call sends, where Kassa runs with AUTH=on: an API key or a token, if there is one."""
    source, key = "KASSA_KEY", env.get("KASSA_KEY", "").strip()
    path = env.get("KASSA_KEY_FILE")
    if not key and path:
        source = "the file in KASSA_KEY_FILE"
        try:
            key = Path(path).read_text("ascii").strip()
        except (OSError, UnicodeError) as error:
            sys.exit(f"KASSA_KEY_FILE: {getattr(error, 'strerror', None) or 'it is not ASCII'}: {path}")
    if not key and not path:
        return {}
    if not re.fullmatch(r"[\w.~+/=-]+", key, re.ASCII):
        sys.exit(f"{source} must be an API key or a token: letters, digits and -._~+/= only")
    return {"Authorization": f"Bearer {key}"}


HEADERS = headers_from(os.environ)


def address_of(path: str, host: str | None = None) -> str:
    """The whole address of a path: at host if there is one, else at its service in urls.json."""
    return (host or URL_OF_PREFIX[path.split("/")[1]]).rstrip("/") + path


def request(method: str, address: str, timeout_s: float = TIMEOUT_S) -> dict:
    """One call, its JSON. Raises Refused if it is not answered with 2xx and an object."""
    try:
        call = urllib.request.Request(address, method=method, headers=HEADERS)
        with direct.open(call, timeout=timeout_s) as answer:
            body = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        hint = " (set KASSA_KEY)" if error.code == 401 and not HEADERS else ""
        reason = reason_of(error.read())
        raise Refused(f"{method} {address}: {error.code} {reason}{hint}") from None
    except json.JSONDecodeError:
        raise Refused(f"{method} {address}: the answer is not JSON") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        raise Refused(f"{method} {address}: {cause}; is the service running there?") from None
    if not isinstance(body, dict):
        raise Refused(f"{method} {address}: the answer is not an object")
    return body


def reason_of(body: bytes) -> str:
    """What a failure says of itself: code and detail of a problem, else its first characters."""
    try:
        problem = json.loads(body)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


async def fill(what: str, number: int, path: str, host: str | None) -> None:
    """One batch_init, in a thread, with the time it took."""
    started = time.monotonic()
    await asyncio.to_thread(request, "POST", address_of(path, host))
    print(f"{number:>9,} {what} in {time.monotonic() - started:.1f} s", flush=True)


async def fill_all(options: argparse.Namespace) -> None:
    """Users and items at the same time, then the orders, which name them."""
    users, items, orders = options.users, options.items, options.orders
    print('rows "0" ... "n-1" are made anew, whatever they were', flush=True)
    stock = f"/stock/batch_init/{items}/{options.stock}/{options.price}"
    done = await asyncio.gather(
        fill("users", users, f"/payment/batch_init/{users}/{options.credit}", options.host),
        fill("items", items, stock, options.host),
        return_exceptions=True,
    )
    for failure in done:
        if failure:
            raise failure
    path = f"/orders/batch_init/{orders}/{items}/{users}/{options.price}"
    await fill("orders", orders, path, options.host)


def read_options() -> argparse.Namespace:
    """The flags; their defaults are the course's."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, what in (
        ("orders", NUMBER_OF_ORDERS, "orders, of one random user and two random items each"),
        ("items", NUMBER_OF_ITEMS, "items"),
        ("users", NUMBER_OF_USERS, "users"),
        ("stock", ITEM_STARTING_STOCK, "stock of each item"),
        ("credit", USER_STARTING_CREDIT, "credit of each user"),
        ("price", ITEM_PRICE, "price of each item"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} ({default})")
    parser.add_argument("--host", help="http://host:port of the gateway (urls.json)")
    options = parser.parse_args()
    if options.host and not options.host.startswith(("http://", "https://")):
        parser.error(f"--host {options.host}: an address begins with http:// or https://")
    return options


if __name__ == "__main__":
    try:
        asyncio.run(fill_all(read_options()))
    except Refused as refused:
        sys.exit(f"init_orders: {refused}")
    except KeyboardInterrupt:
        sys.exit(130)
