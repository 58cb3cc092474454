/** Bounds the memory of the bodies that exceed the usual limit, all of them together. */
import { Failure } from '../../db/failure.ts';

/** For all connections of a process together. */
export const LARGE_BODIES_MAX_BYTES = 16 * 1024 * 1024;

let taken = 0;

/** @throws Failure overloaded if other large bodies leave no room for one of this size */
export function reserveRoom(bytes: number): void {
  if (taken + bytes > LARGE_BODIES_MAX_BYTES) {
    throw new Failure('overloaded', 'too many large bodies are being received; nothing was tried');
  }
  taken += bytes;
}

export function freeRoom(bytes: number): void {
  taken -= bytes;
}
