/** `bun run generate`: drizzle-kit compares the schemas in db with migrations/meta and writes the SQL. */
import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: './db/*schema.ts',
  out: './migrations',
  breakpoints: true,
});
