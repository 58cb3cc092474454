/** Which operations of a history may come next in a serial order: the window that slides over it. */
import { seeded } from '../../support/report.ts';

export interface Span {
  /** Whatever ended before this moment comes first. */
  from: number;
  /** Whatever began after this moment comes later. */
  until: number;
  /** It need not come at all. */
  optional: boolean;
}

/** A set of spans with their places in an order, which grows at its end and shrinks there again. */
export class Window<S extends Span> {
  readonly order: S[] = [];
  private readonly spans: readonly S[];
  private readonly by_end: readonly S[];
  /** How many of by_end have their place, up to the first that has not. */
  private position = 0;
  private readonly places = new Map<S, { start: number; end: number; hash: [number, number] }>();
  private readonly placed = new Set<S>();
  /** Without a place, by their beginning: a linked list, since spans leave it and come back. */
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private hash: [number, number] = [0, 0];

  constructor(spans: readonly S[]) {
    this.spans = spans.toSorted((a, b) => a.from - b.from);
    this.by_end = spans.filter((span) => !span.optional).sort((a, b) => a.until - b.until);
    const n = spans.length;
    this.next = Int32Array.from({ length: n + 1 }, (_, i) => (i + 1) % (n + 1));
    this.previous = Int32Array.from({ length: n + 1 }, (_, i) => (i + n) % (n + 1));
    const random = seeded(n);
    for (const [start, span] of this.spans.entries()) {
      this.places.set(span, { start, end: n, hash: [random() * 2 ** 32, random() * 2 ** 32] });
    }
    for (const [end, span] of this.by_end.entries()) Object.assign(this.placeOf(span), { end });
  }

  has = (span: S): boolean => this.places.has(span);

  /** The one without a place that ends first: whatever begins after its end must wait for it. */
  due(): S | undefined {
    for (; ; this.position++) {
      const span = this.by_end[this.position];
      if (!span || !this.placed.has(span)) return span;
    }
  }

  /** How far the order has come: everything that ended before this moment has its place. */
  get reached(): number {
    return this.due()?.until ?? Number.POSITIVE_INFINITY;
  }

  /** Those which began before the one that is due ended: any of them may be next. */
  candidates(): S[] {
    const found: S[] = [];
    const [limit, end] = [this.reached, this.spans.length];
    for (let i = this.next[end] ?? end; i !== end; i = this.next[i] ?? end) {
      const span = this.spans[i];
      if (!span || span.from > limit) break;
      found.push(span);
    }
    return found;
  }

  put(span: S): void {
    const { start, hash } = this.placeOf(span);
    const [before, after] = [this.previous[start] ?? 0, this.next[start] ?? 0];
    this.next[before] = after;
    this.previous[after] = before;
    this.placed.add(span);
    this.order.push(span);
    this.mix(hash);
  }

  /** Takes the last one back: in reverse, so that its neighbours are in the list again. */
  pop(): void {
    const span = this.order.pop();
    if (!span) throw new Error('nothing has a place');
    const { start, end, hash } = this.placeOf(span);
    this.next[this.previous[start] ?? 0] = start;
    this.previous[this.next[start] ?? 0] = start;
    this.placed.delete(span);
    this.position = Math.min(this.position, end);
    this.mix(hash);
  }

  /**
   * The set of those that have a place, as Zobrist's hash of 64 bits: among a million sets, the
   * chance that two are taken for one is below one in ten million.
   */
  fingerprint(): string {
    const [a, b] = this.hash;
    return String.fromCharCode(a & 0xffff, a >>> 16, b & 0xffff, b >>> 16);
  }

  /** Mixes in what else tells two orders apart, or takes it out again. */
  mix([a, b]: [number, number]): void {
    this.hash = [this.hash[0] ^ a, this.hash[1] ^ b];
  }

  private placeOf(span: S) {
    const place = this.places.get(span);
    if (!place) throw new Error('not of this window');
    return place;
  }
}
