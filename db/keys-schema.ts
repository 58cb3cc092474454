/** The tables of API keys. Single statements write them, without the engine. */
import { bigint, index, pgTable, text } from 'drizzle-orm/pg-core';

const int8 = () => bigint({ mode: 'number' });

/**
 * Keys of callers. `hash` is the SHA-256 of the key's text in base64url: the text itself is stored
 * nowhere. `principal` names the caller: keys that replace each other have the same. `scopes` is a
 * list with commas. `user_id` keeps the key to the wallet and the orders of one user, null for no
 * such bound. `per_s` and `in_flight` limit its calls in each process, null for no limit. Rows stay,
 * so that an id in records always means the same key; the index finds the live ones among them.
 * Times are in seconds since 1970.
 */
export const api_keys = pgTable(
  'api_keys',
  {
    id: text().primaryKey(),
    name: text(),
    principal: text().notNull(),
    hash: text().notNull(),
    scopes: text().notNull(),
    user_id: text(),
    per_s: int8(),
    in_flight: int8(),
    created_s: int8().notNull(),
    expires_s: int8(),
    revoked_s: int8(),
  },
  (t) => [index('api_keys_live').on(t.revoked_s, t.expires_s)],
);

/**
 * When a key was last used, to a minute or so. A table of its own, because every service writes it:
 * no role but that of webhooks may change a key.
 */
export const api_key_uses = pgTable('api_key_uses', {
  key_id: text().primaryKey(),
  used_s: int8().notNull(),
});
