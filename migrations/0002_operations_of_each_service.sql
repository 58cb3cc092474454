-- Whoever runs all of it once more begins with the tables that are there.
ALTER TABLE IF EXISTS "order_operations" RENAME TO "order_operations_copy";
--> statement-breakpoint
ALTER TABLE IF EXISTS "payment_operations" RENAME TO "payment_operations_copy";
--> statement-breakpoint
ALTER TABLE IF EXISTS "stock_operations" RENAME TO "stock_operations_copy";
--> statement-breakpoint
-- They get their names last: nobody must write to them before they know all that was recorded.
CREATE TABLE IF NOT EXISTS "order_operations_copy" (
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"status" bigint NOT NULL,
	"answer" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "order_operations_pkey" PRIMARY KEY("key")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "payment_operations_copy" (
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"status" bigint NOT NULL,
	"answer" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "payment_operations_pkey" PRIMARY KEY("key")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "stock_operations_copy" (
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"status" bigint NOT NULL,
	"answer" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "stock_operations_pkey" PRIMARY KEY("key")
);
--> statement-breakpoint
-- From here on services of the version before can write nothing: each of their transactions writes
-- to this name.
ALTER TABLE IF EXISTS "operations" RENAME TO "operations_closing";
--> statement-breakpoint
-- Once more, because CockroachDB commits a change of a table before every node knows of it, and
-- a runner that dies in between does not wait. It makes the next change only when no transaction
-- uses the version before the last: after this one nobody writes by the old name any more.
ALTER TABLE IF EXISTS "operations_closing" RENAME TO "operations_closed";
--> statement-breakpoint
-- again until no row changes
INSERT INTO "order_operations_copy" ("key", "fingerprint", "status", "answer", "expires_at")
SELECT "key", "fingerprint", "status", "answer", "expires_at" FROM "operations_closed"
WHERE "key" > (SELECT coalesce(max("key"), '') FROM "order_operations_copy")
	AND "key" LIKE 'k:%' AND "fingerprint" LIKE '% /orders/%' AND "expires_at" > now()
ORDER BY "key" LIMIT 5000;
--> statement-breakpoint
-- again until no row changes
INSERT INTO "payment_operations_copy" ("key", "fingerprint", "status", "answer", "expires_at")
SELECT "key", "fingerprint", "status", "answer", "expires_at" FROM "operations_closed"
WHERE "key" > (SELECT coalesce(max("key"), '') FROM "payment_operations_copy")
	AND "key" LIKE 'k:%' AND "fingerprint" LIKE '% /payment/%' AND "expires_at" > now()
ORDER BY "key" LIMIT 5000;
--> statement-breakpoint
-- again until no row changes
INSERT INTO "stock_operations_copy" ("key", "fingerprint", "status", "answer", "expires_at")
SELECT "key", "fingerprint", "status", "answer", "expires_at" FROM "operations_closed"
WHERE "key" > (SELECT coalesce(max("key"), '') FROM "stock_operations_copy")
	AND "key" LIKE 'k:%' AND "fingerprint" LIKE '% /stock/%' AND "expires_at" > now()
ORDER BY "key" LIMIT 5000;
--> statement-breakpoint
ALTER TABLE IF EXISTS "order_operations_copy" RENAME TO "order_operations";
--> statement-breakpoint
ALTER TABLE IF EXISTS "payment_operations_copy" RENAME TO "payment_operations";
--> statement-breakpoint
ALTER TABLE IF EXISTS "stock_operations_copy" RENAME TO "stock_operations";
--> statement-breakpoint
DROP TABLE IF EXISTS "operations_closed";
