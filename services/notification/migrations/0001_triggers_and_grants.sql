CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('outbox', '');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
--> statement-breakpoint
-- The app's role gets what its statements need: no message is deleted, and of one only the time of reading changes.
GRANT SELECT, INSERT ON notification TO notification;
--> statement-breakpoint
GRANT UPDATE (read_at) ON notification TO notification;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON mailbox TO notification;
--> statement-breakpoint
GRANT SELECT, INSERT, DELETE ON outbox TO notification;
--> statement-breakpoint
GRANT SELECT, INSERT ON inbox TO notification;
