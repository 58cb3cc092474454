/** Requests as bytes: what is sent stands in the test, and what comes back is read strictly. */
import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** What came back on one connection until the other side closed it. */
export interface Exchanged {
  answers: RawAnswer[];
  /** What was no whole answer. */
  rest: string;
  took_ms: number;
}

/** Longer than a server takes to give a request up. */
const PATIENCE_MS = 20_000;

/**
 * Sends the parts one after the other, in segments of their own, and reads until the other side
 * closes. @param options `ends`: closes its own direction behind the last part; `head`: answers
 * have a length, but no body
 */
export function sendRaw(
  port: number,
  parts: readonly string[],
  options: { pause_ms?: number; ends?: boolean; head?: boolean } = {},
): Promise<Exchanged> {
  const begun_at = performance.now();
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const late = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on('data', (bytes) => (text += bytes.toString('latin1')));
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

/** `100 Continue` is left out: it is no answer. */
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
