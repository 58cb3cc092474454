/** The calls under /payment: users, credit, and payments for orders. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { amount, balance, order_id, rowCount, startingValue, user_id, warning } from '../values.ts';

const credit = balance.describe('What the user can spend now.');
const wallet = { user_id, credit };
const payment = z.strictObject({ user_id, order_id, credit });
const cancel = {
  methods: ['POST'],
  description:
    'If the order was checked out, its units return to the stock and it is open again. An order with refunds cannot be cancelled.',
  answer: payment,
  writes: true,
} as const;
const status = {
  path: '/payment/status/{user_id}/{order_id}',
  summary: 'See whether an order is paid for, by a payment or a checkout',
  params: { user_id, order_id },
  answer: z.strictObject({
    paid: z.boolean().describe('True if the order is checked out, or has a payment of any amount.'),
  }),
} as const;

export const paymentPaths = callsOf('path_payment', {
  createUser: {
    methods: ['POST'],
    path: '/payment/create_user',
    summary: 'Create a user with no credit',
    params: {},
    answer: z.strictObject({ user_id }),
    refusals: [],
    writes: true,
  },

  findUser: {
    methods: ['GET'],
    path: '/payment/find_user/{user_id}',
    summary: 'Read the credit of a user',
    params: { user_id },
    answer: z.strictObject(wallet),
    refusals: ['user_not_found'],
    writes: false,
  },

  addFunds: {
    methods: ['POST'],
    path: '/payment/add_funds/{user_id}/{amount}',
    summary: 'Add to the credit of a user',
    params: { user_id, amount: amount('What to add.', 500) },
    answer: z.strictObject({ done: z.literal(true).describe('The credit was added.'), ...wallet }),
    refusals: ['user_not_found', 'limit_exceeded'],
    writes: true,
  },

  pay: {
    methods: ['POST'],
    path: '/payment/pay/{user_id}/{amount}',
    summary: 'Take from the credit of a user',
    params: { user_id, amount: amount('What to take.', 5) },
    answer: z.strictObject(wallet),
    refusals: ['user_not_found', 'insufficient_credit'],
    writes: true,
  },

  cancelPayment: {
    ...cancel,
    path: '/payment/cancel/{user_id}/{order_id}',
    summary: 'Give back what was paid for an order',
    params: { user_id, order_id },
    refusals: [
      'user_not_found',
      'order_not_found',
      'not_paid',
      'already_refunded',
      'limit_exceeded',
    ],
  },

  payOrder: {
    methods: ['POST'],
    path: '/payment/pay/{user_id}/{order_id}/{amount}',
    summary: 'Pay towards an order',
    description:
      'The checkout counts the payment towards the total. Until then the payment can be cancelled.',
    params: { user_id, order_id, amount: amount('What to pay.', 5) },
    answer: payment,
    refusals: ['user_not_found', 'order_not_found', 'insufficient_credit', 'already_paid'],
    writes: true,
  },

  cancelAmount: {
    ...cancel,
    path: '/payment/cancel/{user_id}/{order_id}/{amount}',
    summary: 'Give back what was paid for an order, if it is this amount',
    params: { user_id, order_id, amount: amount('What was paid.', 5) },
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
    description: 'With an Idempotency-Key it repeats the answer of the first call.',
    refusals: ['order_not_found', 'user_not_found'],
    writes: true,
  },

  initUsers: {
    methods: ['POST'],
    path: '/payment/batch_init/{n}/{starting_money}',
    summary: 'For load tests: create the users 0 … n-1, or set their credit',
    description: warning('users'),
    params: {
      n: rowCount('How many users.', 10),
      starting_money: startingValue('Their credit.', 1000),
    },
    answer: z.strictObject({ msg: z.string().describe('What was done, for people.') }),
    refusals: ['batch_init_disabled'],
    writes: true,
    scope: 'admin',
  },
});
