/** Opens connections: picks a host, limits the time, and checks the session. */
import { systemClock } from '../clock.ts';
import { Failure, isServerError, rootCodeOf } from '../failure.ts';
import { hostsOf, type Purpose, type StoreAddress } from './address.ts';
import type { Connection } from './connection.ts';
import { openClient } from './driver.ts';
import { firstOf } from './first-of.ts';
import { connectionOn } from './link.ts';
import { assertOwnSession, sessionOf } from './pooler.ts';
import { tuneSession } from './session.ts';

/**
 * Opens a connection to the first host of the address that answers in SQL and is a primary. It
 * starts at a random host, so that connections spread. A host that accepts connections and stays
 * silent delays it by half a second.
 * @throws Failure store_unavailable that names each host with its reason
 */
export function openConnection(address: StoreAddress, purpose: Purpose): Promise<Connection> {
  const hosts = hostsOf(address.database_url);
  const first = Math.floor(Math.random() * hosts.length);
  const order = hosts.map((_, i) => (first + i) % hosts.length);
  const attempts = order.map((host) => () => connectTo(host, address, purpose));
  return firstOf(attempts, NEXT_HOST_MS, (late) => late.destroy()).catch(
    (cause: AggregateError) => {
      const [only, ...others] = cause.errors;
      if (others.length === 0) throw only;
      const reasons = order.map((host, i) => `${hosts[host]}: ${reasonOf(cause.errors[i])}`);
      throw new Failure('store_unavailable', reasons.sort().join('; '), { cause });
    },
  );
}

/** How long a host may be silent before the next one is tried as well. */
const NEXT_HOST_MS = 500;

/** The server's own words, or the code from the network or TLS, or what this code found. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const code = rootCodeOf(error);
  if (isServerError(inner)) return `${(inner as Error).message} (${code})`;
  if (inner instanceof Failure) return inner.detail;
  const reason = error instanceof Failure ? error.detail : String(error);
  return code && !reason.includes(code) ? `${reason} (${code})` : reason;
}

/** @throws Failure store_unavailable */
async function connectTo(
  host: number,
  address: StoreAddress,
  purpose: Purpose,
): Promise<Connection> {
  const client = openClient(host, address, (why) => lose(why));
  const features = { gated: false, upserts: false, fenced: false };
  const { connection, lose } = connectionOn({
    sql: client.sql,
    features,
    clock: systemClock,
    stale_at: performance.now() + lifetimeOf(address),
    ...(purpose === 'reads' && { isServing: () => isServing(host, address) }),
    drop: client.drop,
    end: () => client.sql.end({ timeout: 1 }),
  });
  const stopTimer = systemClock.after(address.connect_timeout_ms, () => {
    lose(new Failure('store_unavailable', 'connecting timed out'));
  });
  const prepare = async () => {
    const standby_allowed = purpose === 'tools' && client.standby_allowed;
    const [tuned, session] = await Promise.all([
      tuneSession(client.sql, purpose, address, standby_allowed),
      sessionOf(client.sql),
    ]);
    const openSecond = (lost: (why: Failure) => void) => openClient(host, address, lost);
    await assertOwnSession(client.sql, session, openSecond, address.connect_timeout_ms / 2);
    return tuned;
  };
  try {
    const prepared = prepare().catch((cause) => {
      throw cause instanceof Failure ? cause : cannotConnect(cause);
    });
    Object.assign(features, await connection.whileAlive(prepared));
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    stopTimer();
  }
}

/**
 * Whether this host of the address still serves: a new session must begin in time. An error from
 * the server counts as serving. Behind a load balancer another server may answer.
 */
async function isServing(host: number, address: StoreAddress): Promise<boolean> {
  const brief = { ...address, connect_timeout_ms: address.response_timeout_ms };
  try {
    const connection = await connectTo(host, brief, 'tools');
    void connection.close();
    return true;
  } catch (error) {
    return error instanceof Failure && isServerError(error.cause);
  }
}

const cannotConnect = (cause: unknown): Failure =>
  new Failure('store_unavailable', 'cannot connect', { cause });

/** Ten percent more or less, so that the connections of a fleet do not all end together. */
const lifetimeOf = ({ connection_lifetime_ms: ms }: StoreAddress): number =>
  ms === 0 ? Number.POSITIVE_INFINITY : ms * (0.9 + 0.2 * Math.random());
