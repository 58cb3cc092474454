-- An expansion: services of the version before leave the column as it is.
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "paid_by" text;
