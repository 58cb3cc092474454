/** The part of a socket of `Bun.listen` that is used. */
import type { Peer } from './exchange.ts';

export interface Socket extends Peer {
  /** @returns how many bytes were taken; the rest can be sent after `drain` */
  write(data: string | Uint8Array): number;
  /** Sends no more, but still receives. */
  shutdown(): void;
  /** Closes after what was written. */
  end(): void;
  /** Closes at once. */
  terminate(): void;
  pause(): void;
  resume(): void;
}
