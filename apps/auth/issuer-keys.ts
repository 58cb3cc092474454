/** The keys of the issuer of tokens: read, kept, and read again. */
import { type CryptoKey, createLocalJWKSet, errors, type JWTHeaderParameters } from 'jose';
import { Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import { type Source, sourceOf } from './key-source.ts';
import { usableKeys } from './usable-keys.ts';

/** How long known keys count while no others can be read: as long as most tokens live. */
const KEPT_MS = 3_600_000;
/** Between two attempts as long as there are no keys: each call would make one. */
const NO_KEYS_PAUSE_MS = 1000;

type Find = ReturnType<typeof createLocalJWKSet>;

export class IssuerKeys {
  readonly #source: Source;
  readonly #algorithms: readonly string[];
  readonly #log: Log;
  readonly #clock: () => number;
  /** What the keys were made of. */
  #text: string | undefined;
  #select: Find = createLocalJWKSet({ keys: [] });
  #loaded_at_ms = Number.NEGATIVE_INFINITY;
  #tried_at_ms = Number.NEGATIVE_INFINITY;
  #failing = false;
  #loading: Promise<void> | undefined;
  /** Increases when there are other keys. */
  generation = 0;

  constructor(where: string, algorithms: readonly string[], log: Log, clock: () => number) {
    this.#source = sourceOf(where);
    this.#algorithms = algorithms;
    this.#log = log;
    this.#clock = clock;
    void this.#load();
  }

  /**
   * The key for a token. A key that is not known may have come since the last look, so the keys are
   * read again, once for all tokens and not too often.
   * @throws Failure not_ready if it cannot be known; JOSEError if there is no such key
   */
  readonly find = async (header: JWTHeaderParameters): Promise<CryptoKey> => {
    await this.#refresh();
    try {
      return await this.#select(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.#reload();
    try {
      return await this.#select(header);
    } catch (error) {
      if (this.#failing) throw unreadable();
      throw error;
    }
  };

  async #refresh(): Promise<void> {
    const { refresh_ms, wait_ms } = this.#source;
    if (this.#age_ms >= refresh_ms) {
      const attempt = this.#reload();
      // Calls wait for an issuer that works, not for one that is known to be away.
      if (this.#age_ms >= (this.#failing ? KEPT_MS : wait_ms)) await attempt;
    }
    if (this.#age_ms >= KEPT_MS) throw unreadable();
  }

  get #age_ms(): number {
    return this.#clock() - this.#loaded_at_ms;
  }

  #reload(): Promise<void> {
    if (this.#loading) return this.#loading;
    const pause_ms = this.#age_ms >= KEPT_MS ? NO_KEYS_PAUSE_MS : this.#source.pause_ms;
    const rests = this.#clock() - this.#tried_at_ms < pause_ms;
    return rests ? Promise.resolve() : this.#load();
  }

  #load(): Promise<void> {
    this.#loading = this.#read().finally(() => {
      this.#tried_at_ms = this.#clock();
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #read(): Promise<void> {
    const asked_at_ms = this.#clock();
    try {
      await this.#take(await this.#source.read());
      this.#loaded_at_ms = asked_at_ms;
      if (this.#failing) this.#log('info', 'issuer_keys_read_again', {});
      this.#failing = false;
    } catch (error) {
      this.#log(this.#failing ? 'debug' : 'warn', 'issuer_keys_unreadable', { error });
      this.#failing = true;
    }
  }

  async #take(text: string): Promise<void> {
    if (text === this.#text) return;
    const { keys, ignored } = await usableKeys(text, this.#algorithms);
    for (const { kid, reason } of ignored) {
      this.#log('warn', 'issuer_key_ignored', { kid, reason });
    }
    if (keys.length === 0) this.#log('warn', 'issuer_has_no_keys', {});
    this.#select = createLocalJWKSet({ keys });
    this.#text = text;
    this.generation++;
  }
}

const unreadable = (): Failure =>
  new Failure('not_ready', 'the keys of the issuer cannot be read; nothing was done');
