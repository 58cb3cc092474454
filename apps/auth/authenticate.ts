/** Reads the credentials of a request, and finds whose they are. */
import { Buffer } from 'node:buffer';
import type { Principal } from '../http/exchange.ts';
import type { Authenticate } from '../http/guard.ts';
import { RequestError } from '../http/problem.ts';
import type { Failures } from './failures.ts';
import { isKeyText } from './key-text.ts';

type Found = Principal | undefined;

/** API keys begin so, and tokens never do. */
const KEY_PREFIX = 'kassa_';
/** Almost all callers send a key behind this. Such a header need not be taken apart. */
const BEARER = 'Bearer ';

export interface Sources {
  /**
   * @returns whose key it is, or undefined if it is nobody's (any more)
   * @throws Failure store_unavailable, not_ready, overloaded; or the promise rejects with it
   */
  findKey: (key: string) => Found | Promise<Found>;
  /** @throws RequestError unauthenticated; undefined where no issuer is configured */
  readToken?: ((token: string) => Promise<Principal>) | undefined;
  failures: Failures;
}

/**
 * Takes `Authorization: Bearer` with an API key or a token. Browsers that show the console send
 * `Basic`, whose password is the key. A refusal is a promise that rejects, with RequestError
 * unauthenticated.
 */
export function authenticator(sources: Sources): Authenticate {
  return (request, slows) => {
    const refuse = async (error: unknown): Promise<never> => {
      if (error instanceof RequestError) {
        await sources.failures.note(request, error.detail, slows);
      }
      throw error;
    };
    try {
      const header = request.headers.get('authorization');
      const principal = principalOf(sources, credentialsIn(header, request.url));
      return principal instanceof Promise ? principal.catch(refuse) : principal;
    } catch (error) {
      return refuse(error);
    }
  };
}

/** Makes no promise for a key that is known. */
function principalOf({ findKey, readToken }: Sources, given: string) {
  if (given.startsWith(KEY_PREFIX)) {
    const found = findKey(given);
    return found instanceof Promise ? found.then(assertFound) : assertFound(found);
  }
  if (!readToken) throw unauthenticated('not an API key');
  return readToken(given);
}

function assertFound(found: Found): Principal {
  if (found) return found;
  throw unauthenticated('the API key is not valid');
}

/** One scheme and one word: two headers, which are joined by a comma, are refused. */
function credentialsIn(header: string | null, url: string): string {
  if (header === null) {
    throw unauthenticated('send Authorization: Bearer with an API key or a token');
  }
  const key = header.startsWith(BEARER) ? header.slice(BEARER.length) : '';
  if (isKeyText(key)) return key;
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
