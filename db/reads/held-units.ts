/** How many units are held, of all items together. */
import type { ReadPool } from '../connection/pool.ts';

export interface HeldUnits {
  /** Held now. */
  units: number;
  /** Items that have such units. */
  items: number;
  /** Held units whose hold ends within a minute. */
  expiring_units: number;
}

/** Reads all items that have holds, in one statement that may take long. */
export async function heldUnits(pool: ReadPool, deadline_at: number): Promise<HeldUnits> {
  const rows = await pool.read(
    (sql) =>
      sql`select holds, extract(epoch from now())::int8 as now_s from items where holds is not null`,
    { deadline_at, takes_long: true },
  );
  let [units, items, expiring_units] = [0, 0, 0];
  for (const { holds, now_s } of rows as unknown as { holds: string; now_s: number }[]) {
    const live = (JSON.parse(holds) as [number, number][]).filter(([until_s]) => until_s > now_s);
    if (live.length > 0) items++;
    for (const [until_s, quantity] of live) {
      units += quantity;
      if (until_s <= now_s + EXPIRING_S) expiring_units += quantity;
    }
  }
  return { units, items, expiring_units };
}

const EXPIRING_S = 60;
