/** The client walks through all pages of a list, typed as the contract says. */
import { expect, test } from 'bun:test';
import { openClient } from '../../apps/client/client.ts';

test('every entry of a list comes, page by page, and has its fields', async () => {
  const asked: string[] = [];
  const pages = [
    { data: [{ id: 'a', total_cost: 1 }], has_more: true, next: 'cursor' },
    { data: [{ id: 'b', total_cost: 2 }], has_more: false },
  ];
  const kassa = openClient('http://kassa', {
    fetch: async (url) => {
      asked.push(url);
      return Response.json(pages[asked.length - 1]);
    },
  });
  let sum = 0;
  for await (const order of kassa.orders.listAll({ user_id: 'u' })) sum += order.total_cost;
  expect([sum, asked]).toEqual([
    3,
    ['http://kassa/v1/orders?user_id=u', 'http://kassa/v1/orders?user_id=u&after=cursor'],
  ]);
});
