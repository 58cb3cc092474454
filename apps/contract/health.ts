/** The calls that every process answers: its health. */
import { z } from 'zod';
import { callsOf } from './call.ts';

export const healthCalls = callsOf('health', {
  live: {
    methods: ['GET'],
    path: '/health/live',
    summary: 'See whether the process runs',
    params: {},
    answer: z.strictObject({ status: z.literal('live').describe('The process runs.') }),
    refusals: [],
    writes: false,
  },

  ready: {
    methods: ['GET'],
    path: '/health/ready',
    summary: 'See whether calls are served: the store answers and takes writes',
    params: {},
    answer: z.strictObject({ status: z.literal('ready').describe('Calls are served.') }),
    refusals: [],
    writes: false,
  },
});
