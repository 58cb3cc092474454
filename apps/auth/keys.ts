/** The API keys that are live, in the memory of each process. */
import { type Clock, systemClock } from '../../db/clock.ts';
import { Failure } from '../../db/failure.ts';
import type { Keys, LiveKey } from '../../db/keys/keys.ts';
import type { Log } from '../../db/log.ts';
import { scopesFor } from '../contract/scopes.ts';
import type { Principal } from '../http/exchange.ts';
import { hashOf, isKeyText } from './key-text.ts';

interface Known {
  id: string;
  principal: Principal;
  /** By the clock of the ring. */
  expires_at: number;
}

/** From the beginning of one read of the keys to that of the next. */
const READ_EVERY_MS = 2000;
/** The same, if somebody waits for the next one: a key may have been made since. */
const EARLY_MS = 500;
/** For one read; whoever waits for it is then told that the store does not answer. */
const READ_MS = 2000;
/** How old keys may be that are still believed. */
const TRUSTED_MS = 30_000;
/** From one note of uses to the next. */
const NOTE_EVERY_MS = 60_000;
/** Callers with unknown keys that may wait for the next read. */
const WAITING_MAX = 1000;
/** At the end of the process. */
const LAST_NOTE_MS = 1000;

/** Tests supply their own. */
export interface KeyClock extends Pick<Clock, 'now' | 'after'> {
  /** Unlike `after` it is never late because the process is busy. @returns a function that cancels */
  timer(ms: number, run: () => void): () => void;
}

