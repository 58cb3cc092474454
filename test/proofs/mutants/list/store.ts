/** Mutants of connections, roles, reads, recorded answers, migrations and audits. */
import { killedBy } from '../mutant.ts';

export const storeMutants = [
  ...killedBy(['hosts'], {
    'a silent host delays the next one': 'connect.ts: const NEXT_HOST_MS = [-500-]{+1e8+};',
    'a frozen server has until the deadline to lock rows':
      'transaction.ts: lock_ms: Math.min([-commit_ms-]{+1e9+}, ',
  }),
  ...killedBy(['tls'], {
    'any issuer is trusted': 'tls.ts: rejectUnauthorized: [-tls.verify_issuer-]{+false+}',
    'the host name of the certificate is ignored':
      'tls.ts: [-tls.verify_host ? checkServerIdentity(host, certificate) : undefined-]' +
      '{+void [host, certificate, checkServerIdentity]+}',
  }),
  ...killedBy(['grants'], {
    'surplus privileges of a role are not revoked': 'grant.ts: ...(surplus.length > [-0-]{+99+} ?',
  }),
  ...killedBy(['roles'], {
    'a service is ready without its privileges':
      'readiness.ts: [-assertGranted(seen ? seen.lacking : [MIGRATIONS])-]' +
      '{+void [assertGranted, MIGRATIONS]+};',
    "each role may touch payment's records":
      "roles.ts: [operationsTable(service)]: ['select', 'insert', 'delete'],{+\n" +
      "  payment_operations: ['select', 'insert', 'delete'],+}",
  }),
  ...killedBy(['dialect', 'roles'], {
    'a role that may not insert upserts': 'session.ts: return [-row?.may === -]true;',
  }),
  ...killedBy(['driver'], {
    'an unpatched driver, which may send writes twice, is accepted':
      'driver.ts: [-  assertPatched();\n-]',
  }),
  ...killedBy(['primary'], {
    'a spent session stays in use': 'link.ts: if (spent) [-destroy-]{+void +}(',
    'a standby is accepted as a primary':
      'session.ts: ' +
      "[-if (row?.standby && !standby_allowed) throw withCode('it is a standby', '25006');-]",
    'transactions retry on a full disk': 'failure.ts: /^[-53(100|400)$-]{+never$+}/',
  }),
  ...killedBy(['pooler'], {
    'a pooler that shares sessions is accepted':
      'pooler.ts: [-if (pids.includes(other.pid)) throw pooled();-]',
  }),
  ...killedBy(['reads'], {
    'a read that waits for a lock counts as lost': 'link.ts: if ([-serving-]{+false+}) {',
    'a server that does not answer counts as serving':
      'connect.ts: error instanceof Failure [-&& isServerError(error.cause)-]' +
      '{+|| isServerError(error)+};',
    'a lock is reported as an unreachable store':
      'pool.ts: [-isConflict(cause) ? heldUp(cause) : -]outOfReach(cause)',
    'a read has no deadline': 'read-batcher.ts: if ([-read.deadline_at > ended-]{+!away+}) break;',
    'every read tries to connect while the store is away':
      'outage.ts: const is_long = [-this.#last_refusal >= since-]{+false+} && ',
    'an order that was cut off is answered without its last lines':
      'orders.ts: rows[-.filter((row) => row.id !== cut_off)-]',
    'orders beyond the first portion are not found':
      'orders.ts: left: [-order_ids.filter((id) => !done.has(id))-]{+[]+}',
  }),
  ...killedBy(['fair-reads'], {
    'the pages of one caller take all room':
      'turns.ts: free > 0 && own < nobody_max : [-own-]{+0+} < free;',
    'callers without a name take room that others have':
      'turns.ts: [-free > 0 && -]own < nobody_max',
    'where authentication is off, pages have half of the room':
      'turns.ts: nobody_max = [-room-]{+room / 2+},',
    'where authentication is off, statements take all connections but one':
      'reads/lists.ts: [-nobody_max: statements_max, -]waiting: STATEMENTS_WAIT',
    'pages of any size take the same room':
      'reads/lists.ts: const size = [-Math.max(1, Math.ceil(limit / ROWS_A_PART))-]{+1+};',
    'a large page takes the room of a small one':
      'turns.ts: take({ principal, size[- = 1-] }: Caller, sign: 1 | -1): void {{+\n    size = 1;+}',
    'a read that comes later takes the room of one that waits':
      'turns.ts: [-      for (const next of waiting.take(room, begins)) next.start();\n-]' +
      '{+      setTimeout(() => waiting.take(room, begins).map((next) => next.start()), 1);\n+}',
    'a read that was refused begins later': 'turns.ts: [-        waiting.remove(mine);\n-]',
    'one caller takes all places to wait for a turn':
      'turns.ts: principal === undefined ? 0 : [-waiting.callsOf(principal)-]{+0+};',
    'the statements of one caller keep others waiting':
      'read-batcher.ts: [-this.#own.of(principal)-]{+0+} < UNDER_WAY_MAX - this.#under_way;',
    'a read waits although its caller may have a statement':
      'read-batcher.ts: this.#queue.[-callsOf(principal)-]{+length+} === 1 &&',
    'one caller fills the queue of reads':
      'read-batcher.ts: principal === undefined ? 0 : [-this.#waitingOf(principal)-]{+0+})',
    'reads of held rows are beyond the share of their caller':
      'read-batcher.ts: this.#queue.callsOf(principal)[- + this.#blocked.ownOf(principal)-];',
    'reads of held rows count for ever': 'blocked-reads.ts: [-    this.#count(taken, -1);\n-]',
    'the lists of all callers take one turn':
      'http/lists.ts: await read({ limit, after: position[-, principal-], only_user });',
    "reading another's order is nobody's turn":
      'guard.ts: this.#orders.owns(own, String(order_id)[-, name-])',
  }),
  ...killedBy(['held-reads'], {
    'a held row delays all reads of its statement':
      'read-batcher.ts: waits_for_locks: [-false-]{+true+}',
    'a held row without waiting reads is forgotten':
      'blocked-reads.ts: this.[-#idle.add-]{+#reads.delete+}(id);',
    'a read that arrives during the statement for its held row gets no answer':
      'blocked-reads.ts: [-if (arrived.length > 0) release(arrived)-]{+arrived.length = 0+};',
  }),
  ...killedBy(['idempotency'], {
    'recorded answers are not found':
      'recorded-answers.ts: const row = [-this.#live.get(operationKey(key))-]{+undefined as RecordedRow | undefined+};',
    'answers are not recorded': 'decide.ts: [-if (operation) recorded.record(operation, answer);-]',
    'the fingerprint is not compared':
      'recorded-answers.ts: if ([-row.fingerprint !== fingerprint-]{+false+}) {',
    'the fingerprint has no method': 'submit.ts: [-${c.req.method} -]${c.req.path}',
    'expired answers are repeated': 'recorded-answers.ts: if ([-row.live-]{+true+}) this.#live',
    'text in arrays is not quoted': 'arrays.ts: [-`"${v.replace(/["\\\\]/g, \'\\\\$&\')}"`-]{+v+}',
    'a batch looks up the keys of its first service only':
      'recorded-answers.ts: operations[-.some((one) => one.service === service)-]' +
      '{+[0]?.service === service+});',
  }),
  ...killedBy(['idempotency', 'batch-init'], {
    'all chunks of a batch_init share one key': 'submit.ts: operation && from [->-]{+<+} 0 ?',
  }),
  ...killedBy(['idempotency', 'roles'], {
    'all keys are recorded with the orders':
      "submit.ts: SERVICE_OF[-[first === 'v1' ? `v1/${second}` : first]-]{+.orders+}",
  }),
  ...killedBy(['upgrade'], {
    'the upgrade drops the keys of payment':
      "0002_operations_of_each_service.sql: '% /[-payment-]{+payments+}/%'",
    'the upgrade copies only the first few thousand keys':
      'migrate.ts: statement.startsWith(AGAIN) && changed [->-]{+<+} 0',
    'the upgrade lets the old version go on writing':
      '0002_operations_of_each_service.sql: ' +
      '[-ALTER TABLE IF EXISTS "operations" RENAME TO "operations_closing"-]' +
      '{+CREATE TABLE IF NOT EXISTS "operations_closing" AS SELECT * FROM "operations"+};',
  }),
  ...killedBy(['sweep'], {
    'a sweep without an index deletes a renewed record':
      'sweep.ts: where key = any(${keys}::text[])[- and expires_at < now()-]',
  }),
  ...killedBy(['migrate'], {
    'no CHECK on credit': '0000_init.sql: "credit" between [-0-]{+-9+}',
    'no CHECK on stock': '0000_init.sql: "stock" between [-0-]{+-9+}',
  }),
  ...killedBy(['audit'], {
    'the audit overlooks credits': 'audit.ts: where u.id is null [-or-]{+and+} u.credit <>',
    'the audit overlooks stocks': 'audit.ts: where i.id is null [-or-]{+and+} i.stock <>',
    'the audit overlooks totals': 'audit.ts: where o.id is null [-or-]{+and+} o.total_cost <>',
  }),
  ...killedBy(['embedded-home'], {
    '--fresh erases a data directory that Kassa has not made':
      'embedded-home.ts: ' +
      '[-if (has_data && !(await madeByKassa(home))) throw notOurs(home.data)-]' +
      '{+void madeByKassa+};',
    'a file `password` that Kassa has not made is replaced':
      'embedded-home.ts: [-if (!PASSWORD.test(text)) throw notOurs(password)-]' +
      '{+void [PASSWORD, text]+};',
  }),
];
