/** The calls under /v1/users: wallets. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { amountOf, balance, metadata, newId, reason, user_id } from '../values.ts';
import { ADDS_UP, movement } from './movement.ts';

const wallet = { id: user_id, credit: balance.describe('What the user can spend.') };
/** What changes of the credit answer: they do not read the metadata. */
const changed = z.strictObject(wallet);
const user = z.strictObject({ ...wallet, metadata: metadata.optional() });
const change = {
  methods: ['POST'],
  params: { user_id },
  answer: changed,
  writes: true,
} as const;
const changeOf = (amount: string) =>
  z.strictObject({
    amount: amountOf(1).describe(amount),
    reason: reason.optional().describe('Why, in your words. The statement shows it.'),
  });

export const userCalls = callsOf('users', {
  create: {
    methods: ['POST'],
    path: '/v1/users',
    summary: 'Create a user',
    params: {},
    body: z.strictObject({
      id: newId,
      credit: amountOf(0).optional().meta({ description: 'The initial credit.', default: 0 }),
      metadata: metadata.optional(),
    }),
    examples: [
      { summary: 'A user with credit', body: { credit: 1000, metadata: { name: 'Ada' } } },
    ],
    status: 201,
    answer: user,
    refusals: ['already_exists'],
    writes: true,
  },

  get: {
    methods: ['GET'],
    path: '/v1/users/{user_id}',
    summary: 'Read a user',
    params: { user_id },
    answer: user,
    tagged: true,
    refusals: ['user_not_found'],
    writes: false,
  },

  list: {
    methods: ['GET'],
    path: '/v1/users',
    summary: 'List users by id',
    params: {},
    query: z.strictObject(page),
    answer: pageOf(user),
    refusals: [],
    writes: false,
  },

  movements: {
    methods: ['GET'],
    path: '/v1/users/{user_id}/movements',
    summary: "Read a user's statement: every change to the credit, newest first",
    description: `Checkouts are included. ${ADDS_UP}`,
    params: { user_id },
    query: z.strictObject(page),
    answer: pageOf(movement),
    refusals: ['user_not_found'],
    writes: false,
  },

  deposit: {
    ...change,
    path: '/v1/users/{user_id}/deposits',
    summary: "Add to a user's credit",
    body: changeOf('What to add.'),
    examples: [{ summary: 'A deposit', body: { amount: 500, reason: 'gift card' } }],
    refusals: ['user_not_found', 'limit_exceeded'],
  },

  withdraw: {
    ...change,
    path: '/v1/users/{user_id}/withdrawals',
    summary: "Take from a user's credit",
    body: changeOf('What to take.'),
    examples: [{ summary: 'A withdrawal', body: { amount: 100 } }],
    refusals: ['user_not_found', 'insufficient_credit'],
  },
});