const CLOCK: KeyClock = {
  ...systemClock,
  timer(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * Reads all live keys at once, again and again: a call costs no read, and a flood of wrong keys
 * costs the store two reads a second at most. A revoked key stops with the next read. While the
 * store does not answer, keys that were read within `TRUSTED_MS` go on; then every key is answered
 * 503, because it might have been revoked. Ages count from the beginning of the read.
 */
export class KeyRing {
  readonly #keys: Pick<Keys, 'live' | 'noteUses'>;
  readonly #log: Log;
  readonly #clock: KeyClock;
  /** By hash. */
  #known: ReadonlyMap<string, Known> = new Map();
  /** When the read began that has found them. */
  #known_at = Number.NEGATIVE_INFINITY;
  /** When the last read began. */
  #begun_at = Number.NEGATIVE_INFINITY;
  /** Why the last read has failed, if it has. */
  #trouble: Failure | undefined;
  #first: Promise<void> | undefined;
  /** The end of the next read, which has not begun. */
  #next: PromiseWithResolvers<void> | undefined;
  #waiting = 0;
  /** A read has begun more than `READ_MS` ago, and is not answered. */
  #late = false;
  #wake = (): void => {};
  #cancelTimer = (): void => {};
  #closed = false;
  /** When keys were used since the last note, by id. */
  #used = new Map<string, number>();
  #note_at = Number.NEGATIVE_INFINITY;
  #noting: Promise<void> = Promise.resolve();

  constructor(keys: Pick<Keys, 'live' | 'noteUses'>, log: Log, clock = CLOCK) {
    this.#keys = keys;
    this.#log = log;
    this.#clock = clock;
    this.#first = this.#nextRead();
    void this.#keepReading();
  }

  /**
   * Who holds this key. The lookup is by the hash of a text that nobody can choose towards a stored
   * hash, so how long it takes tells nothing of use about the keys that there are.
   * @returns at once for a key that is known; undefined for what is no live key
   * @throws Failure store_unavailable, not_ready, overloaded while that cannot be known
   */
  find(token: string): Principal | undefined | Promise<Principal | undefined> {
    if (!isKeyText(token)) return undefined;
    const hash = hashOf(token);
    const known = this.#trusted(hash);
    return known ? this.#use(known) : this.#findAfterRead(hash);
  }

  #use({ id, principal }: Known): Principal {
    this.#used.set(id, this.#clock.now());
    return principal;
  }

  async #findAfterRead(hash: string): Promise<Principal | undefined> {
    await this.#first;
    if (!this.#trusted(hash)) {
      // It may be a new key: nobody can tell that many at once.
      if (this.#waiting >= WAITING_MAX) throw tooMany();
      this.#waiting++;
      await this.#nextRead();
      this.#waiting--;
    }
    if (this.#isOld()) throw this.#trouble ?? noAnswer();
    const known = this.#liveKey(hash);
    // It may be a new key, which nobody can tell now.
    if (!known && this.#trouble) throw this.#trouble;
    return known && this.#use(known);
  }

  /** Stops reading, and notes the last uses. The store must still be open. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    this.#wake();
    this.#next?.resolve();
    await this.#noting;
    this.#note_at = Number.NEGATIVE_INFINITY;
    this.#noteUses(LAST_NOTE_MS);
    await this.#noting;
  }

  #trusted(hash: string): Known | undefined {
    return this.#isOld() ? undefined : this.#liveKey(hash);
  }

  #liveKey(hash: string): Known | undefined {
    const known = this.#known.get(hash);
    return known && known.expires_at > this.#clock.now() ? known : undefined;
  }

  #isOld(): boolean {
    return this.#clock.now() - this.#known_at > TRUSTED_MS;
  }

  /** The end of a read that begins from now on, soon: the answer knows all that was made before. */
  #nextRead(): Promise<void> {
    if (this.#closed || this.#late) return Promise.resolve();
    if (!this.#next) {
      this.#next = Promise.withResolvers();
      this.#wakeAt(this.#begun_at + EARLY_MS);
    }
    return this.#next.promise;
  }

  async #keepReading(): Promise<void> {
    while (!this.#closed) {
      await this.#read();
      this.#first = undefined;
      this.#noteUses(READ_MS);
      if (this.#closed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      this.#wakeAt(this.#begun_at + (this.#next ? EARLY_MS : READ_EVERY_MS));
      await promise;
    }
  }

  #wakeAt(at: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.timer(Math.max(0, at - this.#clock.now()), () => this.#wake());
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    const begun_at = this.#clock.now();
    const waited_for = this.#next;
    const level = this.#trouble ? 'debug' : 'warn'; // warned once
    this.#begun_at = begun_at;
    this.#next = undefined;
    const cancel = this.#clock.after(READ_MS, () => {
      this.#late = true;
      this.#trouble = noAnswer();
      waited_for?.resolve();
      this.#next?.resolve();
      this.#next = undefined;
    });
    try {
      const rows = await this.#keys.live(begun_at + READ_MS);
      this.#known = new Map(rows.map((row) => [row.hash, knownOf(row, begun_at)]));
      this.#known_at = begun_at;
      this.#trouble = undefined;
    } catch (error) {
      this.#log(level, 'keys_not_read', { error });
      this.#trouble = error instanceof Failure ? error : noAnswer(error);
    }
    cancel();
    this.#late = false;
    waited_for?.resolve();
  }

  #noteUses(within_ms: number): void {
    if (this.#used.size === 0 || this.#clock.now() < this.#note_at) return;
    const now = this.#clock.now();
    const used = this.#used;
    const ago_s = new Map([...used].map(([id, at]) => [id, (now - at) / 1000]));
    this.#used = new Map();
    this.#note_at = now + NOTE_EVERY_MS;
    this.#noting = this.#keys.noteUses(ago_s, now + within_ms).catch((error) => {
      this.#used = new Map([...used, ...this.#used]); // later uses count
      this.#log('warn', 'key_uses_not_noted', { error });
    });
  }
}

const tooMany = () =>
  new Failure('overloaded', 'too many calls with unknown keys; nothing was tried');
const noAnswer = (cause?: unknown): Failure =>
  new Failure('store_unavailable', 'the store does not say which keys are valid', { cause });

/** Scopes that this version does not know, or that no key of a user may have, are left out. */
function knownOf({ id, left_ms, ...row }: LiveKey, begun_at: number): Known {
  const { principal: name, scopes, user_id, per_s, in_flight } = row;
  const principal: Principal = {
    name: `key:${name}`,
    scopes: scopesFor(scopes.split(','), user_id ?? undefined),
    ...(user_id !== null && { user_id }),
    limits: { per_s: per_s ?? undefined, in_flight: in_flight ?? undefined },
  };
  return { id, principal, expires_at: left_ms === null ? Infinity : begun_at + left_ms };
}
