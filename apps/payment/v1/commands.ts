/** The commands of /v1/users: wallets. */
import { accept, type Command, keep, passesLimit, refuse, type User } from '../../../db/command.ts';

export interface NewUser {
  id: string;
  /** The caller has chosen the id, so it may be taken. */
  chosen: boolean;
  credit: number;
  metadata?: Record<string, string> | undefined;
}

export const createUser = ({ id, chosen, credit, metadata }: NewUser): Command => ({
  keys: { users: chosen ? [id] : [] },
  decide(rows) {
    if (chosen && rows.user(id)) return refuse('already_exists', `user ${id} exists`);
    const opening = { user_id: id, amount: credit, reason: 'opening', order_id: null };
    return accept(userOf({ id, credit }, metadata), {
      users: [{ id, credit }],
      ...keep('user', id, metadata),
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
      return refuse('limit_exceeded', `user ${user_id} would exceed the largest amount`);
    }
    return accept(userOf({ id: user_id, credit }), {
      users: [{ ...user, credit }],
      credit_movements: [{ user_id, amount, reason, order_id: null }],
    });
  },
});

/** A user as /v1 shows it. */
export const userOf = ({ id, credit }: User, metadata?: Record<string, string>) => ({
  id,
  credit,
  ...(metadata && { metadata }),
});
