CREATE TABLE "account" (
	"id" uuid PRIMARY KEY NOT NULL,
	"owner_id" text,
	"holder" text NOT NULL,
	"name" text NOT NULL,
	"kind" "account_kind" NOT NULL,
	"iban" "iban" NOT NULL,
	"currency" "currency_code" NOT NULL,
	"posted" bigint DEFAULT 0 NOT NULL,
	"held" bigint DEFAULT 0 NOT NULL,
	"floor" bigint DEFAULT 0 NOT NULL,
	"status" "account_status" DEFAULT 'active' NOT NULL,
	"version" bigint DEFAULT 0 NOT NULL,
	"entries" bigint DEFAULT 0 NOT NULL,
	"opened_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "account_iban_unique" UNIQUE("iban"),
	CONSTRAINT "account_held" CHECK ("account"."held" >= 0),
	CONSTRAINT "account_funds" CHECK ("account"."posted" - "account"."held" >= "account"."floor"),
	CONSTRAINT "account_owner" CHECK (CASE WHEN "account"."owner_id" IS NULL THEN "account"."kind" = 'system' AND "account"."posted" = 0 AND "account"."held" = 0
        ELSE "account"."kind" <> 'system' END)
);
--> statement-breakpoint
CREATE TABLE "idempotency_key" (
	"subject" text NOT NULL,
	"route" text NOT NULL,
	"key" text NOT NULL,
	"fingerprint" "bytea" NOT NULL,
	"payment_id" uuid NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "idempotency_key_subject_route_key_pk" PRIMARY KEY("subject","route","key"),
	CONSTRAINT "idempotency_key_length" CHECK (length("idempotency_key"."key") BETWEEN 1 AND 255)
);
--> statement-breakpoint
CREATE TABLE "inbox" (
	"consumer" text NOT NULL,
	"event_id" uuid NOT NULL,
	"received_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_consumer_event_id_pk" PRIMARY KEY("consumer","event_id")
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"position" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"id" uuid NOT NULL,
	"topic" text NOT NULL,
	"key" text NOT NULL,
	"event" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_id_unique" UNIQUE("id")
);
--> statement-breakpoint
CREATE TABLE "payment" (
	"id" uuid PRIMARY KEY NOT NULL,
	"debtor_id" uuid NOT NULL,
	"creditor_id" uuid NOT NULL,
	"creditor_name" text NOT NULL,
	"amount" bigint NOT NULL,
	"currency" text NOT NULL,
	"reference" text NOT NULL,
	"state" "payment_state" NOT NULL,
	"reasons" text[],
	"transfer_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"answer_status" smallint NOT NULL,
	"answer" text NOT NULL,
	CONSTRAINT "payment_amount" CHECK ("payment"."amount" > 0),
	CONSTRAINT "payment_sides" CHECK ("payment"."debtor_id" <> "payment"."creditor_id"),
	CONSTRAINT "payment_transfer" CHECK (("payment"."state" = 'declined') = ("payment"."transfer_id" IS NULL)),
	CONSTRAINT "payment_reasons" CHECK (("payment"."state" = 'posted') = ("payment"."reasons" IS NULL))
);
--> statement-breakpoint
CREATE TABLE "posting" (
	"transfer_id" uuid NOT NULL,
	"account_id" uuid NOT NULL,
	"amount" bigint NOT NULL,
	"seq" bigint,
	"balance_after" bigint,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "posting_transfer_id_account_id_pk" PRIMARY KEY("transfer_id","account_id"),
	CONSTRAINT "posting_amount" CHECK ("posting"."amount" <> 0),
	CONSTRAINT "posting_seq" CHECK (("posting"."seq" IS NULL) = ("posting"."balance_after" IS NULL) AND "posting"."seq" > 0)
);
--> statement-breakpoint
CREATE TABLE "transfer" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" "transfer_kind" NOT NULL,
	"pending_id" uuid,
	"payment_id" uuid,
	"debtor_id" uuid NOT NULL,
	"creditor_id" uuid NOT NULL,
	"amount" bigint NOT NULL,
	"currency" text NOT NULL,
	"counterparty" text,
	"reference" text,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "transfer_amount" CHECK ("transfer"."amount" > 0),
	CONSTRAINT "transfer_sides" CHECK ("transfer"."debtor_id" <> "transfer"."creditor_id"),
	CONSTRAINT "transfer_pending" CHECK (("transfer"."kind" = 'void') = ("transfer"."pending_id" IS NOT NULL)),
	CONSTRAINT "transfer_payment" CHECK (("transfer"."kind" IN ('opening', 'external')) = ("transfer"."payment_id" IS NULL))
);
--> statement-breakpoint
ALTER TABLE "transfer" ADD CONSTRAINT "transfer_pending_fk" FOREIGN KEY ("pending_id") REFERENCES "public"."transfer"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "posting_account_seq" ON "posting" USING btree ("account_id","seq");--> statement-breakpoint
CREATE UNIQUE INDEX "transfer_resolution" ON "transfer" USING btree ("pending_id") WHERE "transfer"."pending_id" IS NOT NULL;