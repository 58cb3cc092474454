/** Where the keys of the issuer come from: a URL or a file. */
import { readFile } from 'node:fs/promises';

export interface Source {
  read(): Promise<string>;
  /** The age at which keys are read again, while calls go on with those. */
  refresh_ms: number;
  /** The age beyond which calls wait for that. */
  wait_ms: number;
  /** The least time between two attempts. */
  pause_ms: number;
}

const READ_MS = 3000;
/** Some 20 KB are usual, with certificates. */
const BYTES_MAX = 256 * 1024;

export const sourceOf = (where: string): Source =>
  /^https?:/.test(where)
    ? { read: () => fetchText(where), refresh_ms: 120_000, wait_ms: 300_000, pause_ms: 10_000 }
    : { read: () => fileText(where), refresh_ms: 10_000, wait_ms: 30_000, pause_ms: 1000 };

/** Redirects are not followed: the configuration says where the keys are. */
async function fetchText(url: string): Promise<string> {
  const response = await fetch(url, {
    redirect: 'manual',
    headers: { accept: 'application/jwk-set+json, application/json' },
    signal: AbortSignal.timeout(READ_MS),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the issuer answers ${response.status}`);
  }
  const decoder = new TextDecoder();
  let [text, bytes] = ['', 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > BYTES_MAX) throw tooLarge();
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

async function fileText(path: string): Promise<string> {
  const text = await readFile(path, { encoding: 'utf8', signal: AbortSignal.timeout(READ_MS) });
  if (text.length > BYTES_MAX) throw tooLarge();
  return text;
}

const tooLarge = (): Error => new Error(`the keys have more than ${BYTES_MAX} bytes`);
