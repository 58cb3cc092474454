CREATE TABLE IF NOT EXISTS "credit_movements" (
	"user_id" text NOT NULL,
	"id" text NOT NULL,
	"amount" bigint NOT NULL,
	"reason" text NOT NULL,
	"order_id" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "credit_movements_pkey" PRIMARY KEY("user_id","id"),
	CONSTRAINT "credit_movements_amount" CHECK ("amount" between -9007199254740991 and 9007199254740991)
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "items" (
	"id" text PRIMARY KEY NOT NULL,
	"price" bigint NOT NULL,
	"stock" bigint NOT NULL,
	CONSTRAINT "items_price" CHECK ("price" between 0 and 9007199254740991),
	CONSTRAINT "items_stock" CHECK ("stock" between 0 and 9007199254740991)
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "operations" (
	"key" text PRIMARY KEY NOT NULL,
	"fingerprint" text NOT NULL,
	"status" bigint NOT NULL,
	"answer" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "order_lines" (
	"order_id" text NOT NULL,
	"item_id" text NOT NULL,
	"quantity" bigint NOT NULL,
	"unit_price" bigint NOT NULL,
	CONSTRAINT "order_lines_pkey" PRIMARY KEY("order_id","item_id"),
	CONSTRAINT "order_lines_quantity" CHECK ("quantity" between 1 and 9007199254740991),
	CONSTRAINT "order_lines_unit_price" CHECK ("unit_price" between 0 and 9007199254740991)
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "orders" (
	"id" text PRIMARY KEY NOT NULL,
	"user_id" text NOT NULL,
	"paid" boolean NOT NULL,
	"total_cost" bigint NOT NULL,
	"payment" bigint,
	CONSTRAINT "orders_total_cost" CHECK ("total_cost" between 0 and 9007199254740991),
	CONSTRAINT "orders_payment" CHECK ("payment" between 1 and 9007199254740991),
	CONSTRAINT "orders_paid_once" CHECK (not ("paid" and "payment" is not null))
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "stock_movements" (
	"item_id" text NOT NULL,
	"id" text NOT NULL,
	"amount" bigint NOT NULL,
	"reason" text NOT NULL,
	"order_id" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "stock_movements_pkey" PRIMARY KEY("item_id","id"),
	CONSTRAINT "stock_movements_amount" CHECK ("amount" between -9007199254740991 and 9007199254740991)
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "users" (
	"id" text PRIMARY KEY NOT NULL,
	"credit" bigint NOT NULL,
	CONSTRAINT "users_credit" CHECK ("credit" between 0 and 9007199254740991)
);
--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "operations_expires_at" ON "operations" USING btree ("expires_at");