/** Reads the credentials of a request, and finds whose they are. */
import { Buffer } from 'node:buffer';
import type { Incoming, Principal } from '../http/exchange.ts';
import { RequestError } from '../http/problem.ts';
import type { Failures } from './failures.ts';

/** API keys begin so, and tokens never do. */
const KEY_PREFIX = 'kassa_';

export interface Sources {
  /** @returns whose key it is, or undefined if it is nobody's (any more) */
  findKey(key: string): Principal | undefined | Promise<Principal | undefined>;
  /** @throws RequestError unauthenticated; undefined where no issuer is configured */
  readToken?: ((token: string) => Promise<Principal>) | undefined;
  failures: Failures;
}

/**
 * Takes `Authorization: Bearer` with an API key or a token. Browsers that show the console send
 * `Basic`, whose password is the key.
 * @throws RequestError unauthenticated
 */
export function authenticator(sources: Sources): (request: Incoming) => Promise<Principal> {
  return async (request) => {
    try {
      const header = request.headers.get('authorization');
      return await principalOf(sources, credentialsIn(header, request.url));
    } catch (error) {
      if (error instanceof RequestError) await sources.failures.note(request, error.detail);
      throw error;
    }
  };
}

async function principalOf({ findKey, readToken }: Sources, given: string): Promise<Principal> {
  if (given.startsWith(KEY_PREFIX)) {
    const found = await findKey(given);
    if (found) return found;
    throw unauthenticated('the API key is not valid');
  }
  if (!readToken) throw unauthenticated('not an API key');
  return readToken(given);
}

/** One scheme and one word: two headers, which are joined by a comma, are refused. */
function credentialsIn(header: string | null, url: string): string {
  if (header === null) {
    throw unauthenticated('send Authorization: Bearer with an API key or a token');
  }
  const [, scheme = '', word = ''] = /^(\w+) +([\w.~+/=-]+) *$/.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return word;
    case 'basic':
      // Of a browser that shows the console: it must not send them along with other calls.
      if (!isOfConsole(url)) break;
      return Buffer.from(word, 'base64')
        .toString('utf8')
        .replace(/^[^:]*:/, '');
  }
  throw unauthenticated('Authorization must be Bearer and one API key or token');
}

export const isOfConsole = (url: string): boolean =>
  /^\/console(?:[/?]|$)/.test(url.slice(url.indexOf('/', 8)));

const unauthenticated = (detail: string) => new RequestError('unauthenticated', detail);
