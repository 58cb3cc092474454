-- An expansion: services of the version before know nothing of these tables.
CREATE TABLE IF NOT EXISTS "api_key_uses" (
	"key_id" text PRIMARY KEY NOT NULL,
	"used_s" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text,
	"principal" text NOT NULL,
	"hash" text NOT NULL,
	"scopes" text NOT NULL,
	"user_id" text,
	"per_s" bigint,
	"in_flight" bigint,
	"created_s" bigint NOT NULL,
	"expires_s" bigint,
	"revoked_s" bigint
);
