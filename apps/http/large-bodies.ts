/** Bounds the memory of large bodies: those of calls that take more than the usual size. */
import { Failure } from '../../db/failure.ts';

/** Of all connections of a process together. */
export const LARGE_BODIES_MAX_BYTES = 16 * 1024 * 1024;

let taken = 0;

/** @throws Failure overloaded if other large bodies leave no room for one of this size */
export function takeRoom(bytes: number): void {
  if (taken + bytes > LARGE_BODIES_MAX_BYTES) {
    throw new Failure('overloaded', 'too many large bodies are under way; nothing was tried');
  }
  taken += bytes;
}

export function giveRoom(bytes: number): void {
  taken -= bytes;
}
