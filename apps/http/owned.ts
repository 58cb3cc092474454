/** Keeps commands to the wallet and the orders of one user. */
import { type Command, refuse } from '../../db/command.ts';
import type { Exchange } from './exchange.ts';

/**
 * The command, or a refusal that locks and reads nothing: the wallet of another user is as one that
 * is not there. To orders it is kept under the locks of their rows: see `only_user`.
 */
export function owned(command: Command, { principal }: Exchange): Command {
  const own = principal?.user_id;
  const foreign = own === undefined ? undefined : command.keys.users?.find((id) => id !== own);
  if (foreign === undefined) return command;
  return { keys: {}, decide: () => refuse('user_not_found', `no user ${foreign}`) };
}

/** What a command carries of its request. */
export const askedBy = ({ request_id, trace, principal }: Exchange) => ({
  ...{ request_id, trace },
  ...(principal && { principal: principal.name, only_user: principal.user_id }),
});
