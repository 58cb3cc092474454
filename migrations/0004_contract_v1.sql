-- A contraction, for after the rollout: from here on services of the versions before can write
-- nothing, because each of their transactions writes a row here. Rows that are there are left alone.
ALTER TABLE "order_operations" ADD CONSTRAINT "order_operations_writer" CHECK ("order_operations"."writer" >= 2) NOT VALID;
--> statement-breakpoint
ALTER TABLE "payment_operations" ADD CONSTRAINT "payment_operations_writer" CHECK ("payment_operations"."writer" >= 2) NOT VALID;
--> statement-breakpoint
ALTER TABLE "stock_operations" ADD CONSTRAINT "stock_operations_writer" CHECK ("stock_operations"."writer" >= 2) NOT VALID;
--> statement-breakpoint
-- Every new order has its entry by now; this makes those of the older ones, and of new ones that a
-- service of the version before has given to another user.
CREATE TABLE IF NOT EXISTS "orders_of_user_fill" (
	"id" bigint PRIMARY KEY NOT NULL,
	"last_id" text NOT NULL
);
--> statement-breakpoint
INSERT INTO "orders_of_user_fill" ("id", "last_id") VALUES (1, '') ON CONFLICT DO NOTHING;
--> statement-breakpoint
-- again until no row changes
WITH "next" AS (
	SELECT "id", "user_id", "created_at" FROM "orders"
	WHERE "id" > (SELECT "last_id" FROM "orders_of_user_fill") ORDER BY "id" LIMIT 5000
), "filled" AS (
	INSERT INTO "orders_of_user" ("user_id", "created_at", "order_id")
	SELECT "user_id", coalesce("created_at", 0), "id" FROM "next"
	ON CONFLICT DO NOTHING RETURNING "order_id"
)
UPDATE "orders_of_user_fill" SET "last_id" = (SELECT max("id") FROM "next")
WHERE EXISTS (SELECT 1 FROM "next");
--> statement-breakpoint
DROP TABLE IF EXISTS "orders_of_user_fill";
