/** Mutants: constraints, audits, and the folder of the embedded store. */
import { type Mutant, mutant } from '../mutant.ts';

export const storeMutants: readonly Mutant[] = [
  mutant('no CHECK on credit', '0000_init.sql', '"credit" between 0', '"credit" between -9', [
    'migrate',
  ]),
  mutant('no CHECK on stock', '0000_init.sql', '"stock" between 0', '"stock" between -9', [
    'migrate',
  ]),
  mutant(
    'the audit overlooks credits',
    'audit.ts',
    'where u.id is null or u.credit <>',
    'where u.id is null and u.credit <>',
    ['audit'],
  ),
  mutant(
    'the audit overlooks stocks',
    'audit.ts',
    'where i.id is null or i.stock <>',
    'where i.id is null and i.stock <>',
    ['audit'],
  ),
  mutant(
    'the audit overlooks totals',
    'audit.ts',
    'where o.id is null or o.total_cost <>',
    'where o.id is null and o.total_cost <>',
    ['audit'],
  ),
  mutant(
    '--fresh erases a data directory that Kassa has not made',
    'embedded-home.ts',
    'if (has_data && !(await madeByKassa(home))) throw notOurs(home.data);',
    'void madeByKassa;',
    ['embedded-home'],
  ),
  mutant(
    'a file `password` that Kassa has not made is replaced',
    'embedded-home.ts',
    'if (!PASSWORD.test(text)) throw notOurs(password);',
    'void [PASSWORD, text];',
    ['embedded-home'],
  ),
];
