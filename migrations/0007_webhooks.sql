-- An expansion: services of the version before know nothing of these tables.
CREATE TABLE IF NOT EXISTS "webhook_deliveries" (
	"webhook_id" text NOT NULL,
	"event_id" text NOT NULL,
	"key" text NOT NULL,
	"seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" text NOT NULL,
	"attempts" bigint NOT NULL,
	"first_s" bigint NOT NULL,
	"tried_s" bigint,
	"next_s" bigint NOT NULL,
	"error" text,
	"dead_s" bigint,
	CONSTRAINT "webhook_deliveries_pkey" PRIMARY KEY("webhook_id","event_id")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "webhook_secrets" (
	"webhook_id" text NOT NULL,
	"secret" text NOT NULL,
	"created_us" bigint NOT NULL,
	CONSTRAINT "webhook_secrets_pkey" PRIMARY KEY("webhook_id","secret")
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "webhooks" (
	"id" text PRIMARY KEY NOT NULL,
	"url" text NOT NULL,
	"types" text,
	"description" text,
	"state" text NOT NULL,
	"reason" text,
	"cursor" text NOT NULL,
	"version" bigint NOT NULL,
	"round" bigint DEFAULT 0 NOT NULL,
	"failing_since_s" bigint,
	"created_s" bigint NOT NULL,
	"lease_id" text,
	"lease_until" timestamp with time zone,
	CONSTRAINT "webhooks_state" CHECK ("state" in ('enabled', 'disabled', 'deleted'))
);
