/** The metrics of all processes: scraped once a second, and what grew in the last few seconds. */
import type { Frame } from './frame.ts';
import { growth, type Sample, samplesIn } from './samples.ts';

/** A process whose metrics can be read. */
export interface Source {
  name: string;
  scrape(): Promise<string>;
}

/** Rates are those of so many seconds, and older figures count no more. */
const WINDOW_MS = 5500;
/** A process that has not answered for so long is down. */
const DOWN_MS = 3500;

/** What the processes that answer have measured. */
export interface Measured {
  /** The growth of counters in a second. */
  grown: Sample[];
  /** The same over the window. */
  counted: Sample[];
  /** 0 if nothing is known yet, or no process answers. */
  window_s: number;
  /** The latest values. */
  latest: Sample[];
}

interface Known {
  service: string;
  version: string;
  scrapes: { at: number; samples: Sample[] }[];
  under_way: boolean;
}

export class Processes {
  readonly #sources: () => Promise<readonly Source[]>;
  readonly #known = new Map<string, Known>();

  constructor(sources: () => Promise<readonly Source[]>) {
    this.#sources = sources;
  }

  /** Begins a scrape of each process that has answered the last one, and does not wait for it. */
  async scrape(): Promise<void> {
    const sources = await this.#sources();
    const names = new Set(sources.map(({ name }) => name));
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
    for (const source of sources) {
      const known = this.#known.get(source.name) ?? {
        ...{ service: source.name, version: '', scrapes: [], under_way: false },
      };
      this.#known.set(source.name, known);
      if (!known.under_way) void this.#scrapeOne(source, known);
    }
  }

  async #scrapeOne(source: Source, known: Known): Promise<void> {
    known.under_way = true;
    try {
      const samples = samplesIn(await source.scrape());
      const at = performance.now();
      known.scrapes = [...this.#recent(known), { at, samples }];
      const labels = samples.find(({ name }) => name === 'kassa_build_info')?.labels;
      known.service = labels?.service ?? source.name;
      known.version = labels?.version ?? '';
    } catch {
      // It is told by its age.
    } finally {
      known.under_way = false;
    }
  }

  #recent = ({ scrapes }: Known) => scrapes.filter(({ at }) => at >= performance.now() - WINDOW_MS);

  list(): Frame['processes'] {
    return [...this.#known.values()]
      .map(({ service, version, scrapes }) => {
        const last = scrapes.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
        return { service, version, up: performance.now() - last < DOWN_MS };
      })
      .toSorted((a, b) => (a.service < b.service ? -1 : 1));
  }

  /** Of those that answer. */
  figures(): Measured {
    const all = [...this.#known.values()].map(this.#recent);
    const pairs = all.flatMap((scrapes) => {
      const [first, last] = [scrapes[0], scrapes.at(-1)];
      if (!first || !last || first === last) return [];
      return [{ grown: growth(first.samples, last.samples), seconds: (last.at - first.at) / 1000 }];
    });
    return {
      grown: pairs.flatMap(({ grown, seconds }) =>
        grown.map((sample) => ({ ...sample, value: sample.value / seconds })),
      ),
      counted: pairs.flatMap(({ grown }) => grown),
      window_s: Math.max(0, ...pairs.map(({ seconds }) => seconds)),
      latest: all.flatMap((scrapes) => scrapes.at(-1)?.samples ?? []),
    };
  }
}
