/** Every call of the API, in the order of the docs. */
import type { Call } from './call.ts';
import { healthCalls } from './health.ts';
import { orderCalls } from './order.ts';
import { paymentCalls } from './payment.ts';
import { stockCalls } from './stock.ts';
import { itemCalls } from './v1/items.ts';
import { basketCalls } from './v1/orders.ts';
import { userCalls } from './v1/users.ts';

export const CALLS: readonly Call[] = [
  userCalls,
  itemCalls,
  basketCalls,
  orderCalls,
  paymentCalls,
  stockCalls,
  healthCalls,
].flatMap((calls): Call[] => Object.values(calls));
