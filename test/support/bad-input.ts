/** What a body can have wrong, derived from its schema: every field, in every way. */
import type { Json } from '../../apps/contract/components.ts';

/** The JSON text that stands at a path of a valid body, and the field that an answer has to name. */
export interface Wrong {
  what: string;
  at: Path;
  text: string;
  names: Path;
  /** Other than `invalid_body`. */
  code?: 'malformed_body';
}
export type Path = readonly (string | number)[];

export interface Schema {
  type?: string;
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
  maxProperties?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | false;
  examples?: unknown[];
}

/** A value that fits, with every optional field. */
export function fittingValue({
  type,
  enum: named,
  minimum = 0,
  properties,
  items,
  examples,
  ...more
}: Schema): unknown {
  if (examples) return examples[0];
  if (named) return named[0];
  if (type === 'integer') return Math.max(1, minimum);
  if (type === 'boolean') return false;
  if (type === 'string') return 'a';
  if (items) return [fittingValue(items)];
  if (more.additionalProperties) return { a: fittingValue(more.additionalProperties) };
  return Object.fromEntries(
    Object.entries(properties ?? {}).map(([key, of]) => [key, fittingValue(of)]),
  );
}

/** @param at where the schema is in the body @param whole the body */
export function wrongs(schema: Schema, at: Path = []): Wrong[] {
  const wrong = (what: string, text: string, names = at): Wrong => ({ what, at, text, names });
  return [
    ...ofOtherTypes(schema).map(([what, text]) => wrong(what, text)),
    ...beyond(schema).map(([what, text, ...below]) => wrong(what, text, [...at, ...below])),
    ...inObject(schema, at),
    ...(schema.items ? wrongs(schema.items, [...at, 0]) : []),
    ...(schema.additionalProperties ? wrongs(schema.additionalProperties, [...at, 'a']) : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([key, of]) => wrongs(of, [...at, key])),
  ];
}

const TYPES: [what: string, text: string, type?: string][] = [
  ['null', 'null'],
  ['a boolean', 'true', 'boolean'],
  ['a number', '1', 'integer'],
  ['a fraction', '1.5'],
  ['text', '"1"', 'string'],
  ['no text', '""'],
  ['an array', '[]', 'array'],
  ['an object', '{}', 'object'],
  ['nested arrays', `${'['.repeat(9)}1${']'.repeat(9)}`],
  ['nested objects', `${'{"a":'.repeat(9)}1${'}'.repeat(9)}`],
];
const ofOtherTypes = ({ type, enum: named, maxLength, additionalProperties }: Schema) =>
  TYPES.filter(([what, , of]) => {
    if (what === 'no text') return maxLength === undefined;
    if (what === 'nested objects') return !additionalProperties;
    return of !== type || (of === 'string' && named);
  });

const text = (length: number, letter = 'x') => JSON.stringify(letter.repeat(length));
const listed = (count: number, of: (i: number) => unknown) =>
  JSON.stringify(Array.from({ length: count }, (_, i) => of(i)));

/** What has the right type and is out of bounds, with the field below that is named. */
function beyond(schema: Schema): (readonly [what: string, text: string, ...below: Path])[] {
  const { type, enum: named, minimum = 0, maximum = 0, maxLength, items } = schema;
  if (type === 'integer') {
    return [
      ['too small', String(BigInt(minimum) - 1n)],
      ['negative', minimum < 0 ? `${minimum}0` : '-1'],
      ['too large', String(BigInt(maximum) + 1n)],
      ['far too large', '9'.repeat(400)],
      ['a fraction that rounds', '9007199254740990.6'],
      ...['1.0', '1e2', '1E400', '-1e-9'].map((odd): [string, string] => ['a float', odd]),
    ];
  }
  if (type === 'string') {
    if (maxLength !== undefined) return [['too long', text(maxLength + 1)]];
    const odd = ['a\n', '\0', '\u202e'].map((one): [string, string] => [
      'a control character',
      JSON.stringify(one),
    ]);
    const long: [string, string][] = [65, 201, 30_000].map((length) => ['too long', text(length)]);
    const cut: [string, string] = ['half of a character', '"\\ud800"'];
    return [...odd, ...(named || /64/.test(schema.pattern ?? '') ? long : long.slice(1)), cut];
  }
  if (schema.additionalProperties) {
    const many = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, '']));
    return [
      ['too many entries', JSON.stringify(many)],
      ['a name with a blank', '{"a b":""}', 'a b'],
      ['a long name', `{"${'x'.repeat(41)}":""}`, 'x'.repeat(41)],
      ['a prototype', '{"__proto__":""}', '__proto__'],
    ];
  }
  if (!items) return [];
  const { item_id } = items.properties ?? {};
  const one = (i: number) =>
    Object.assign(fittingValue(items) as Json, item_id && { item_id: `i${i}` });
  return [
    ['too many', listed(1001, one)],
    ...(item_id ? [['one twice', listed(2, () => one(0)), 1, 'item_id'] as const] : []),
    ...(schema.minItems ? [['none', '[]'] as const] : []),
  ];
}

/** Fields that are missing, unknown, or there twice. */
function inObject(schema: Schema, at: Path): Wrong[] {
  const { properties, required = [], additionalProperties } = schema;
  if (!properties && !additionalProperties) return [];
  const whole = fittingValue(schema) as Json;
  const entries = Object.entries(whole).map(([key, value]) => `"${key}":${JSON.stringify(value)}`);
  const put = (what: string, key: string, parts: string[], code?: 'malformed_body'): Wrong => ({
    ...{ what, at, text: `{${parts.join()}}`, names: [...at, key] },
    ...(code && { code }),
  });
  return [
    ...required.map((key) =>
      put(
        `no ${key}`,
        key,
        entries.filter((entry) => !entry.startsWith(`"${key}"`)),
      ),
    ),
    ...Object.keys(whole).map((key) =>
      put(`${key} twice`, key, [...entries, `"${key}":null`], 'malformed_body'),
    ),
    ...(properties
      ? ['x', '__proto__', 'constructor', ' id', 'ID'].map((key) =>
          put('an unknown field', key, [...entries, `"${key}":1`]),
        )
      : []),
  ];
}

/** The text of the body with other texts at these paths. */
export function bodyWith(body: unknown, ...changes: Pick<Wrong, 'at' | 'text'>[]): string {
  const holder = { body: structuredClone(body) };
  for (const [i, { at }] of changes.entries()) {
    const path = ['body', ...at];
    const [last = ''] = path.slice(-1);
    // biome-ignore lint/suspicious/noExplicitAny: any JSON
    const parent = path.slice(0, -1).reduce((value: any, key) => value[key], holder);
    parent[last] = `~${i}~`;
  }
  return JSON.stringify(holder.body).replace(/"~(\d+)~"/g, (_, i) => changes[i]?.text ?? '');
}
