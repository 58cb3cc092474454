/** The output of the proofs: a live line while they run, a table, a verdict, and an exit code. */
import type { ParseArgsOptionsConfig } from 'node:util';
import * as commandLine from '../../apps/runtime/arguments.ts';
import { exitWith } from '../../apps/runtime/exit.ts';
import { Failure } from '../../db/failure.ts';

export type Live = ReturnType<typeof live>;

/** A status line: rewritten in a terminal, printed every few seconds elsewhere. */
export function live() {
  const out = process.stderr;
  const every_ms = out.isTTY ? 100 : 5000;
  let last = Number.NEGATIVE_INFINITY;
  let text = '';
  const print = () => void out.write(out.isTTY ? `\r\x1b[2K${text}` : `${text}\n`);
  return {
    show(next: string): void {
      text = next;
      if (performance.now() - last < every_ms) return;
      last = performance.now();
      print();
    },
    /** Prints the last text for good. */
    end(): void {
      print();
      if (out.isTTY) out.write('\n');
    },
  };
}

/** Rows as text columns: the first left-aligned, the others right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const aligned = ([first = '', ...others]: string[]) => [
    first.padEnd(widths[0] ?? 0),
    ...others.map((cell, i) => cell.padStart(widths[i + 1] ?? 0)),
  ];
  return cells.map((row) => aligned(row).join('  ').trimEnd()).join('\n');
}

/** Prints the verdict and exits: with 0 without violations, else with 1. */
export function verdict(violations: number, holds: string): never {
  console.log(`\n${violations === 0 ? holds : `${violations} violations.`}`);
  process.exit(violations === 0 ? 0 : 1);
}

/**
 * Known flags only. `--help` prints the text and exits 0; a wrong flag exits 2 with one sentence.
 */
export const flags = <const T extends ParseArgsOptionsConfig>(help: string, options: T) =>
  orExit(() => commandLine.readArguments(help, options));

/** A number flag within bounds, or one sentence and exit code 2. */
export const numberFlag = (name: string, text: string, low: number, high: number): number =>
  orExit(() => commandLine.numberFlag(name, text, low, high));

/** The same for whole numbers. */
export const wholeFlag = (name: string, text: string, low: number, high: number): number =>
  orExit(() => commandLine.wholeFlag(name, text, low, high));

function orExit<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    return exitWith(error);
  }
}

/** Prints one sentence and exits with 2: the command could not begin. */
export function usage(sentence: string): never {
  return exitWith(new Failure('invalid_parameter', sentence));
}

/** The error as one sentence. */
export const sentenceFor = (error: unknown): string =>
  error instanceof Failure ? error.detail : String(error);

/** A deterministic generator of numbers in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
