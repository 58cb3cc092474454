/** A handler that does nothing, in a process of its own: what the generator is measured against. */
const body = JSON.stringify({ order_id: '1', paid: true, total_cost: 2 });
const headers = { 'content-type': 'application/json', 'x-request-id': 'self-test' };
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: () => new Response(body, { headers }),
});
console.log(server.port);

// Its standard input ends with the process that started it, however that ends.
void Bun.stdin.text().then(() => process.exit());
