/** The calls that every process answers: its health. */
import { z } from 'zod';
import { callsOf } from './call.ts';

export const healthCalls = callsOf('health', {
  live: {
    methods: ['GET'],
    path: '/health/live',
    summary: 'The process runs',
    params: {},
    answer: z.strictObject({ status: z.literal('live') }),
    refusals: [],
    writes: false,
  },

  ready: {
    methods: ['GET'],
    path: '/health/ready',
    summary: 'The store answers and takes writes, and calls are served',
    params: {},
    answer: z.strictObject({ status: z.literal('ready') }),
    refusals: [],
    writes: false,
  },
});
