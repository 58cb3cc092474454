/** An answer with an ETag, or 304 if the client has it already (RFC 9110, 13.1.2). */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import type { Env } from './exchange.ts';

export const answerTagged = (c: Context<Env>, body: Record<string, unknown>): Response =>
  answerText(c, JSON.stringify(body), 'application/json');

/** The tag is weak, because gateways that compress answers change their bytes. */
export function answerText(c: Context<Env>, text: string, type: string): Response {
  const tag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  c.header('etag', `W/${tag}`);
  if (names(c.req.header('if-none-match'), tag)) return c.body(null, 304);
  return c.body(text, 200, { 'content-type': type });
}

/** Weak comparison: `W/` does not count. A malformed list is ignored. */
function names(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return LIST.test(header) && header.match(/"[^"]*"/g)?.some((one) => one === tag) === true;
}

/** A tag may contain commas, but no quotes. */
const LIST = /^(?:[ \t]*(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"[ \t]*(?:,|$))+$/;
