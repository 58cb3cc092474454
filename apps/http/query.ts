/** Reads the query of a call, and refuses parameters that the call does not take. */
import { z } from 'zod';
import { Failure } from '../../db/failure.ts';
import { type FieldError, factsOf, fieldErrors } from './errors.ts';

/** @throws Failure invalid_parameter, with the parameters that are wrong */
export function readQuery<T extends z.ZodObject>(type: T, url: string): z.output<T> {
  const given = [...new URLSearchParams(/\?.*$/s.exec(url)?.[0])];
  const values = Object.fromEntries(given);
  const result = type.safeParse(values);
  const names = new Set<string>();
  const twice = given.flatMap(([name]) => (names.size === names.add(name).size ? [name] : []));
  const errors = twice.map((path) => ({ path, message: 'is given twice' }));
  if (!result.success) {
    errors.push(...fieldErrors(result.error, 'parameter'));
  }
  if (errors.length > 0 || !result.success) throw wrongParameters(errors);
  return result.data;
}

/** @throws Failure invalid_parameter, with every parameter that was sent */
export function assertNoQuery(url: string): void {
  if (url.includes('?')) readQuery(NONE, url);
}

const NONE = z.strictObject({});

export const wrongParameters = (errors: readonly FieldError[]): Failure => {
  const { detail, facts } = factsOf(errors, 'the query');
  return new Failure('invalid_parameter', detail, { facts });
};
