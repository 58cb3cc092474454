/** The calls under /payment: users, credit, and payments for orders. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { amount, balance, id, rowCount, startingValue } from '../values.ts';

const credit = { user_id: id, credit: balance };
const payment = z.strictObject({ user_id: id, order_id: id, credit: balance });
const cancel = {
  methods: ['POST'],
  description:
    'After a checkout the stock returns too, and the order is open again. An order with refunds is not cancelled.',
  answer: payment,
  writes: true,
} as const;
const status = {
  path: '/payment/status/{user_id}/{order_id}',
  summary: 'Whether a payment or a checkout of the order stands',
  params: { user_id: id, order_id: id },
  answer: z.strictObject({ paid: z.boolean() }),
} as const;

export const paymentPaths = callsOf('path_payment', {
  createUser: {
    methods: ['POST'],
    path: '/payment/create_user',
    summary: 'Create a user with no credit',
    params: {},
    answer: z.strictObject({ user_id: id }),
    refusals: [],
    writes: true,
  },

  findUser: {
    methods: ['GET'],
    path: '/payment/find_user/{user_id}',
    summary: 'Read the credit of a user',
    params: { user_id: id },
    answer: z.strictObject(credit),
    refusals: ['user_not_found'],
    writes: false,
  },

  addFunds: {
    methods: ['POST'],
    path: '/payment/add_funds/{user_id}/{amount}',
    summary: 'Add to the credit of a user',
    params: { user_id: id, amount },
    answer: z.strictObject({ done: z.literal(true), ...credit }),
    refusals: ['user_not_found', 'limit_exceeded'],
    writes: true,
  },

  pay: {
    methods: ['POST'],
    path: '/payment/pay/{user_id}/{amount}',
    summary: 'Take from the credit of a user',
    params: { user_id: id, amount },
    answer: z.strictObject(credit),
    refusals: ['user_not_found', 'insufficient_credit'],
    writes: true,
  },

  payOrder: {
    methods: ['POST'],
    path: '/payment/pay/{user_id}/{order_id}/{amount}',
    summary: 'Pay towards an order',
    description: 'The payment stands until it is cancelled, or until the checkout counts it.',
    params: { user_id: id, order_id: id, amount },
    answer: payment,
    refusals: ['user_not_found', 'order_not_found', 'insufficient_credit', 'already_paid'],
    writes: true,
  },

  cancelPayment: {
    ...cancel,
    path: '/payment/cancel/{user_id}/{order_id}',
    summary: 'Give back what was paid for an order',
    params: { user_id: id, order_id: id },
    refusals: [
      'user_not_found',
      'order_not_found',
      'not_paid',
      'already_refunded',
      'limit_exceeded',
    ],
  },

  cancelAmount: {
    ...cancel,
    path: '/payment/cancel/{user_id}/{order_id}/{amount}',
    summary: 'Give back what was paid for an order, if it is this amount',
    params: { user_id: id, order_id: id, amount },
    refusals: [
      'user_not_found',
      'order_not_found',
      'not_paid',
      'already_refunded',
      'amount_mismatch',
      'limit_exceeded',
    ],
  },

  status: {
    ...status,
    methods: ['GET'],
    refusals: ['order_not_found'],
    writes: false,
  },

  recordedStatus: {
    ...status,
    methods: ['POST'],
    description: 'With an idempotency key the status of the first call is repeated.',
    refusals: ['order_not_found', 'user_not_found'],
    writes: true,
  },

  initUsers: {
    methods: ['POST'],
    path: '/payment/batch_init/{n}/{starting_money}',
    summary: 'For load tests: create the users 0 … n-1, or set their credit',
    params: { n: rowCount, starting_money: startingValue },
    answer: z.strictObject({ msg: z.string() }),
    refusals: ['batch_init_disabled'],
    writes: true,
  },
});
