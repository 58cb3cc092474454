/** `bun run cluster`: a CockroachDB cluster on this machine, to try Kassa on and to break. */
import {
  hasMajority,
  killNode,
  raise,
  startNode,
  takeDown,
  urlOf,
} from '../../db/local/cluster.ts';
import { livingOf, readCluster, wrong } from '../../db/local/cluster-state.ts';
import {
  addressOf,
  type Cluster,
  consoleOf,
  findCockroach,
  isReady,
  type Node,
  pidOf,
} from '../../db/local/cockroach-node.ts';
import { readArguments, wholeFlag } from '../runtime/arguments.ts';
import { cockroachIn, environment } from '../runtime/config.ts';
import { exitWith } from '../runtime/exit.ts';

const HELP = `Starts a CockroachDB cluster on this machine, with a database and a user for Kassa.
It needs the \`cockroach\` binary: on PATH, or at the path in COCKROACH.

  bun run cluster [--nodes N] [--memory] [--sql-port N] [--http-port N]
  bun run cluster --status | --kill N | --start N | --down [--erase]

  --nodes N       how many nodes, 1 to 9 (3); a larger number than before adds nodes
  --memory        keep the data in memory: they are lost when all nodes stop
  --sql-port N    SQL port of the first node (26257); the others have the next ones
  --http-port N   DB Console of the first node (8080); the others have the next ports
  --status        show the nodes and their state
  --kill N        kill one node with SIGKILL
  --start N       start it again
  --down          stop all nodes; data on disk stay
  --erase         with --down: remove the data
  --data DIR      state, logs and data are in its folder cluster (.data)
  --help          this text

The nodes keep running after this command. They have no TLS and no passwords, so they listen on
127.0.0.1 only, and every user of this machine has full access. Without a licence CockroachDB slows
a cluster of several nodes down after 7 days: then --down --erase and start a new one.`;

const report = (line: string) => console.log(line);

await main().catch(exitWith);

async function main(): Promise<void> {
  const flags = readArguments(HELP, {
    nodes: { type: 'string' },
    memory: { type: 'boolean' },
    'sql-port': { type: 'string' },
    'http-port': { type: 'string' },
    status: { type: 'boolean' },
    kill: { type: 'string' },
    start: { type: 'string' },
    down: { type: 'boolean' },
    erase: { type: 'boolean' },
    data: { type: 'string', default: '.data' },
  });
  assertTogether(flags);
  const { data, kill, start } = flags;
  if (flags.status) return console.log(await table(await readCluster(data)));
  if (flags.down) return takeDown(data, flags.erase ?? false, report);
  if (kill !== undefined) return lose(data, wholeFlag('kill', kill, 1, 9));
  if (start !== undefined) {
    const cluster = await startNode(data, wholeFlag('start', start, 1, 9), await binary(), report);
    return console.log(await table(cluster));
  }
  const wanted = {
    nodes: optional('nodes', flags.nodes, 1, 9),
    memory: flags.memory || undefined,
    sql_port: optional('sql-port', flags['sql-port'], 1024, 65_527),
    http_port: optional('http-port', flags['http-port'], 1024, 65_527),
  };
  const cluster = await raise(data, wanted, await binary(), report);
  console.log(banner(cluster, await table(cluster)));
}

/** One action at a time, with the flags that belong to it only. */
function assertTogether(flags: Record<string, unknown>): void {
  const given = (names: string[]) => names.filter((name) => flags[name] !== undefined);
  const [action, second] = given(['status', 'down', 'kill', 'start']);
  const [option] = given(['nodes', 'memory', 'sql-port', 'http-port']);
  if (second) throw wrong(`--${action} and --${second} are two commands`);
  if (action && option) throw wrong(`--${option} does not go with --${action}`);
  if (flags.erase && action !== 'down') throw wrong('--erase goes with --down only');
}

function optional(flag: string, text: string | undefined, low: number, high: number) {
  return text === undefined ? undefined : wholeFlag(flag, text, low, high);
}

function binary(): Promise<string> {
  const { given, path } = cockroachIn(environment());
  return findCockroach(given, path);
}

async function lose(data: string, killed: number): Promise<void> {
  const cluster = await killNode(data, killed);
  const left = `${livingOf(cluster).length} of ${cluster.nodes.length} nodes left`;
  console.log(
    `node ${killed} killed, ${left}; \`bun run cluster --start ${killed}\` starts it again`,
  );
  if (!hasMajority(cluster)) {
    console.log('That is no majority, so the cluster stops working until more nodes are started.');
  }
}

async function table(cluster: Cluster): Promise<string> {
  const rows = await Promise.all(
    cluster.nodes.map(async (node) => [
      String(node.number),
      addressOf(node),
      consoleOf(node),
      String(pidOf(cluster, node) ?? '-'),
      await stateOf(cluster, node),
    ]),
  );
  const lines = [['node', 'SQL', 'DB Console', 'process', 'state'], ...rows];
  const widths = [4, 15, 22, 8, 0];
  return lines
    .map((cells) => cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
    .join('\n');
}

async function stateOf(cluster: Cluster, node: Node): Promise<string> {
  if (!pidOf(cluster, node)) return 'down';
  return (await isReady(node)) ? 'live' : 'not ready';
}

function banner(cluster: Cluster, nodes: string): string {
  const [first] = cluster.nodes;
  const alone = `postgres://kassa@${first && addressOf(first)}/kassa?sslmode=disable`;
  const kept = cluster.memory ? 'in memory, lost when all nodes stop' : `in ${cluster.directory}`;
  return `
${nodes}

Data ${kept}. No TLS, no passwords: only for this machine.
DATABASE_URL='${urlOf(cluster)}'

  bun run dev --cluster            run the services on it
  bun run consistency --address http://127.0.0.1:8000
  bun run cluster --kill 2         kill a node under load; --start 2 starts it again
  bun run cluster --status         the state of the nodes; --down stops them all
  DATABASE_URL='${alone}' bun run test
`;
}
