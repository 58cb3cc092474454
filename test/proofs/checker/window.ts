/** A sliding window over a history: the operations that may come next in a serial order. */

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
  private readonly by_start: readonly S[];
  private readonly by_end: readonly S[];
  /** The numbers of leading spans of `by_start` and `by_end` that are placed. */
  private starts = 0;
  private ends = 0;
  private readonly placed = new Set<S>();
  private readonly places = new Map<S, { start: number; end: number; hash: bigint }>();
  /**
   * A 64-bit Zobrist hash of the set of placed spans, and of what is mixed in. Among a million sets
   * the probability of a collision is below one in ten million.
   */
  fingerprint = 0n;

  constructor(spans: readonly S[]) {
    this.by_start = spans.toSorted((a, b) => a.from - b.from);
    this.by_end = spans.filter((span) => !span.optional).sort((a, b) => a.until - b.until);
    const ends = new Map(this.by_end.map((span, end) => [span, end]));
    for (const [start, span] of this.by_start.entries()) {
      this.places.set(span, { start, end: ends.get(span) ?? spans.length, hash: hashOf(start) });
    }
  }

  /** The unplaced span that ends first: spans that begin after its end must come after it. */
  due(): S | undefined {
    this.ends = this.skipPlaced(this.by_end, this.ends);
    return this.by_end[this.ends];
  }

  /** All spans that ended before this time are placed. */
  get reached(): number {
    return this.due()?.until ?? Number.POSITIVE_INFINITY;
  }

  /** The unplaced spans that began before the due one ended: any of them may be next. */
  candidates(): S[] {
    const { reached, by_start } = this;
    this.starts = this.skipPlaced(by_start, this.starts);
    const found: S[] = [];
    for (let i = this.starts; i < by_start.length; i++) {
      const span = by_start[i];
      if (!span || span.from > reached) break;
      if (!this.placed.has(span)) found.push(span);
    }
    return found;
  }

  private skipPlaced(spans: readonly S[], from: number): number {
    let i = from;
    for (let span = spans[i]; span && this.placed.has(span); span = spans[i]) i++;
    return i;
  }

  put(span: S): void {
    this.placed.add(span);
    this.order.push(span);
    this.fingerprint ^= this.placeOf(span).hash;
  }

  /** Removes the last span. */
  pop(): S {
    const span = this.order.pop();
    if (!span) throw new Error('nothing has a place');
    const { start, end, hash } = this.placeOf(span);
    this.placed.delete(span);
    this.starts = Math.min(this.starts, start);
    this.ends = Math.min(this.ends, end);
    this.fingerprint ^= hash;
    return span;
  }

  private placeOf(span: S) {
    const place = this.places.get(span);
    if (!place) throw new Error('not of this window');
    return place;
  }
}

/** A number to mix into a fingerprint; mixed in again, it is removed. */
export const hashOf = (value: unknown): bigint => BigInt(Bun.hash(String(value)));
