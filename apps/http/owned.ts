/** Keeps commands to the wallet and the orders of one user, under the locks of their rows. */
import type { Command, Decision } from '../../db/command.ts';
import type { Exchange } from './exchange.ts';

/** What is not theirs is refused as if it were not there. */
function ownedBy(user_id: string, command: Command): Command {
  const { users = [], orders = [] } = command.keys;
  return {
    ...command,
    decide(rows) {
      for (const id of users) {
        if (id !== user_id) {
          return { outcome: { refusal: 'user_not_found', detail: `no user ${id}` } };
        }
      }
      const decision = command.decide(rows);
      for (const id of orders) {
        const order = rows.order(id);
        if (!order || order.user_id === user_id || isTaken(decision)) continue;
        return { outcome: { refusal: 'order_not_found', detail: `no order ${id}` } };
      }
      return decision;
    },
  };
}

/** Whoever chooses the id of a new order learns that it is taken, by whomever. */
const isTaken = (decision: Decision): boolean =>
  'outcome' in decision &&
  'refusal' in decision.outcome &&
  decision.outcome.refusal === 'already_exists';

/** The command, kept to the user of its caller, if the caller has one. */
export const owned = (command: Command, { principal }: Exchange): Command =>
  principal?.user_id === undefined ? command : ownedBy(principal.user_id, command);

/** What a command carries of its request. */
export const askedBy = ({ request_id, trace, principal }: Exchange) => ({
  ...{ request_id, trace },
  ...(principal && { principal: principal.name }),
});
