/** The limit of one transaction per checkout: pgbench sends its statements, without HTTP. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Failure } from '../../db/failure.ts';
import type { Child, Stage } from '../../test/support/process.ts';
import { targetOf, withPort } from '../../test/support/store-address.ts';
import { percentile, type Sample } from './sample.ts';
import { lastLines } from './services.ts';

export const HOW_TO_GET_PGBENCH = `pgbench is missing: the limit of one transaction each is not measured.
It comes with PostgreSQL: \`apt install postgresql\` (Debian), \`brew install postgresql\` (macOS).`;

/**
 * One round trip for each statement, as pgbench and most drivers do: no pipelining. Each client has
 * its own range of order ids. A serialization failure is retried at once.
 */
const SCRIPT = `\\set i :i + 1
\\if :i >= :block
select 'the orders of this client ran out' as said where false \\gset
\\endif
\\set order_id :first + :client_id * :block + :i
begin isolation level serializable;
select user_id, paid, total_cost from orders where id = :order_id for update \\gset o_
select item_id, quantity, unit_price from order_lines where order_id = :order_id;
select credit from users where id = :o_user_id for update;
select id, price, stock from items
  where id in (select item_id from order_lines where order_id = :order_id) order by id for update;
update orders set paid = true where id = :order_id;
update users set credit = credit - :o_total_cost where id = :o_user_id;
update items set stock = stock - quantity from order_lines
  where order_id = :order_id and id = item_id;
commit;
`;

/** The path of the program, on PATH or where Debian installs it. */
export async function findPgbench(): Promise<string | undefined> {
  const debian = await Array.fromAsync(new Bun.Glob('*/bin/pgbench').scan('/usr/lib/postgresql'))
    .then((paths) => paths.sort().map((path) => join('/usr/lib/postgresql', path)))
    .catch(() => []);
  const found = [debian.at(-1), Bun.which('pgbench')].filter((path) => path != null);
  return found.find((path) => Bun.spawnSync([path, '--version']).exitCode === 0);
}

export interface PgbenchRun {
  program: string;
  database_url: string;
  clients: number;
  /** Ids of the orders, `to` excluded. */
  orders: { from: number; to: number };
  warmup_s: number;
  seconds: number;
}

/** @throws Failure with pgbench's error */
export async function runPgbench(stage: Stage, run: PgbenchRun): Promise<Sample> {
  const { clients, orders } = run;
  const folder = await stage.folder();
  const script = join(folder, 'checkout.sql');
  await writeFile(script, SCRIPT);
  const block = Math.floor((orders.to - orders.from) / clients);
  const args = [
    ...['--no-vacuum', '--protocol=prepared', `--file=${script}`, `--client=${clients}`],
    `--jobs=${Math.min(clients, availableParallelism())}`,
    ...[`--time=${Math.ceil(run.warmup_s + run.seconds)}`, '--max-tries=0'],
    ...['--log', `--log-prefix=${join(folder, 'log')}`],
    ...['-D', 'i=-1', '-D', `first=${orders.from}`, '-D', `block=${block}`],
  ];
  const child = stage.start(args, addressOf(run.database_url), run.program);
  const late = setTimeout(
    () => child.signal('SIGKILL'),
    1000 * (run.warmup_s + run.seconds) + HANG_MS,
  );
  await child.ended.finally(() => clearTimeout(late));
  const ran_out = child.err.includes('expected one row, got 0');
  if (child.code !== 0 && !ran_out) throw broken(child);
  const { done, failed } = countsOf(child.out);
  const window = await readWindow(folder, run, ran_out);
  await rm(folder, { recursive: true });
  const failures = failed > 0 ? { 'not serialized': failed } : {};
  return { ...window, done, unanswered: 0, failures, ran_out };
}

/** The limit after its time: it finishes its transactions, and may wait for a silent server. */
const HANG_MS = 60_000;

/** As variables, since every user of the machine can read the command line. */
function addressOf(database_url: string): Record<string, string> {
  const { host, port } = targetOf(database_url);
  const one_host = withPort(database_url, 1); // URL accepts only one host
  const { username, password, pathname, searchParams } = new URL(one_host);
  const sslmode = searchParams.get('sslmode');
  return {
    PGHOST: host.join(','),
    PGPORT: port.join(','),
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: pathname.slice(1),
    ...(sslmode && { PGSSLMODE: sslmode }),
  };
}

const broken = (child: Child): Failure =>
  new Failure('internal', `pgbench ended with ${child.code}:${lastLines(child)}`);

export function countsOf(out: string): { done: number; failed: number } {
  const count = (name: string) =>
    Number(new RegExp(`^number of ${name}: (\\d+)`, 'm').exec(out)?.[1] ?? 0);
  return { done: count('transactions actually processed'), failed: count('failed transactions') };
}

/** pgbench has no warm-up, but logs the end and the duration of each transaction. */
async function readWindow(folder: string, { warmup_s, seconds }: PgbenchRun, ran_out: boolean) {
  const names = (await readdir(folder)).filter((name) => name.startsWith('log'));
  const logs = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return windowOf(logs.join(''), warmup_s, seconds, ran_out);
}

/**
 * @param log lines of client, number, microseconds, script, epoch seconds, microseconds (, retries)
 * @param ran_out a client had no more orders: the window ends there
 */
export function windowOf(log: string, warmup_s: number, seconds: number, ran_out = false) {
  const ends = log.split('\n').flatMap((line) => {
    const [client, , took_us, , epoch_s, epoch_us] = line.split(' ').map(Number);
    return took_us === undefined || epoch_s === undefined || epoch_us === undefined
      ? []
      : [{ client, at_ms: epoch_s * 1000 + epoch_us / 1000, took_ms: took_us / 1000 }];
  });
  const began_at = ends.reduce((least, end) => Math.min(least, end.at_ms - end.took_ms), Infinity);
  const from = began_at + warmup_s * 1000;
  const last = new Map(ends.map(({ client, at_ms }) => [client, at_ms]));
  const alone_at = ran_out ? Math.min(...last.values()) : Infinity;
  const until = Math.min(from + seconds * 1000, alone_at);
  const inside = ends.filter(({ at_ms }) => at_ms >= from && at_ms < until);
  const took = inside.map((end) => end.took_ms).sort((a, b) => a - b);
  const measured_s = Number.isFinite(until) ? Math.max(0, (until - from) / 1000) : 0;
  return {
    per_s: measured_s > 0 ? took.length / measured_s : 0,
    p50_ms: percentile(took, 0.5),
    p99_ms: percentile(took, 0.99),
    seconds: measured_s,
  };
}
