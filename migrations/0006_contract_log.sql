-- A contraction, for after the rollout: from here on services of the versions before can write
-- nothing, so the log is complete. Rows that are there are left alone.
ALTER TABLE "order_operations" ADD CONSTRAINT "order_operations_writer_3" CHECK ("order_operations"."writer" >= 3) NOT VALID;
--> statement-breakpoint
ALTER TABLE "payment_operations" ADD CONSTRAINT "payment_operations_writer_3" CHECK ("payment_operations"."writer" >= 3) NOT VALID;
--> statement-breakpoint
ALTER TABLE "stock_operations" ADD CONSTRAINT "stock_operations_writer_3" CHECK ("stock_operations"."writer" >= 3) NOT VALID;
--> statement-breakpoint
ALTER TABLE "order_operations" DROP CONSTRAINT IF EXISTS "order_operations_writer";
--> statement-breakpoint
ALTER TABLE "payment_operations" DROP CONSTRAINT IF EXISTS "payment_operations_writer";
--> statement-breakpoint
ALTER TABLE "stock_operations" DROP CONSTRAINT IF EXISTS "stock_operations_writer";
