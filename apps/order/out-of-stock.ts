/** The refusal of an order for which there is too little stock. */
import { type Decision, refuse } from '../../db/command.ts';
import { namedWithHeld } from '../../db/holds.ts';

export interface Short {
  item_id: string;
  wanted: number;
  available: number;
  /** What other orders hold of it. */
  held: number;
}

/** @param tells_held the detail says how much others hold, as under /v1 */
export function outOfStock(short: Short[], tells_held: boolean): Decision {
  const sorted = short.sort((a, b) => (a.item_id < b.item_id ? -1 : 1));
  const names = sorted.map(({ item_id, held }) => namedWithHeld(item_id, tells_held ? held : 0));
  const items = sorted.map(({ item_id, wanted, available }) => ({ item_id, wanted, available }));
  return refuse('out_of_stock', `not enough of ${names.join(', ')}`, { items });
}
