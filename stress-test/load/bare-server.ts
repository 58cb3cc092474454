/** A server with an empty handler, in a separate process, to measure the generator itself. */
const body = JSON.stringify({ order_id: '1', paid: true, total_cost: 2 });
const headers = { 'content-type': 'application/json', 'x-request-id': 'self-test' };
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: () => new Response(body, { headers }),
});
console.log(server.port);

// Its standard input closes when its parent process ends, even by a crash.
void Bun.stdin.text().then(() => process.exit());
