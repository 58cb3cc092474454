/** Ids of new rows. */

/** How long the ids of a process sort next to each other. */
const PLACE_MS = 60_000;

/**
 * Makes UUIDs of version 8 (RFC 9562): 32 bits of a place, the milliseconds since the place was
 * chosen, and 74 random bits. Rows that are made one after the other thus go into the same pages of
 * an index, or the same range of CockroachDB; random ids would touch one for each row. A new place
 * every minute spreads them over all ranges, which ids that only ascend would not.
 * @param now milliseconds; it may step back
 */
export function idsAt(now: () => number): () => string {
  let place = '';
  let chosen_at = 0;
  return () => {
    const random = crypto.randomUUID();
    let age_ms = now() - chosen_at;
    if (place === '' || age_ms < 0 || age_ms >= PLACE_MS) {
      place = random.slice(0, 8);
      chosen_at += age_ms;
      age_ms = 0;
    }
    const ms = Math.floor(age_ms).toString(16).padStart(4, '0');
    return `${place}-${ms}-8${random.slice(15)}`;
  };
}

export const newId = idsAt(Date.now);
