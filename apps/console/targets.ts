/** The processes whose metrics the console reads: every address of each target's name. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Source } from './processes.ts';

const SCRAPE_MS = 2000;

/** @param targets such as `order:9000,payment:9000` */
export function sourcesOf(targets: string): () => Promise<Source[]> {
  const named = targets.split(',').map((target) => {
    const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(target) ?? [];
    return { host, port };
  });
  return async () => {
    const found = await Promise.all(
      named.map(async ({ host, port }) => {
        const addresses = await addressesOf(host);
        return addresses.length > 0
          ? addresses.map((address) => sourceAt(address, port))
          : [{ name: host, scrape: () => Promise.reject(new Error('the name has no address')) }];
      }),
    );
    // A name may be given twice, and two names may lead to one process.
    return [...new Map(found.flat().map((source) => [source.name, source])).values()];
  };
}

/** None for a name that nothing has now: it is shown as down. */
const addressesOf = async (host: string): Promise<string[]> =>
  isIP(host)
    ? [host]
    : (await lookup(host, { all: true }).catch(() => [])).map(({ address }) => address);

function sourceAt(address: string, port: string): Source {
  const name = `${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
  return {
    name,
    async scrape() {
      const signal = AbortSignal.timeout(SCRAPE_MS);
      const answer = await fetch(`http://${name}/metrics`, { signal, redirect: 'error' });
      if (!answer.ok) throw new Error(`${name} answered ${answer.status}`);
      return await answer.text();
    },
  };
}
