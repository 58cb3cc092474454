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

export function outOfStock(short: Short[]): Decision {
  const sorted = short.sort((a, b) => (a.item_id < b.item_id ? -1 : 1));
  const names = sorted.map(({ item_id, held }) => namedWithHeld(item_id, held));
  const items = sorted.map(({ item_id, wanted, available }) => ({ item_id, wanted, available }));
  return refuse('out_of_stock', `not enough of ${names.join(', ')}`, { items });
}
