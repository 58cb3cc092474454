CREATE TABLE IF NOT EXISTS "write_gate" (
	"id" bigint PRIMARY KEY NOT NULL
);
