/** Every call of the API, in the order of the docs. */
import type { Call } from './call.ts';
import { healthCalls } from './health.ts';
import { orderPaths } from './paths/order.ts';
import { paymentPaths } from './paths/payment.ts';
import { stockPaths } from './paths/stock.ts';
import { bulkCalls } from './v1/bulk.ts';
import { eventCalls } from './v1/events.ts';
import { itemCalls } from './v1/items.ts';
import { keyCalls } from './v1/keys.ts';
import { orderCalls } from './v1/orders.ts';
import { refundCalls } from './v1/refunds.ts';
import { userCalls } from './v1/users.ts';
import { webhookCalls } from './v1/webhooks.ts';

export const CALLS: readonly Call[] = [
  userCalls,
  itemCalls,
  orderCalls,
  refundCalls,
  bulkCalls,
  eventCalls,
  webhookCalls,
  keyCalls,
  orderPaths,
  paymentPaths,
  stockPaths,
  healthCalls,
].flatMap((calls): Call[] => Object.values(calls));
