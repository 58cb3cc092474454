/** The writes under /v1/users, and the command that each becomes. */
import { newId } from '../../../db/new-id.ts';
import { userCalls as calls } from '../../contract/v1/users.ts';
import { type Write, write } from '../../http/writes.ts';
import { createUser, deposit, withdraw } from './commands.ts';

export const userWrites: readonly Write[] = [
  write(calls.create, (_, { id, credit = 0, metadata }) =>
    createUser({ id: id ?? newId(), chosen: id !== undefined, credit, metadata }),
  ),
  write(calls.deposit, ({ user_id }, { amount, reason }) => deposit(user_id, amount, reason)),
  write(calls.withdraw, ({ user_id }, { amount, reason }) => withdraw(user_id, amount, reason)),
];
