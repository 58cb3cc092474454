/** The example receivers of docs/ take what Kassa sends, each event once, and nothing else. */
import { afterAll, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { openClient } from '../../apps/client/client.ts';
import { newDatabase } from '../support/databases.ts';
import { need } from '../support/need.ts';
import { freePort, openStage, startDev, TOP, until } from '../support/process.ts';

const stage = openStage();
const own = await newDatabase();
const kassa = openClient(await startDev(stage, { DATABASE_URL: own.database_url }, ['--empty']));
afterAll(async () => {
  await stage.clear();
  await own.drop();
});

const RECEIVERS = [
  ['docs/receiver.ts', 'ts', process.execPath],
  ['docs/receiver.py', 'py', need('python3')],
] as const;

async function buy(): Promise<string> {
  const { id: user_id } = await kassa.users.create({ credit: 100 });
  const { id: item_id } = await kassa.items.create({ price: 12, stock: 9 });
  const lines = [{ item_id, quantity: 2 }];
  return (await kassa.orders.create({ user_id, lines, checkout: true })).id;
}

for (const [file, language, program] of RECEIVERS) {
  test(`${file} is short, and the page shows its lines`, async () => {
    const code = await readFile(join(TOP, file), 'utf8');
    const lines = code.trimEnd().split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
    const page = await readFile(join(TOP, 'docs/webhooks.md'), 'utf8');
    const shown = page.split(`\`\`\`${language}\n`)[1]?.split('```')[0] ?? '';
    expect(shown.length).toBeGreaterThan(100);
    expect(shown.split('\n').filter((line) => !code.includes(line.trim()))).toEqual([]);
  });

  test.skipIf(!program)(`${file} handles an event once, and refuses forged ones`, async () => {
    const [webhook_id, port] = [`receiver-${language}`, await freePort()];
    const url = `http://127.0.0.1:${port}/hooks`;
    await kassa.webhooks.put({ webhook_id, url });
    const { secret } = await kassa.webhooks.secret({ webhook_id });
    const receiver = stage.start([file, `${port}`], { WEBHOOK_SECRET: secret }, program);
    await until(() => receiver.out.includes('\n'), `the start of ${file}`);
    const order_id = await buy();
    const says = `order ${order_id} is paid: 24\n`;
    await until(() => receiver.out.includes(says), 'the order');

    const { data } = await kassa.events.list({ order_id, type: 'order.paid', wait_s: 10 });
    const body = JSON.stringify(data[0]);
    const post = async (id: string, signature: string, sent_at = new Date()) => {
      const headers = {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(sent_at.getTime() / 1000)),
        'webhook-signature': signature,
      };
      return (await fetch(url, { method: 'POST', body, headers })).status;
    };
    const id = data[0]?.id ?? '';
    const sign = (by: string, of = id, sent_at = new Date()) =>
      new Webhook(by).sign(of, sent_at, body);
    const forged = sign(`whsec_${btoa('another')}`);
    const old = new Date(Date.now() - 3_600_000);
    expect(await post(id, `${forged} ${sign(secret)}`)).toBe(204); // again, while two secrets sign
    expect(await post(id, forged)).toBe(401);
    expect(await post('another', sign(secret))).toBe(401);
    expect(await post(id, sign(secret, id, old), old)).toBe(401);
    expect(await post(id, '')).toBe(401);

    const last = `order ${await buy()} is paid: 24\n`;
    await until(() => receiver.out.includes(last), 'the next order');
    expect(receiver.out).toBe(`a receiver on http://127.0.0.1:${port}\n${says}${last}`);
    await kassa.webhooks.remove({ webhook_id });
  });
}
