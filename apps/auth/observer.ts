/** Looks at credentials where nobody is refused yet: who would be, once authentication is on. */
import type { Log } from '../../db/log.ts';
import type { scopeOf } from '../contract/call.ts';
import type { Exchange, Guard, Incoming } from '../http/exchange.ts';
import { type Authenticate, assertScope } from '../http/guard.ts';
import type { CredentialsOutcome as Outcome } from '../http/metrics.ts';
import type { Networks } from '../http/networks.ts';
import { RequestError } from '../http/problem.ts';
import { isOfConsole } from './authenticate.ts';
import { failureCounter } from './failures.ts';

/** Callers stay unknown: they do not wait for this, and have no name, limits or keys of their own. */
export class Observer implements Guard {
  readonly #authenticate: Authenticate;
  readonly #count: (outcome: Outcome) => void;
  readonly #note: (request: Incoming, why: string) => Promise<void>;

  constructor(
    authenticate: Authenticate,
    count: (outcome: Outcome) => void,
    log: Log,
    trusted: Networks = [],
    now?: () => number,
  ) {
    this.#authenticate = authenticate;
    this.#count = count;
    const observed: Log = (level, _, fields) => log(level, 'call_would_be_refused', fields);
    this.#note = failureCounter(observed, trusted, now, async () => {}).note;
  }

  admit(request: Incoming, exchange: Exchange, wanted: ReturnType<typeof scopeOf>): undefined {
    // A browser that shows the console sends a key only if it is asked for one.
    if (wanted === undefined || isOfConsole(request.url)) return;
    void this.#look(request, wanted).then(async ([outcome, why]) => {
      this.#count(outcome);
      const call = exchange.route === undefined ? '' : `${request.method} ${exchange.route}: `;
      if (why !== undefined) await this.#note(request, call + why);
    });
  }

  /** @returns why the call would be refused, if it would */
  async #look(
    request: Incoming,
    wanted: Exclude<ReturnType<typeof scopeOf>, undefined>,
  ): Promise<[outcome: Outcome, why?: string]> {
    const is_missing = request.headers.get('authorization') === null;
    let name = '';
    try {
      const principal = await this.#authenticate(request);
      name = principal.name;
      if (wanted !== 'each') assertScope(principal, wanted);
      return ['valid'];
    } catch (error) {
      if (!(error instanceof RequestError)) return ['unknown']; // the store does not answer, say
      const { code, detail } = error;
      if (code === 'forbidden') return ['lacks_scope', `${name}: ${detail}`];
      return [is_missing ? 'missing' : 'wrong', detail];
    }
  }

  holds = async (): Promise<boolean> => true;

  keepTo: Guard['keepTo'] = async (_own, _name, _call, _params, query) => query;
}
