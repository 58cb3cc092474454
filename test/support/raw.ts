/** Sends requests as raw bytes, and parses the answers strictly. */
import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Everything received on one connection until the other side closed it. */
export interface Exchanged {
  answers: RawAnswer[];
  /** Bytes that are not a complete answer. */
  rest: string;
  took_ms: number;
}

/** Longer than a server waits for the rest of a request. */
const PATIENCE_MS = 20_000;

/**
 * Sends the parts one after the other, in separate segments, and reads until the other side closes.
 * @param options `ends`: half-closes after the last part; `last`: closes the connection once the
 * answers match it, because the other side would not; `head`: answers have a length but no body
 */
export function sendRaw(
  port: number,
  parts: readonly string[],
  options: { pause_ms?: number; ends?: boolean; last?: RegExp; head?: boolean } = {},
): Promise<Exchanged> {
  const begun_at = performance.now();
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const late = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (options.last?.test(text)) socket.destroy();
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(late);
      resolve({ ...answersIn(text, options.head), took_ms: performance.now() - begun_at });
    });
    socket.on('connect', async () => {
      for (const part of parts) {
        if (!socket.writable) return;
        socket.write(Buffer.from(part, 'latin1'));
        await Bun.sleep(options.pause_ms ?? 0);
      }
      if (options.ends) socket.end();
    });
  });
}

/** Skips `100 Continue`. */
function answersIn(text: string, head = false): { answers: RawAnswer[]; rest: string } {
  const answers: RawAnswer[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    const [line = '', ...lines] = rest.slice(0, Math.max(0, end)).split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(line)?.[1]);
    if (!status) return { answers, rest };
    const headers = Object.fromEntries(
      lines.map((each) => [
        each.slice(0, each.indexOf(':')).toLowerCase(),
        each.slice(each.indexOf(':') + 1).trim(),
      ]),
    );
    rest = rest.slice(end + 4);
    if (status === 100) continue;
    const length = head ? 0 : Number(headers['content-length'] ?? 0);
    if (rest.length < length) return { answers, rest };
    answers.push({ status, headers, body: rest.slice(0, length) });
    rest = rest.slice(length);
  }
}
