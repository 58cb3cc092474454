/** The mutants of `bun run mutants`: each breaks the code and names the tests that must fail. */

import { authMutants } from './list/auth.ts';
import { edgeMutants } from './list/edge.ts';
import { engineMutants } from './list/engine.ts';
import { keyMutants } from './list/keys.ts';
import { logMutants } from './list/log.ts';
import { rulesMutants } from './list/rules.ts';
import { storeMutants } from './list/store.ts';
import { webhookMutants } from './list/webhooks.ts';
import type { Mutant } from './mutant.ts';

export const mutants: readonly Mutant[] = [
  ...edgeMutants,
  ...rulesMutants,
  ...engineMutants,
  ...logMutants,
  ...storeMutants,
  ...webhookMutants,
  ...authMutants,
  ...keyMutants,
];
