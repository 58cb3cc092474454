/** Mutants of API keys: what is stored, who is known, and for how long. */
import { killedBy } from '../mutant.ts';

export const keyMutants = [
  ...killedBy(['keys-ring'], {
    'a key that is revoked stays known':
      'keys.ts: this.#known = new Map([-rows.map-]{+[...this.#known, ...rows.map+}((row) => [row.hash, knownOf(row, begun_at)])[--]{+]+});',
    'keys are read only once':
      'keys.ts: this.#wakeAt(this.#begun_at + (this.#next ? EARLY_MS : [-READ_EVERY_MS-]{+1e9+}));',
    'a key outlives its expiry':
      'keys.ts: return known && known.expires_at > [-this.#clock.now()-]{+0+} ? known',
    'keys are believed for ever while the store is away':
      'keys.ts: return this.#clock.now() - this.#known_at > [-TRUSTED_MS-]{+Infinity+};',
    'keys are believed for as long as the last read has failed':
      'keys.ts: this.#trouble = error instanceof Failure ? error : noAnswer(error);{+ this.#known_at = begun_at;+}',
    'while the store is away a new key is refused as unknown':
      'keys.ts: if (!known && this.#trouble) [-throw this.#trouble-]{+return undefined+};',
    'a new key is refused until the next read':
      'keys.ts: if (this.#waiting >= [-WAITING_MAX-]{+0+}) throw tooMany();',
    'a known key is not found at once': 'keys.ts: return [-known-]{+false+} ? this.#use(known) :',
    'each wrong key costs a read': 'keys.ts: this.#wakeAt(this.#begun_at + [-EARLY_MS-]{+0+});',
    'a key of a user may have the scope admin':
      'scopes.ts: (user_id === undefined || [-!NOT_FOR_USERS.includes(scope)-]{+true+}),',
    'a key was used when that is noted': 'keys.ts: [id, [-(now - at) / 1000-]{+0+}]',
    'each use is written': 'keys.ts: this.#note_at = now + [-NOTE_EVERY_MS-]{+0+};',
  }),
  ...killedBy(['keys'], {
    'a revoked key counts as live': 'keys.ts: where [-revoked_s is null-]{+true+} and expires_s is',
    'a revoked key counts as live until it expires':
      'keys.ts: where [-revoked_s is null-]{+true+} and expires_s >',
    'live keys are found by reading all of them':
      'keys.ts: where [-revoked_s is null-]{+coalesce(revoked_s, 0) = 0+} and expires_s is',
    'the key itself is stored': "key-text.ts: [-digest('sha256', text, 'base64url')-]{+text+};",
    'a creation that is tried again finds its own key taken':
      'keys.ts: sql`k.id = ${id} and k.hash [-=-]{+<>+} ${hash}`, 1);',
    'a second key takes the id of the first':
      'keys.ts: on conflict (id) do [-nothing-]{+update set hash = excluded.hash+}`,',
    'a second revocation moves the first': 'keys.ts: where id = ${id}[- and revoked_s is null-]`,',
    'the last use goes back':
      'keys.ts: used_s = [-greatest(api_key_uses.used_s, excluded.used_s)-]{+excluded.used_s+}`,',
    'a key of a user may be made with the scope admin':
      'keys.ts: if (wanted.user_id === undefined || [-!NOT_FOR_USERS.includes(one)-]{+true+}) continue;',
  }),
];
