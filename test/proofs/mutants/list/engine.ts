/** Mutants of the engine: locks, outcomes, retries, batches, the queue, lanes. */
import { killedBy } from '../mutant.ts';

const engine = ['transaction', 'faults', 'engine', 'checkout'];

export const engineMutants = [
  ...killedBy(engine, {
    'orders are not locked':
      'row-statements.ts: (sql, keys.sight)}\n          order by id[- ${how}-]',
    'users are not locked': 'row-statements.ts: (keys.users)}::text[]) order by id[- ${how}-]',
    'items are not locked': 'row-statements.ts: (keys.items)}::text[]) order by id[- ${how}-]',
    'rows are locked in no particular order':
      'row-statements.ts: (keys.items)}::text[]) [-order by id -]${how}',
    'the isolation level is the default': 'transaction.ts: begin[- isolation level serializable-]',
    'half of an invalid decision is applied': 'locked-rows.ts: [-    assertAmounts(changes);\n-]',
    'the command tag of COMMIT is ignored':
      "transaction.ts: [- && commit.value.command === 'COMMIT'-]",
    'a transaction has no place in the log':
      'transaction.ts: [-writes.push(...writeBatch(sql, place, events));-]',
    'settling only reads':
      'in-doubt.ts: const [written] = [-await connection.roundTrip([writeTombstone(sql, place)], timeout_ms)-]{+[]+};',
    'a tombstone counts as the transaction':
      "in-doubt.ts: return found.id [-=== place.id-]{+!== undefined+} ? 'committed'",
    'a lost COMMIT counts as undone':
      "transaction.ts: end: [-'ambiguous', results-]{+'aborted'+}, error };\n  }\n  const commit",
    'a lost COMMIT counts as done':
      "transaction.ts: end: [-'ambiguous'-]{+'committed'+}, results[-, error-] };\n  }\n" +
      '  const commit',
    'a COMMIT with an uncertain error counts as undone':
      "transaction.ts: end: [-'ambiguous', results-]{+'aborted'+}, error };\n}",
    'the next transaction is sent before the writes of the previous one':
      'transaction.ts: {+commitSent();\n' +
      '  await new Promise((resolve) => setTimeout(resolve, 1));\n' +
      '  +}const answers = connection.roundTrip([...writes, sql`commit`], bounds.commit_ms);' +
      '[-\n  commitSent();-]',
    'every error on COMMIT is a certain abort':
      'failure.ts: isServerError(error) [-&&-]{+||+} /^(22|23',
    'a transaction that was settled as committed runs again':
      'in-doubt.ts: return { end: [-truth, results: attempt.results-]' +
      "{+'aborted', error: trouble.latest+} };",
    'a transaction that was settled as undone is answered':
      "in-doubt.ts: { end: [-'aborted', error: lostCommit(attempt.error)-]" +
      "{+'committed', results: attempt.results+} };",
    'a transaction that cannot be settled is retried':
      'in-doubt.ts: [-rejectInDoubt(entries, attempt);\n  return undefined;-]' +
      "{+return { end: 'aborted', error: new Failure('store_unavailable', 'lost') };+}",
    'a failed first round trip is not rolled back':
      "transaction.ts: if (place) stream.ended(place, 'aborted');\n" +
      '[-    await rollback(connection, bounds.commit_ms);\n' +
      "-]    return { end: 'aborted'",
    'a silent connection has no time limit': 'link.ts: [-before.then(() => limit.start());-]',
    '40001 is not retried': "failure.ts: '[-40001', '-]40003', '40P01', '55P03'",
    '40P01 is not retried': "failure.ts: '40001', '40003', '[-40P01', '-]55P03'",
    '55P03 is not retried': "failure.ts: '40P01', '[-55P03', '-]57014'",
    'there is no deadline': 'lane.ts: if (entry.deadline_at > [-now-]{+0+}) return true;',
    'a bad command fails its whole batch':
      'lane.ts: ' +
      '{+for (const entry of entries) entry.reject(new Failure("internal", "x"));\n' +
      '    +}if (first[- && entries.length === 1-]) {',
    'halving forgets the second half':
      'lane.ts: [-    await this.#commit(entries.slice(entries.length >> 1));\n-]',
    'the queue has no limit': 'room.ts: if ([-places <= 0-]{+false+}) return',
    'commands that wait name any number of rows':
      'room.ts: this.#rows > 0 && [-rows > free_rows-]{+false+}',
    'rows of answered commands count for ever':
      'group-commit.ts: this.#answerTo(command, operation)[-.finally(() => this.#room.add(-rows, principal))-];',
    'a batch does not see its own effects':
      'decide.ts: if (changes) {+queueMicrotask(() => +}rows.apply(changes, command){+)+};',
    'a lost commit is settled at another place':
      'in-doubt.ts: [writeTombstone(sql, [-place-]{+{ ...place, position: place.position + 1 }+})]',
  }),
  ...killedBy(['requeue'], {
    'a command whose prefetch hangs has no deadline':
      "prefetch.ts: deadline_at <= now ? [-'expired'-]{+'left'+} : 'left',",
    'a batch reads all lines of its orders':
      'transaction.ts: [-works.length === 1 ? LINES_ALONE_MAX : bounds.rows_max-]{+10_000_000+}',
    'a held row looks missing to commands that did not name it':
      'transaction.ts: [-  rows.leaveOut(held.keys());\n-]',
    'an order is decided although some of its lines were not read':
      'decide.ts: if ([-!whole || -]is_full || bytes + rows.events_bytes > TEXTS_MAX_BYTES)',
    "prefetched keys replace the command's own":
      'prefetch.ts: if (isFor(entry, keys)) entry.keys = [-joinKeys(entry.keys, keys)-]{+keys+};',
  }),
  ...killedBy(['faults'], {
    'a lost connection is not retried':
      'failure.ts: [-store_unavailable$|CONN|E[A-Z]+$-]{+nothing$+}',
  }),
  ...killedBy(['outage'], {
    'a store that another call has reached is away':
      'outage.ts: const since = [-this.#since > this.#reach.opened_at-]{+true+}',
    'an outage that another call has ended is the last':
      'outage.ts: if ([-this.#since <= this.#reach.opened_at-]{+false+}) this.isOver();',
    'a refusal is believed however old it is':
      'outage.ts: return is_long[- && now >= this.#unknown_until-]{++};',
    'each attempt beside another is waited for':
      'outage.ts: const is_old = [-this.#under_way === 0 && -]now >',
    'the first attempt after a silence is waited for when it has failed':
      'outage.ts: [-this.#unknown_until = Number.NEGATIVE_INFINITY-]{+void 0+};\n      this.refusal',
  }),
  ...killedBy(['order'], {
    'a removed line stays':
      'row-changes.ts: ' +
      '[-for (const line of old.values()) changes.removed.push({ ...line, order_id });-]',
  }),
  ...killedBy(['held-rows', 'engine'], {
    'a transaction behind the gate waits for a held row':
      'row-statements.ts: [-options.skip_held ? sql`for update skip locked` : -]sql`for update`',
    'a held row counts as missing':
      'transaction.ts: const held: Held = [-gated ? await findHeld(connection, named, bounds) : -]new Map();',
    'the commands of a row that is free again stay set aside':
      'held-rows.ts: [-if (held.has(row)) -]continue;',
  }),
  ...killedBy(['transaction'], {
    'a lost connection reconnects': 'driver.ts: [-if (socket || dropped) throw lostConnection();-]',
    'a transaction whose write failed is a success':
      "transaction.ts: [-if (!failed) -]return { end: 'committed', results };",
    'a commit that was never sent is in doubt':
      'transaction.ts: ' + "[-return { end: 'aborted', error: lostConnection() };-]",
    'an error that ends the session counts as an abort':
      'transaction.ts: failed !== commit && [-leavesSession-]{+codeOf+}(error)',
  }),
  ...killedBy(['held-rows'], {
    'held rows are probed once and never again': 'held-rows.ts: [-this.#probing = undefined;-]',
  }),
  ...killedBy(['simulation'], {
    'a command that waits for a held row has no deadline':
      'group-commit.ts: [-      this.#held.rejectExpired();\n-]',
    'a blocked batch is not inspected for held rows':
      "lane.ts: [-if (end.end === 'blocked') return this.#splitBlocked(entries, end.error);-]",
    'a command that wrote nothing is in doubt': 'in-doubt.ts: else if ([-result.wrote-]{+true+})',
    'settling writes its tombstone inside the transaction of another batch':
      'in-doubt.ts: const release = [-await lock.acquire()-]{+() => {}+};',
    'commands that were set aside are not counted':
      'group-commit.ts: this.#ready.length[- + this.#held.size-];',
  }),
  ...killedBy(['engine'], {
    'a transaction waits for the gate no longer than for a row':
      'transaction.ts: opening.push([-takeGate(sql), -]limitLockWaits(sql, row_ms)' +
      '{+, takeGate(sql)+});',
    'no transaction takes the gate':
      'transaction.ts: if ([-gated-]{+false+}) opening.push(takeGate(sql), limitLockWaits(sql, row_ms));',
  }),
  ...killedBy(['lane-connection'], {
    'a stale connection is replaced under a commit':
      'lane-connection.ts: if (!current.stale[- || is_shared-]) return current;',
  }),
  ...killedBy(['upserts'], {
    'a new line overwrites an existing one':
      'write-back.ts: push(' +
      '{+upserts ? sql`upsert ${into(lines.made)}` : +}sql`insert ${into(lines.made)}`)',
    'a role that has lost INSERT goes on with upserts':
      'transaction.ts: ' +
      "[-if (connection.upserts && codeOf(error) === '42501') connection.destroy();-]",
    'UPSERT writes rows that are not locked':
      'row-changes.ts: else if (!before) changes.[-made-]{+changed+}.push(now);',
  }),
  ...killedBy(['fair-queue'], {
    'a principal gives all its commands before others give one':
      'fair-queue.ts: if (line.taken < each_max) this.#turns.[-push-]{+unshift+}(line);',
    'one principal fills batches although others call':
      'batch.ts: { misfits_max: MISFITS_MAX[-, each_max-] }',
    'one principal fills reads ahead although others call':
      'prefetch.ts: this.#hasRoom[-, { each_max }-])',
    'a principal alone fills no batch':
      'other-callers.ts: [-if (principal !== this.#latest) -]this.#other_at',
    'batches stay short for ever': 'batch-share.ts: ago_ms < [-LATELY_MS-]{+Infinity+}',
    'one principal fills as much beside one that has just called as later':
      'batch-share.ts: ago_ms < [-JUST_NOW_MS-]{+0+}',
    'one principal fills little although small transactions are no faster':
      'batch-share.ts: JUST_NOW_MS[- && this.#isGated()-])',
    'commands beyond the part of their principal are lost':
      'fair-queue.ts: this.#turns = [...passed, ...this.#turns[-, ...sated-]];',
    'commands that do not fit into a batch are lost':
      'fair-queue.ts: this.#turns = [[-...passed, -]...this.#turns, ...sated];',
    'a principal whose command does not fit goes to the end':
      'fair-queue.ts: this.#turns = [[-...passed, -]...this.#turns, ...sated{+, ...passed+}];',
    'commands that are put back come behind those that arrived later':
      'fair-queue.ts: line.calls.[-unshift-]{+push+}(...own);',
    'commands that are put back wait for the turns of others':
      'fair-queue.ts: [-    this.#turns = [...first.keys(), ...this.#turns.filter((line) => !first.has(line))];\n-]',
    'commands of a stalled batch go with others':
      'batch.ts: sum <= batch_rows_max[- && entry.group === first.group-]',
    "rows of a principal's answered commands count for ever":
      'tally.ts: [-    else this.#of.delete(principal);\n-]',
    'one principal may name all rows':
      'room.ts: own_rows > 0 && [-own_rows + rows-]{+rows+} > free_rows',
  }),
  ...killedBy(['fair-held'], {
    "one caller's held rows take all places":
      'held-rows.ts: places > (principal === undefined ? 0 : [-this.#own.of(principal)-]{+0+});',
    'expired commands keep their places':
      'held-rows.ts: [-this.#count(this.#dropExpired(entries, row), -1)-]{+this.#dropExpired(entries, row)+};',
    'commands that are being probed are beyond the share of their principal':
      'held-rows.ts: [-    this.#count(batch, 1);\n-]',
    'commands that were probed keep their places':
      'held-rows.ts: splice(0, batches.length)) [-this.#count(batch, -1)-]{+void batch+};',
    'stalled commands are beyond the share of their principal':
      'held-rows.ts: [-      this.#count(free, 1);\n-]',
    'released commands keep their places': 'held-rows.ts: [-    this.#count(entries, -1);\n-]',
    'a held row is forgotten if its command has no place':
      'held-rows.ts: [-    this.#rows.set(row, waiting);\n-]{+    if (this.#hasPlace(entry.principal)) this.#rows.set(row, waiting);\n+}',
  }),
  ...killedBy(['fairness'], {
    'one caller may fill the queue': 'room.ts: if ([-waiting.own >= places-]{+false+}) {',
    'the rows of one caller delay the prefetches of another':
      'batch.ts: queue.rowsOf([-principal-]{+"flood"+}) <',
  }),
  ...killedBy(['lane-count'], {
    'lanes that add no throughput are kept': 'lane-count.ts: const GAIN = [-1.1-]{+0.9+};',
    'lanes that prolong locks are kept': 'lane-count.ts: const LOCK_GROWTH = [-1.5-]{+3+};',
  }),
  ...killedBy(['lane-use'], {
    'a small batch is sent behind a large one':
      'lane.ts: Math.max(this.#limits.pipeline_min, [-this.#committing.length-]{+0+})',
    'further lanes are tried behind the gate':
      'lane-use.ts: [-if (all.some((lane) => lane.gated)) return;-]',
    'unused lanes keep their connections':
      'lane-use.ts: ' +
      '[-for (const lane of all.slice(using)) if (lane.idle) lane.close().catch(() => {});-]',
    'a lane that leaves use closes its connection during a batch':
      'lane-use.ts: [-if (lane.idle) -]lane.close().catch(() => {});',
    'batches use lanes that are not in use':
      'group-commit.ts: for (const lane of this.[-#use.used()-]{+#lanes+}) {',
  }),
  ...killedBy(['lifetime'], {
    'a busy lane never replaces its connection': 'lane.ts: [- && !this.#connection.stale-];',
  }),
  ...killedBy(['idempotency', ...engine], {
    'a unique violation is not retried': "failure.ts: '57014', [-'23505', -]",
  }),
  ...killedBy(['requeue', ...engine], {
    'a command goes back to the queue without its new keys':
      "answer-all.ts: [-'lock' in result ? { keys: result.lock } : -]result",
    'commands that must run again are lost':
      'answer-all.ts: [-if (again.length > 0) lane.putBack(again);-]',
  }),
];
