/** Lists: the parameters of a query, and the page that answers it. */
import { z } from 'zod';
import { whole } from './values.ts';

const LIMIT_MAX = 1000;
const CURSOR = 'must be the `next` of a page of this list';

/** The parameters of every list. */
export const page = {
  limit: whole(1, LIMIT_MAX).default(100).describe('The maximum number of entries on a page.'),
  after: z
    .string()
    .regex(/^[\w-]{1,400}$/, CURSOR)
    .optional()
    .describe('The `next` of the previous page. Leave it out for the first page.'),
};

/** For a cursor of the right form that this list has not given. */
export const wrongCursor = { path: 'after', message: CURSOR };

export const pageOf = <T extends z.ZodType>(entry: T) =>
  z.strictObject({
    data: z.array(entry).describe('The entries on this page.'),
    has_more: z.boolean().describe('Whether there is another page.'),
    next: z
      .string()
      .optional()
      .describe('Send it as `after` to get the next page. Missing on the last page.'),
  });
