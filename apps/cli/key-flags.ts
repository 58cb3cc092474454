/** What the flags of `bun run keys create` ask for, checked by the contract. */
import { Failure } from '../../db/failure.ts';
import { wantedKey } from '../contract/v1/keys.ts';

export interface Flags {
  scopes?: string | undefined;
  id?: string | undefined;
  principal?: string | undefined;
  name?: string | undefined;
  user?: string | undefined;
  'per-second'?: string | undefined;
  'in-flight'?: string | undefined;
  'expires-in'?: string | undefined;
  quiet?: boolean | undefined;
}

/** @throws Failure that names the flag */
export function wishOf(flags: Flags) {
  if (flags.scopes === undefined) {
    throw wrong('create needs --scopes, such as --scopes orders:write,stock:read');
  }
  const fields = {
    scopes: flags.scopes.split(',').map((scope) => scope.trim()),
    id: flags.id,
    principal: flags.principal,
    name: flags.name,
    user_id: flags.user,
    per_s: numberIn(flags['per-second']),
    in_flight: numberIn(flags['in-flight']),
    ttl_s: secondsIn(flags['expires-in']),
  };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const parsed = wantedKey.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const [field, i] = issue?.path ?? [];
  const message = issue?.message.replace('a user_id', '--user') ?? 'is wrong';
  if (field === 'ttl_s') throw wrong(WRONG_TIME);
  if (typeof i !== 'number') throw wrong(`${FLAG_OF[String(field)]} ${message}`);
  const scope = fields.scopes[i] || 'each';
  const sentence = message.startsWith(`${scope} `) ? message : `${scope} ${message}`;
  throw wrong(`${FLAG_OF.scopes}: ${sentence}`);
}

const FLAG_OF: Readonly<Record<string, string>> = {
  ...{
    scopes: '--scopes',
    id: '--id',
    principal: '--principal',
    name: '--name',
    user_id: '--user',
  },
  ...{ per_s: '--per-second', in_flight: '--in-flight' },
};

const numberIn = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
};

const WRONG_TIME = '--expires-in must be a time from 1s to 3650d, such as 90s, 15m, 12h or 30d';
const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 24 * 3600 };

function secondsIn(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits, unit = ''] = text.match(/^([0-9]{1,9})([smhd])$/) ?? [];
  return Number(digits) * (UNITS[unit] ?? Number.NaN);
}

const wrong = (sentence: string): Failure => new Failure('invalid_parameter', sentence);
