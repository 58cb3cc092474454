-- An expansion: services of the version before leave the columns empty.
ALTER TABLE "credit_movements" ADD COLUMN IF NOT EXISTS "principal" text;--> statement-breakpoint
ALTER TABLE "stock_movements" ADD COLUMN IF NOT EXISTS "principal" text;
