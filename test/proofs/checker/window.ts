/** A sliding window over a history: the operations that may come next in a serial order. */
import { seeded } from '../../support/report.ts';

export interface Span {
  /** All spans that ended before this time come first. */
  from: number;
  /** All spans that began after this time come later. */
  until: number;
  /** It may be missing from the order. */
  optional: boolean;
}

/** A set of spans and an order of some of them, used as a stack: `put` appends, `pop` removes. */
export class Window<S extends Span> {
  readonly order: S[] = [];
  private readonly spans: readonly S[];
  private readonly by_end: readonly S[];
  /** The number of leading spans of `by_end` that are placed. */
  private position = 0;
  private readonly places = new Map<S, { start: number; end: number; hash: [number, number] }>();
  private readonly placed = new Set<S>();
  /** The unplaced spans by their start: a doubly linked list, since spans leave and return. */
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

  /** The unplaced span that ends first: spans that begin after its end must come after it. */
  due(): S | undefined {
    for (; ; this.position++) {
      const span = this.by_end[this.position];
      if (!span || !this.placed.has(span)) return span;
    }
  }

  /** All spans that ended before this time are placed. */
  get reached(): number {
    return this.due()?.until ?? Number.POSITIVE_INFINITY;
  }

  /** The unplaced spans that began before the due one ended: any of them may be next. */
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

  /** Removes the last span. In reverse order of `put`, its neighbours are in the list again. */
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
   * A 64-bit Zobrist hash of the set of placed spans. Among a million sets the probability of a
   * collision is below one in ten million.
   */
  fingerprint(): string {
    const [a, b] = this.hash;
    return String.fromCharCode(a & 0xffff, a >>> 16, b & 0xffff, b >>> 16);
  }

  /** Adds something else to the fingerprint; a second call with the same value removes it. */
  mix([a, b]: [number, number]): void {
    this.hash = [this.hash[0] ^ a, this.hash[1] ^ b];
  }

  private placeOf(span: S) {
    const place = this.places.get(span);
    if (!place) throw new Error('not of this window');
    return place;
  }
}
