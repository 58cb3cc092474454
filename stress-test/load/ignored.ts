/** Says which flags of `bun run load` have no effect on this run. */
import { warnIgnored } from '../../apps/runtime/arguments.ts';
import type { Given } from './rows.ts';
import type { WorkloadName } from './workloads.ts';

type Flags = Given & { key?: string; insecure: boolean; 'self-test': boolean };
type Names = readonly (keyof Flags)[];

const ROWS: Names = ['prepare', 'prepared', 'orders', 'users', 'items'];

export function sayIgnored(given: Flags, name: WorkloadName, protocol: string): void {
  for (const [flags, why] of withoutEffect(given, name, protocol)) {
    for (const flag of flags) if (given[flag]) warnIgnored(`--${flag}`, why);
  }
}

function withoutEffect(given: Flags, name: WorkloadName, protocol: string): [Names, string][] {
  if (given['self-test']) {
    return [[[...ROWS, 'lines', 'theta', 'key', 'insecure'], '--self-test calls an empty handler']];
  }
  const plain: [Names, string][] =
    protocol === 'http:' ? [[['insecure'], 'the address is not https']] : [];
  if (name === 'scenarios') return [...plain, [ROWS, 'each session creates its own rows']];
  if (name === 'add_funds' || name === 'create') {
    return [...plain, [['orders', 'items'], `--workload ${name} needs users only`]];
  }
  if (name.startsWith('purchase')) {
    return [...plain, [['orders'], `--workload ${name} creates the orders`]];
  }
  if (!given.prepared || name === 'reads') return plain;
  const unused: Names = name === 'add_item' ? ['users'] : ['users', 'items'];
  return [...plain, [unused, 'the prepared orders have theirs']];
}
