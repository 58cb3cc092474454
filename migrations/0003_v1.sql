-- An expansion: services of the version before go on beside those of this one.
CREATE TABLE IF NOT EXISTS "user_metadata" (
	"id" text PRIMARY KEY NOT NULL,
	"data" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "item_metadata" (
	"id" text PRIMARY KEY NOT NULL,
	"data" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "order_metadata" (
	"id" text PRIMARY KEY NOT NULL,
	"data" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "orders_of_user" (
	"user_id" text NOT NULL,
	"created_at" bigint NOT NULL,
	"order_id" text NOT NULL,
	CONSTRAINT "orders_of_user_pkey" PRIMARY KEY("user_id","created_at","order_id")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "order_events" (
	"order_id" text NOT NULL,
	"at" bigint NOT NULL,
	"type" text NOT NULL,
	"data" text NOT NULL,
	CONSTRAINT "order_events_pkey" PRIMARY KEY("order_id","at")
);
--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN IF NOT EXISTS "changed_at" bigint;
--> statement-breakpoint
ALTER TABLE "items" ADD COLUMN IF NOT EXISTS "holds" text;
--> statement-breakpoint
ALTER TABLE "items" ADD COLUMN IF NOT EXISTS "changed_at" bigint;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "paid_at" bigint;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "held_until" bigint;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "refunded" bigint;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "created_at" bigint;
--> statement-breakpoint
ALTER TABLE "order_lines" ADD COLUMN IF NOT EXISTS "refunded" bigint;
--> statement-breakpoint
ALTER TABLE "credit_movements" ADD COLUMN IF NOT EXISTS "at" bigint;
--> statement-breakpoint
ALTER TABLE "stock_movements" ADD COLUMN IF NOT EXISTS "at" bigint;
--> statement-breakpoint
ALTER TABLE "order_operations" ADD COLUMN IF NOT EXISTS "writer" bigint DEFAULT 1 NOT NULL;
--> statement-breakpoint
ALTER TABLE "payment_operations" ADD COLUMN IF NOT EXISTS "writer" bigint DEFAULT 1 NOT NULL;
--> statement-breakpoint
ALTER TABLE "stock_operations" ADD COLUMN IF NOT EXISTS "writer" bigint DEFAULT 1 NOT NULL;
--> statement-breakpoint
-- PostgreSQL builds it while the table is written to; CockroachDB always does.
CREATE INDEX CONCURRENTLY IF NOT EXISTS "order_lines_of_item" ON "order_lines" ("item_id","order_id");
--> statement-breakpoint
-- Without a look at the rows, which would stop all writes: the columns are new and empty.
ALTER TABLE "order_lines" ADD CONSTRAINT "order_lines_refunded" CHECK ("order_lines"."refunded" between 1 and 9007199254740991) NOT VALID;
--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_refunded" CHECK ("orders"."refunded" between 1 and 9007199254740991) NOT VALID;
--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_not_held" CHECK (not ("orders"."paid" and "orders"."held_until" is not null)) NOT VALID;
--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_refund" CHECK (not ("orders"."refunded" is not null and not "orders"."paid")) NOT VALID;
--> statement-breakpoint
ALTER TABLE "order_lines" VALIDATE CONSTRAINT "order_lines_refunded";
--> statement-breakpoint
ALTER TABLE "orders" VALIDATE CONSTRAINT "orders_refunded";
--> statement-breakpoint
ALTER TABLE "orders" VALIDATE CONSTRAINT "orders_not_held";
--> statement-breakpoint
ALTER TABLE "orders" VALIDATE CONSTRAINT "orders_refund";
