/** The calls under /v1/users: wallets. */
import { z } from 'zod';
import { callsOf } from '../call.ts';
import { page, pageOf } from '../pages.ts';
import { amountOf, balance, id, metadata, reason } from '../values.ts';
import { ADDS_UP, movement } from './movement.ts';

const user = z.strictObject({ id, credit: balance, metadata: metadata.optional() });
const change = {
  methods: ['POST'],
  params: { user_id: id },
  body: z.strictObject({ amount: amountOf(1), reason: reason.optional() }),
  answer: user,
  writes: true,
} as const;

export const userCalls = callsOf('users', {
  create: {
    methods: ['POST'],
    path: '/v1/users',
    summary: 'Create a user',
    params: {},
    body: z.strictObject({
      id: id.optional().describe('Made if it is not given.'),
      credit: amountOf(0).optional().describe('0 if it is not given.'),
      metadata: metadata.optional(),
    }),
    status: 201,
    answer: user,
    refusals: ['already_exists'],
    writes: true,
  },

  get: {
    methods: ['GET'],
    path: '/v1/users/{user_id}',
    summary: 'Read a user',
    params: { user_id: id },
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
    summary: 'Read every change of the credit of a user, the newest first',
    description: `Checkouts are among them. ${ADDS_UP}`,
    params: { user_id: id },
    query: z.strictObject(page),
    answer: pageOf(movement),
    refusals: ['user_not_found'],
    writes: false,
  },

  deposit: {
    ...change,
    path: '/v1/users/{user_id}/deposits',
    summary: 'Add to the credit of a user',
    refusals: ['user_not_found', 'limit_exceeded'],
  },

  withdraw: {
    ...change,
    path: '/v1/users/{user_id}/withdrawals',
    summary: 'Take from the credit of a user',
    refusals: ['user_not_found', 'insufficient_credit'],
  },
});
