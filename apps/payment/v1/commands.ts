/** The commands of /v1/users: wallets. */
import { accept, type Command, passesLimit, refuse, type User } from '../../../db/command.ts';

/** @param chosen whether the caller has chosen the id, so that it may be taken */
export const createUser = (id: string, chosen: boolean, credit: number): Command => ({
  keys: { users: chosen ? [id] : [] },
  decide(rows) {
    if (chosen && rows.user(id)) return refuse('already_exists', `user ${id} exists`);
    const opening = { user_id: id, amount: credit, reason: 'opening', order_id: null };
    return accept(userOf({ id, credit }), {
      users: [{ id, credit }],
      credit_movements: credit > 0 ? [opening] : [],
    });
  },
});

export const deposit = (user_id: string, amount: number, reason = 'deposit'): Command =>
  moveCredit(user_id, amount, reason);

export const withdraw = (user_id: string, amount: number, reason = 'withdrawal'): Command =>
  moveCredit(user_id, -amount, reason);

const moveCredit = (user_id: string, amount: number, reason: string): Command => ({
  keys: { users: [user_id] },
  decide(rows) {
    const user = rows.user(user_id);
    if (!user) return refuse('user_not_found', `no user ${user_id}`);
    const credit = user.credit + amount;
    if (credit < 0) {
      const facts = { shortfall: -credit };
      return refuse('insufficient_credit', `user ${user_id} lacks ${-credit}`, facts);
    }
    if (passesLimit(credit)) {
      return refuse('limit_exceeded', `user ${user_id} would pass the largest amount`);
    }
    return accept(userOf({ id: user_id, credit }), {
      users: [{ ...user, credit }],
      credit_movements: [{ user_id, amount, reason, order_id: null }],
    });
  },
});

/** A user as /v1 shows it. */
export const userOf = ({ id, credit }: User) => ({ id, credit });
