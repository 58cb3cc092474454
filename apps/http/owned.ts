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

/** Whether the caller may see the order: it may have changed hands since its owner was asked. */
export const isOwn = ({ user_id }: { user_id: string }, { principal }: Exchange): boolean =>
  principal?.user_id === undefined || principal.user_id === user_id;

/** What a command carries of its request. */
export const askedBy = ({ request_id, trace, principal }: Exchange) => ({
  request_id,
  trace,
  principal: principal?.name,
  only_user: principal?.user_id,
});
