/** Amounts of rows, checked before anything is written: an assertion beside the CHECKs of the store. */
import type { Changes } from '../command.ts';
import { assert } from '../failure.ts';

/** @throws Failure internal if one is not a safe integer of at least 0 */
export function assertAmounts({ orders, users, items }: Changes): void {
  for (const { id, total_cost, payment, refunded } of orders ?? []) {
    assertAmount(id, total_cost);
    if (payment !== null) assertAmount(id, payment);
    if (refunded !== null) assertAmount(id, refunded);
  }
  for (const { id, credit } of users ?? []) assertAmount(id, credit);
  for (const { id, price, stock } of items ?? []) {
    assertAmount(id, price);
    assertAmount(id, stock);
  }
}

function assertAmount(id: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  assert(false, `${id}: ${value} is an amount`);
}
