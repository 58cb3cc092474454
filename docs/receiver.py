"""A receiver to copy: WEBHOOK_SECRET=… python3 docs/receiver.py [PORT]. receiver.ts is its twin."""
import hmac, json, os, sys, time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int((sys.argv[1:] or [9000])[0])
KEY = b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
handled = set()  # in production a table, written in the transaction of your work


def is_genuine(headers, body):
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > 300:
        return False
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode() + body
    expected = b"v1," + b64encode(hmac.digest(KEY, signed, "sha256"))
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, expected) for one in given)


class Receiver(BaseHTTPRequestHandler):
    log_message = lambda *_: None
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        genuine = is_genuine(self.headers, body)
        if genuine and self.headers["webhook-id"] not in handled:
            event = json.loads(body)
            if event["type"] == "order.paid":
                print("order {order_id} is paid: {amount}".format(**event["data"]), flush=True)
            handled.add(event["id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()


ThreadingHTTPServer.request_queue_size = 128  # Kassa sends up to 16 at a time
print(f"a receiver on http://127.0.0.1:{PORT}", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
