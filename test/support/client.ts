/**
 * A small HTTP client for any deployment of the API. A missing answer is a result, not an error.
 */
import { doesNotAnswer } from '../../apps/runtime/exit.ts';
import { Failure } from '../../db/failure.ts';
import { headersFor } from './key.ts';

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
 * @param key shown with each call
 */
export function openClient(address: string, timeout_ms = 30_000, key?: string) {
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
        headers: { ...headersFor(key), ...headers, ...type },
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
    key,
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
 * API have no health check. Then a read tells whether it lets us in.
 * @throws Failure that names the first origin that does not answer, or refuses the key
 */
export async function assertAnswers(
  address: string,
  { insecure = false, timeout_ms = 5000, key = undefined as string | undefined } = {},
): Promise<void> {
  const tls = { rejectUnauthorized: !insecure };
  for (const { service = 'orders', url } of originsOf(address)) {
    const signal = () => AbortSignal.timeout(timeout_ms);
    await fetch(`${url}/health/live`, { signal: signal(), tls }).catch((cause) => {
      const hint = /CERT|certificate/.test(`${cause.code} ${cause.message}`);
      throw doesNotAnswer(url, cause, hint ? '--insecure accepts any certificate' : '');
    });
    const init = { signal: signal(), tls, headers: headersFor(key) };
    const answer = await fetch(url + PROBES[service], init).catch(() => undefined);
    if (answer) await assertAdmitted(url, key, answer);
  }
}

/** Reads, which change nothing. */
const PROBES: Record<string, string> = {
  orders: '/orders/find/0',
  payment: '/payment/find_user/0',
  stock: '/stock/find/0',
};

async function assertAdmitted(url: string, key: string | undefined, answer: Response) {
  const { status } = answer;
  const body = parse(await answer.text()) as { detail?: unknown } | undefined;
  if (status !== 401 && status !== 403) return;
  const why = key === undefined ? 'set KASSA_KEY' : (body?.detail ?? 'it refuses the key');
  throw new Failure('invalid_parameter', `${url} answered ${status}: ${why}`);
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
