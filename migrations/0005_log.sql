-- An expansion: services of the version before go on beside those of this one. What they write is
-- not in the log.
CREATE TABLE IF NOT EXISTS "batches" (
	"stream" bigint NOT NULL,
	"position" bigint NOT NULL,
	"id" text NOT NULL,
	"at" bigint NOT NULL,
	"events" text,
	"writer" bigint NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "batches_pkey" PRIMARY KEY("stream","position")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "streams" (
	"id" bigint PRIMARY KEY NOT NULL,
	"opened_at" bigint NOT NULL
);
--> statement-breakpoint
-- The stream behind PostgreSQL's gate. On CockroachDB it stays empty.
INSERT INTO "streams" ("id", "opened_at") VALUES (0, 0) ON CONFLICT DO NOTHING;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "changed_at" bigint;
