/** A list of networks, as a variable. */
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

const RULE = 'must be networks with commas, such as 10.1.0.0/16,fd00::/8';

export const networks = z
  .string()
  .refine((text) => text === '' || text.split(',').every((one) => ipaddr.isValidCIDR(one)), RULE);
