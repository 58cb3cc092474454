/** The ways in which `bun run mutants` breaks the code, and where each should be noticed. */
export interface Mutant {
  name: string;
  file: string;
  /** Must stand exactly once in the file. */
  from: string;
  to: string;
  /** Test files that are run, in this order. */
  tests: readonly string[];
}

const rules = ['decisions', 'checkout'];
const engine = ['transaction', 'faults', 'engine', 'checkout'];

const mutant = (
  name: string,
  file: string,
  from: string,
  to: string,
  tests: readonly string[],
) => ({
  name,
  file,
  from,
  to,
  tests,
});

const order = 'apps/order/commands.ts';
const payment = 'apps/payment/commands.ts';
const stock = 'apps/stock/commands.ts';

export const mutants: Mutant[] = [
  // The rules.
  mutant(
    'checkout charges a paid order again',
    order,
    'if (order.paid) return accept(body);',
    '',
    rules,
  ),
  mutant(
    'checkout lets an empty order pass',
    order,
    'if (lines.length === 0)',
    'if (false)',
    rules,
  ),
  mutant(
    'checkout sells one more than there is',
    order,
    'item.stock < quantity',
    'item.stock + 1 < quantity',
    rules,
  ),
  mutant(
    'checkout charges beyond the credit',
    order,
    'if (credit < 0)',
    'if (credit < -50)',
    rules,
  ),
  mutant('checkout charges nothing', order, 'users: [{ ...user, credit }],', 'users: [],', rules),
  mutant('checkout takes no stock', order, '    items,\n  };', '    items: [],\n  };', rules),
  mutant(
    'checkout does not mark the order',
    order,
    'orders: [{ ...order, paid: true, payment: null }]',
    'orders: []',
    rules,
  ),
  mutant('checkout forgets a standing payment', order, ' + (payment ?? 0)', '', rules),
  mutant(
    'checkout takes a payment in without a movement',
    order,
    'credit_movements: [taken_in]',
    'credit_movements: []',
    rules,
  ),
  mutant(
    'checkout decides on rows that are not locked',
    order,
    'if (!rows.hold(keysOf(order))) return { lock: keysOf(order) };',
    '',
    rules,
  ),
  mutant(
    'addItem takes the new price for an old line',
    order,
    'unit_price: old?.unit_price ?? item.price',
    'unit_price: item.price',
    ['order', ...rules],
  ),
  mutant(
    'addItem changes a paid order',
    order,
    "if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);\n    const old = order.lines.find((line) => line.item_id === item_id);\n    const line",
    'const old = order.lines.find((line) => line.item_id === item_id);\n    const line',
    rules,
  ),
  mutant(
    'addItem passes the limit',
    order,
    'if (passesLimit(line.quantity) || passesLimit(total_cost))',
    'if (false)',
    rules,
  ),
  mutant(
    'remove loses a standing payment',
    order,
    'if (order.payment !== null) {',
    'if (false) {',
    rules,
  ),
  mutant('pay overdraws', payment, 'if (credit < 0)', 'if (credit < -5)', rules),
  mutant(
    'add_funds without a movement',
    payment,
    "credit_movements: [{ user_id, amount, reason: 'add_funds', order_id: null }],",
    '',
    rules,
  ),
  mutant(
    'an order is paid twice',
    payment,
    'if (order.paid || order.payment !== null)',
    'if (order.paid)',
    rules,
  ),
  mutant(
    'cancel of an unpaid order gives money',
    payment,
    "if (paid === null) return refuse('not_paid', `nothing was paid for order ${order_id}`);",
    'if (paid === null) return accept({}, { users: [{ ...user, credit: user.credit + 1 }] });',
    rules,
  ),
  mutant(
    'cancel gives money but not stock',
    payment,
    'const items = order.paid ? restock(rows, order) : [];',
    'const items: never[] = [];',
    rules,
  ),
  mutant(
    'cancel leaves the order paid',
    payment,
    'orders: [{ ...order, paid: false, payment: null }]',
    'orders: []',
    rules,
  ),
  mutant(
    'cancel for somebody else',
    payment,
    'if (order?.user_id !== user_id) {',
    'if (!order) {',
    rules,
  ),
  mutant(
    'cancel ignores the amount',
    payment,
    'if (amount !== undefined && amount !== paid)',
    'if (false)',
    rules,
  ),
  mutant('subtract goes below zero', stock, 'if (stock < 0)', 'if (stock < -5)', rules),
  mutant(
    'amounts pass the limit',
    'db/command.ts',
    'amount > AMOUNT_MAX',
    'amount > 2 * AMOUNT_MAX',
    rules,
  ),

  // Locks.
  mutant(
    'orders are not locked',
    'db/rows.ts',
    'payment from orders\n          where id = any(${ids}::text[]) order by id for update',
    'payment from orders\n          where id = any(${ids}::text[]) order by id',
    engine,
  ),
  mutant(
    'users are not locked',
    'db/rows.ts',
    'any(${textArray(keys.users)}::text[]) order by id for update',
    'any(${textArray(keys.users)}::text[]) order by id',
    engine,
  ),
  mutant(
    'items are not locked',
    'db/rows.ts',
    'any(${textArray(keys.items)}::text[]) order by id for update',
    'any(${textArray(keys.items)}::text[]) order by id',
    engine,
  ),
  mutant(
    'locks come in any order of ids',
    'db/rows.ts',
    'any(${textArray(keys.items)}::text[]) order by id for update',
    'any(${textArray(keys.items)}::text[]) for update',
    engine,
  ),
  mutant(
    'the isolation level is the default',
    'db/transaction.ts',
    'begin isolation level serializable',
    'begin',
    engine,
  ),
  mutant(
    'a removed line stays',
    'db/rows.ts',
    'for (const line of old.values()) removed.push({ ...line, order_id });',
    '',
    ['order', ...engine],
  ),
  mutant(
    'half of a bad decision is applied',
    'db/rows.ts',
    '    assertAmounts(changes);\n',
    '',
    engine,
  ),

  // The transaction and its truth.
  mutant(
    'the tag of COMMIT is not looked at',
    'db/transaction.ts',
    " && commit.value.command === 'COMMIT'",
    '',
    engine,
  ),
  mutant(
    'no marker is written',
    'db/transaction.ts',
    "if (writes.length > 0) writes.push(writeMarker(sql, marker, 'committed'));",
    '',
    engine,
  ),
  mutant(
    'settling only reads',
    'db/transaction.ts',
    "if (mine?.status === 'fulfilled') return 'undone';",
    "if (mine?.status === 'fulfilled') {\n    await connection.sql`delete from operations where key = ${markerKey(marker)}`;\n    return 'undone';\n  }",
    engine,
  ),
  mutant(
    'a lost COMMIT counts as undone',
    'db/transaction.ts',
    "return { end: 'ambiguous', results, error };\n  }\n  const commit",
    "return { end: 'aborted', error };\n  }\n  const commit",
    engine,
  ),
  mutant(
    'a lost COMMIT counts as done',
    'db/transaction.ts',
    "return { end: 'ambiguous', results, error };\n  }\n  const commit",
    "return { end: 'committed', results };\n  }\n  const commit",
    engine,
  ),
  mutant(
    'a COMMIT that failed in the dark counts as undone',
    'db/transaction.ts',
    "return { end: 'ambiguous', results, error };\n}",
    "return { end: 'aborted', error };\n}",
    engine,
  ),
  mutant(
    'the next transaction is sent before the writes of the one ahead',
    'db/transaction.ts',
    'const answers = connection.flight([...writes, sql`commit`], timeouts.commit_ms);\n  leaving();',
    'leaving();\n  await new Promise((resolve) => setTimeout(resolve, 1));\n  const answers = connection.flight([...writes, sql`commit`], timeouts.commit_ms);',
    engine,
  ),
  mutant(
    'a settling writes its marker inside the transaction of another batch',
    'db/lane.ts',
    'const pass = await this.#turn.take();\n    const connection = await this.#open();',
    'const pass = () => {};\n    const connection = await this.#open();',
    [...engine, 'simulation'],
  ),
  mutant(
    'every error on COMMIT is a certain abort',
    'db/failure.ts',
    'isServerError(error) && /^(22|23',
    'isServerError(error) || /^(22|23',
    engine,
  ),
  mutant(
    'what was settled as committed runs again',
    'db/lane.ts',
    "if (truth === 'committed') return { end: truth, results: attempt.results };",
    "if (truth === 'committed') return { end: 'aborted', error: this.trouble };",
    engine,
  ),
  mutant(
    'what was settled as undone is answered',
    'db/lane.ts',
    "return { end: 'aborted', error };",
    "return { end: 'committed', results: attempt.results };",
    engine,
  ),
  mutant(
    'what cannot be settled is retried',
    'db/lane.ts',
    "    for (const entry of entries) entry.reject(new Failure('outcome_unknown', detail));\n    return { end: 'unknown' };",
    "    return { end: 'aborted', error: new Failure('store_unavailable', detail) };",
    engine,
  ),
  mutant(
    'a lost connection connects again',
    'db/connect.ts',
    'if (socket || !alive) throw lostConnection();',
    '',
    engine,
  ),
  mutant(
    'a failed first flight is not rolled back',
    'db/transaction.ts',
    '    await rollback(connection, timeouts.commit_ms);\n',
    '',
    engine,
  ),
  mutant(
    'a silent connection is waited for',
    'db/connect.ts',
    'timers.push(setTimeout(late, timeout_ms), setTimeout(silent, first_ms));',
    '',
    engine,
  ),

  // Retries, batches, queue.
  mutant(
    '40001 is not retried',
    'db/failure.ts',
    "'40001', '40003', '40P01', '55P03'",
    "'40003', '40P01', '55P03'",
    engine,
  ),
  mutant(
    '40P01 is not retried',
    'db/failure.ts',
    "'40001', '40003', '40P01', '55P03'",
    "'40001', '40003', '55P03'",
    engine,
  ),
  mutant(
    '55P03 is not retried',
    'db/failure.ts',
    "'40P01', '55P03', '57014'",
    "'40P01', '57014'",
    engine,
  ),
  mutant('a unique violation is not retried', 'db/failure.ts', "'57014', '23505', ", "'57014', ", [
    'idempotency',
    ...engine,
  ]),
  mutant(
    'a lost connection is not retried',
    'db/failure.ts',
    'store_unavailable$|CONN|E[A-Z]+$',
    'nothing$',
    engine,
  ),
  mutant(
    'there is no deadline',
    'db/lane.ts',
    'return entry.deadline_at > this.#ground.clock.now();',
    'return entry.deadline_at > 0;',
    engine,
  ),
  mutant(
    'a bad command fails its whole batch',
    'db/lane.ts',
    'if (first && entries.length === 1) {',
    'for (const entry of entries) entry.reject(new Failure("internal", "x"));\n    if (first) {',
    engine,
  ),
  mutant(
    'halving forgets the second half',
    'db/lane.ts',
    '    await this.#batch(entries.slice(entries.length >> 1));\n',
    '',
    engine,
  ),
  mutant(
    'back to the queue without the new keys',
    'db/lane.ts',
    'again.push(Object.assign(entry, { keys: result.lock }))',
    'again.push(entry)',
    ['requeue', ...engine],
  ),
  mutant(
    'what must go again is forgotten',
    'db/lane.ts',
    'if (again.length > 0) this.#ground.putBack(again);',
    '',
    ['requeue', ...engine],
  ),
  mutant(
    'reading ahead drops the keys of the command',
    'db/group-commit.ts',
    "mergeKeys(entry.keys, found.get(entry.command.follow ?? '') ?? {})",
    "mergeKeys(found.get(entry.command.follow ?? '') ?? entry.keys)",
    ['requeue'],
  ),
  mutant(
    'the queue has no end',
    'db/group-commit.ts',
    'if (queued() >= limits.queue_max) {',
    'if (false) {',
    engine,
  ),
  mutant(
    'a batch does not see its own effects',
    'db/transaction.ts',
    'if (decision.changes) rows.apply(decision.changes);',
    'if (decision.changes) queueMicrotask(() => rows.apply(decision.changes ?? {}));',
    engine,
  ),

  // Idempotency.
  mutant(
    'recorded answers are not found',
    'db/transaction.ts',
    'if (!row) return undefined;',
    'return undefined;',
    ['idempotency'],
  ),
  mutant(
    'answers are not recorded',
    'db/transaction.ts',
    'if (work.operation) operations.record(work.operation, decision.outcome);',
    '',
    ['idempotency'],
  ),
  mutant(
    'the fingerprint is not compared',
    'db/transaction.ts',
    'if (row.fingerprint !== fingerprint) {',
    'if (false) {',
    ['idempotency'],
  ),
  mutant(
    'the fingerprint has no method',
    'apps/http/write.ts',
    '${c.req.method} ${c.req.path}',
    '${c.req.path}',
    ['idempotency'],
  ),
  mutant(
    'expired answers are repeated',
    'db/transaction.ts',
    'if (row.live) this.#found',
    'if (true) this.#found',
    ['idempotency'],
  ),
  mutant(
    'all chunks of a batch_init share one key',
    'apps/http/write.ts',
    'operation && from > 0 ?',
    'operation && from < 0 ?',
    ['idempotency', 'batch-init'],
  ),
  mutant(
    'text in arrays is not quoted',
    'db/arrays.ts',
    '`"${v.replace(/["\\\\]/g, \'\\\\$&\')}"`',
    'v',
    ['idempotency'],
  ),

  // What stands behind the rules.
  mutant(
    'no CHECK on credit',
    'migrations/0000_init.sql',
    '"credit" between 0',
    '"credit" between -9',
    ['migrate'],
  ),
  mutant(
    'no CHECK on stock',
    'migrations/0000_init.sql',
    '"stock" between 0',
    '"stock" between -9',
    ['migrate'],
  ),
  mutant(
    'the audit overlooks credits',
    'db/audit.ts',
    'where u.id is null or u.credit <>',
    'where u.id is null and u.credit <>',
    ['audit'],
  ),
  mutant(
    'the audit overlooks stocks',
    'db/audit.ts',
    'where i.id is null or i.stock <>',
    'where i.id is null and i.stock <>',
    ['audit'],
  ),
  mutant(
    'the audit overlooks totals',
    'db/audit.ts',
    'where o.id is null or o.total_cost <>',
    'where o.id is null and o.total_cost <>',
    ['audit'],
  ),
];
