CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('outbox', '');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
--> statement-breakpoint
INSERT INTO audit_counter (last_seq) VALUES (0);
--> statement-breakpoint
-- The running service reads customers and records who looked. It cannot change or delete one.
GRANT SELECT ON customer, personal_data TO customer;
--> statement-breakpoint
GRANT SELECT ON audit_counter TO customer;
--> statement-breakpoint
GRANT UPDATE (last_seq) ON audit_counter TO customer;
--> statement-breakpoint
GRANT SELECT, INSERT, DELETE ON outbox TO customer;
--> statement-breakpoint
GRANT SELECT, INSERT ON inbox TO customer;
