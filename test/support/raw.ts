/** Sends requests as raw bytes, and parses the answers strictly. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Everything received on one connection until the other side closed it. */
export type Exchanged = Awaited<ReturnType<typeof sendRaw>>;
export type RawAnswer = Exchanged['answers'][number];

/** Longer than a server waits for the rest of a request. */
const PATIENCE_MS = 20_000;

/**
 * Sends the parts one after the other, in separate segments, and reads until the other side closes.
 * @param options `ends`: half-closes after the last part; `last`: closes the connection once the
 * answers match it, because the other side would not; `head`: answers have a length but no body
 */
export async function sendRaw(
  port: number,
  parts: readonly string[],
  options: { pause_ms?: number; ends?: boolean; last?: RegExp; head?: boolean } = {},
) {
  const begun_at = performance.now();
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const late = setTimeout(() => socket.destroy(), PATIENCE_MS);
  let text = '';
  socket.setEncoding('latin1').on('data', (part) => {
    text += part;
    if (options.last?.test(text)) socket.destroy();
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
  socket.on('connect', async () => {
    for (const part of parts) {
      if (!socket.writable) return;
      socket.write(part, 'latin1');
      await sleep(options.pause_ms);
    }
    if (options.ends) socket.end();
  });
  await new Promise((resolve) => socket.on('close', resolve));
  clearTimeout(late);
  return { ...answersIn(text, !options.head), took_ms: performance.now() - begun_at };
}

/** Skips `100 Continue`. @returns the answers, and what is not a complete one */
function answersIn(text: string, has_bodies: boolean) {
  const answers: { status: number; headers: Record<string, string>; body: string }[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    const { status, headers: pairs } = parseHead(rest.slice(0, Math.max(0, end)));
    if (!status) return { answers, rest };
    const headers = Object.fromEntries(pairs);
    const length = status === 100 || !has_bodies ? 0 : Number(headers['content-length'] ?? 0);
    const body = rest.slice(end + 4, end + 4 + length);
    if (body.length < length) return { answers, rest };
    if (status !== 100) answers.push({ status, headers, body });
    rest = rest.slice(end + 4 + length);
  }
}

/** The status of an answer, NaN if its first line is malformed, and its headers. */
export function parseHead(head: string) {
  const [first = '', ...lines] = head.split('\r\n');
  const headers = lines.map((line): [name: string, value: string] => {
    const [name = '', value = ''] = line.split(/:(.*)/s);
    return [name.toLowerCase(), value.trim()];
  });
  return { status: Number(/^HTTP\/1\.[01] (\d{3}) /.exec(first)?.[1]), headers };
}
