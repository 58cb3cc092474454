/**
 * A small HTTP client for any deployment of the API. A missing answer is a result, not an error.
 */
import { doesNotAnswer } from '../../apps/runtime/exit.ts';
import { Failure } from '../../db/failure.ts';

export interface Answered {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers have every shape
  body: any;
  replayed: boolean;
}

/** What a client knows about a call. `broken`: no answer came; it may have taken effect. */
export type Known = Answered | { broken: string };

export const isAnswer = (known: Known): known is Answered => 'status' in known;

/** It took effect: 2xx. */
export const isDone = (known: Known): known is Answered =>
  isAnswer(known) && known.status >= 200 && known.status < 300;

/** It had no effect: 4xx. */
export const isRefused = (known: Known): known is Answered =>
  isAnswer(known) && known.status >= 400 && known.status < 500;

export type Client = ReturnType<typeof openClient>;

/**
 * @param address one origin for all three services, or three, one each:
 *   `http://127.0.0.1:8000` or `orders=http://…,payment=http://…,stock=http://…`
 */
export function openClient(address: string, timeout_ms = 30_000) {
  const origins = originsOf(address);
  /** Where the service that has this path serves it. */
  const urlOf = (path: string): string => {
    const owner = ownerOf(path);
    return `${origins.find(({ service }) => !service || service === owner)?.url}${path}`;
  };
  /** Never throws. */
  const call = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    sent?: object,
  ): Promise<Known> => {
    const type = sent === undefined ? {} : { 'content-type': 'application/json' };
    try {
      const signal = AbortSignal.timeout(timeout_ms);
      const init = {
        method,
        headers: { ...headers, ...type },
        signal,
        ...(sent && { body: JSON.stringify(sent) }),
      };
      const response = await fetch(urlOf(path), init);
      const text = await response.text();
      const replayed = response.headers.get('idempotency-replayed') === 'true';
      return { status: response.status, body: parse(text), replayed };
    } catch (error) {
      return { broken: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
    }
  };
  return {
    origin: address,
    urlOf,
    call,
    post: (path: string, headers?: Record<string, string>) => call('POST', path, headers),
    get: (path: string) => call('GET', path),
  };
}

/** @throws Failure invalid_parameter for an address that `openClient` does not accept */
export function assertAddress(address: string): void {
  const origins = originsOf(address);
  const known = ({ service, url }: (typeof origins)[number]) =>
    /^https?:\/\/[^/\s?#]+$/.test(url) &&
    (service ? ['orders', 'payment', 'stock'].includes(service) : origins.length === 1);
  if (origins.every(known)) return;
  const example = 'http://host:port, or orders=http://…,payment=http://…,stock=http://…';
  throw new Failure('invalid_parameter', `--address must look like ${example}, not ${address}`);
}

/**
 * Asks each origin of a deployment for anything: any answer will do, since other servers of this
 * API have no health check.
 * @throws Failure that names the first origin that does not answer
 */
export async function assertAnswers(
  address: string,
  { insecure = false, timeout_ms = 5000 } = {},
): Promise<void> {
  for (const { url } of originsOf(address)) {
    await fetch(`${url}/health/live`, {
      signal: AbortSignal.timeout(timeout_ms),
      tls: { rejectUnauthorized: !insecure },
    }).catch((cause) => {
      const hint = /CERT|certificate/.test(`${cause.code} ${cause.message}`);
      throw doesNotAnswer(url, cause, hint ? '--insecure accepts any certificate' : '');
    });
  }
}

/** Whether the deployment has /v1, with refunds and holds. One of the course alone does not. */
export async function offersV1(client: Client): Promise<boolean> {
  const known = await client.get(`/v1/orders/${crypto.randomUUID()}/refunds`);
  return isAnswer(known) && known.body?.code === 'order_not_found';
}

/** The origins in an address, without a slash at the end. */
const originsOf = (address: string) =>
  address.split(',').map((part) => {
    const [, service, url = ''] = /^(?:(\w+)=)?(.*?)\/?$/.exec(part) ?? [];
    return { service, url };
  });

/** The service that serves the path. */
function ownerOf(path: string): string {
  const [, first = '', second = ''] = path.split(/[/?]/);
  return first === 'v1' ? (OF_V1[second] ?? '') : first;
}
const OF_V1: Record<string, string> = {
  ...{ users: 'payment', items: 'stock', orders: 'orders', bulk: 'orders', events: 'orders' },
};

/** Foreign implementations of the API sometimes answer with plain text. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Runs `work` for 0 … n - 1, at most `width` concurrently, and collects the results. */
export async function pooled<T>(
  n: number,
  width: number,
  work: (i: number) => Promise<T>,
  progress: (done: number) => void = () => {},
): Promise<T[]> {
  const results = new Array<T>(n);
  const left = results.keys(); // the workers share it
  let done = 0;
  const worker = async () => {
    for (const i of left) {
      results[i] = await work(i);
      progress(++done);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}
