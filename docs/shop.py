"""An example shop to copy: python3 docs/shop.py [ADDRESS]. docs/shop.ts is its twin."""
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.request import HTTPErrorProcessor, Request, build_opener
from uuid import uuid4

ADDRESS = (sys.argv[1:] or [os.getenv("KASSA_URL", "http://127.0.0.1:8000")])[0].rstrip("/")
KEY = os.getenv("KASSA_KEY")  # where AUTH=on


class Plain(HTTPErrorProcessor):  # every status is an answer, and redirects are not followed
    http_response = https_response = lambda self, request, answer: answer


class Refused(Exception):
    """Its argument is the problem: a `code` and facts."""


def call(method, path, body=None, key=None):
    """Repeats the call until it is answered, for 10 s. Its key makes it take effect only once."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key or str(uuid4())}
    headers |= {"Authorization": f"Bearer {KEY}"} if KEY else {}
    request = Request(ADDRESS + path, body and json.dumps(body).encode(), headers, method=method)
    began_at = time.monotonic()
    while True:
        waited_s = time.monotonic() - began_at
        lost, wait_s = None, min(2, 0.05 + waited_s) * random.uniform(0.5, 1)
        try:
            with build_opener(Plain).open(request, timeout=5) as answer:
                status, text = answer.status, answer.read()
                wait_s += int(answer.headers.get("Retry-After", 0))
        except (OSError, HTTPException) as error:
            status, lost = 503, error
        if status in (200, 201):
            return json.loads(text)
        if status not in (408, 429, 502, 503, 504) or waited_s + wait_s > 10:
            raise lost or Refused(json.loads(text))
        time.sleep(wait_s)


def buy(user, lines, key=None):
    """A purchase is one call and one transaction. Returns the order's id and a message."""
    lines = [{"item_id": item, "quantity": quantity} for item, quantity in lines]
    try:
        order = call("POST", "/v1/orders", {"user_id": user, "lines": lines, "checkout": True}, key)
        return order["id"], f"paid {order['total_cost']}"
    except Refused as refused:
        problem = refused.args[0]
        if problem["code"] == "insufficient_credit":
            return None, f"the credit lacks {problem['shortfall']}"
        if problem["code"] != "out_of_stock":
            raise
        left = [f"{item['available']} of {item['wanted']}" for item in problem["items"]]
        return None, f"out of stock, there are {', '.join(left)}"


try:
    ada = call("POST", "/v1/users", {"credit": 100})["id"]
    tea = call("POST", "/v1/items", {"price": 12, "stock": 10})["id"]
    cup = call("POST", "/v1/items", {"price": 30, "stock": 5})["id"]
    print("Ada has 100. There are 10 teas at 12, and 5 cups at 30.")
    key = str(uuid4())  # keep it to repeat the call, even after a crash
    bought, told = buy(ada, [(tea, 2), (cup, 1)], key)
    print(f"Ada buys 2 teas and a cup: {told}.")
    again, told = buy(ada, [(tea, 2), (cup, 1)], key)
    credit = call("GET", f"/v1/users/{ada}")["credit"]
    print(f"Again with the same key: {told}. It is {len({bought, again})} order; Ada has {credit}.")
    print(f"9 cups: {buy(ada, [(cup, 9)])[1]}.")
    print(f"2 cups: {buy(ada, [(cup, 2)])[1]}.")
    buyers = [call("POST", "/v1/users", {"credit": 12})["id"] for _ in range(20)]
    orders = list(ThreadPoolExecutor(20).map(lambda one: buy(one, [(tea, 1)])[0], buyers))
    unpaid = [one for one in buyers if call("GET", f"/v1/users/{one}")["credit"] == 12]
    print(f"20 people want 8 teas: {20 - orders.count(None)} get one, {len(unpaid)} pay nothing.")
    print(f"{call('GET', f'/v1/items/{tea}')['stock']} teas are left.")
except (OSError, HTTPException, ValueError) as error:
    sys.exit(f"Kassa does not answer at {ADDRESS}: {error}")
